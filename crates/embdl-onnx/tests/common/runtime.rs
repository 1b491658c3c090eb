//! Runs graphs as the product does: encoded to a file, read again, on the scalar reference runtime.

use embdl_compress::EncodeOptions;
use embdl_core::format;
use embdl_core::kernels::Reference;
use embdl_core::runtime::{LoadOptions, Runtime as _};
use embdl_core::tensor::{DType, TensorMut, TensorRef};
use embdl_graph::Graph;

/// Outputs for floats, whole batches in a row; levels and accumulators are turned into floats.
pub(crate) fn run(
    graph: &Graph,
    inputs: &[Vec<f32>],
    batch: usize,
) -> Result<Vec<Vec<f32>>, Box<dyn core::error::Error>> {
    let encoded = embdl_compress::encode(graph, EncodeOptions::default())?;
    let model = format::read(&encoded.bytes, &format::Limits::default())?;
    let options = LoadOptions { batch, ..LoadOptions::default() };
    let mut session = Reference::runtime().load(&model, &options)?;
    let levels: Vec<Option<Vec<u8>>> = (session.inputs().iter().zip(inputs))
        .map(|(spec, values)| {
            let quant = spec.kind.quant.filter(|_| spec.kind.dtype == DType::U8)?;
            Some(values.iter().map(|&value| quant.quantize(value)).collect())
        })
        .collect();
    let inputs: Vec<TensorRef<'_>> = (levels.iter().zip(inputs))
        .map(|(levels, floats)| {
            levels.as_ref().map_or(TensorRef::F32(floats), |l| TensorRef::U8(l))
        })
        .collect();
    let specs = session.outputs().to_vec();
    let mut floats: Vec<Vec<f32>> =
        specs.iter().map(|spec| vec![0.0; spec.kind.shape.len()]).collect();
    let mut bytes: Vec<Vec<u8>> = specs.iter().map(|spec| vec![0; spec.kind.shape.len()]).collect();
    let mut sums: Vec<Vec<i32>> = specs.iter().map(|spec| vec![0; spec.kind.shape.len()]).collect();
    let mut outputs: Vec<TensorMut<'_>> = Vec::new();
    for (((spec, floats), bytes), sums) in
        specs.iter().zip(&mut floats).zip(&mut bytes).zip(&mut sums)
    {
        outputs.push(match spec.kind.dtype {
            DType::U8 => TensorMut::U8(bytes),
            DType::I32 => TensorMut::I32(sums),
            _ => TensorMut::F32(floats),
        });
    }
    session.run(&inputs, &mut outputs)?;
    drop(outputs);
    let real = |at: usize| -> Vec<f32> {
        match (specs[at].kind.dtype, specs[at].kind.quant) {
            (DType::U8, Some(quant)) => {
                bytes[at].iter().map(|&level| quant.dequantize(level)).collect()
            }
            (DType::I32, Some(quant)) => {
                sums[at].iter().map(|&sum| sum as f32 * quant.scale).collect()
            }
            _ => floats[at].clone(),
        }
    };
    Ok((0..specs.len()).map(real).collect())
}
