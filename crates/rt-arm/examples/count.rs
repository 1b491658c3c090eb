//! Runs a LeNet so many times, for counting instructions or timing from outside.
//!
//! ```text
//! count lenet300|lenet5 f32|int8|int7|int6|int4 RUNS [ISA [DENSITY_PERCENT]]
//! ```
//! With a density, dense layers run as sparse rows (`int4` and 100 percent: as codebook indices). The instructions of
//! one inference are the difference between two numbers of runs, by their difference.

#[cfg(target_arch = "aarch64")]
#[path = "count/net.rs"]
mod net;

#[cfg(not(target_arch = "aarch64"))]
fn main() {
    // The crate is empty on other architectures, and so is this.
}

#[cfg(target_arch = "aarch64")]
fn main() -> Result<(), Box<dyn core::error::Error>> {
    use embdl_core::runtime::{LoadOptions, Runtime, WeightForm};
    use embdl_core::tensor::{DType, TensorMut, TensorRef};

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize| arguments.get(at).map(String::as_str);
    let density = argument(4).map(str::parse).transpose()?;
    let bits = match argument(1) {
        Some("f32") => None,
        Some(name) => Some(name.trim_start_matches("int").parse()?),
        None => return Err("usage: count NET ELEMENTS RUNS [ISA [DENSITY_PERCENT]]".into()),
    };
    let net = net::lenet(argument(0) == Some("lenet5"), bits, density.unwrap_or(100))?;
    let options = LoadOptions {
        isa: argument(3).map(String::from),
        weights: if density.is_some() { WeightForm::Compressed } else { WeightForm::Dense },
        ..LoadOptions::default()
    };
    let mut session = rt_arm::runtime()?.load(&net.model(), &options)?;
    let len = session.inputs()[0].kind.shape.len();
    let (floats, levels) = (vec![0.5; len], vec![100; len]);
    let is_float = session.inputs()[0].kind.dtype == DType::F32;
    let input = if is_float { TensorRef::F32(&floats) } else { TensorRef::U8(&levels) };
    let (mut out_f32, mut out_i32) = ([0.0; 10], [0; 10]);
    for _ in 0..argument(2).unwrap_or("1").parse()? {
        let out =
            if is_float { TensorMut::F32(&mut out_f32) } else { TensorMut::I32(&mut out_i32) };
        session.run(&[input], &mut [out])?;
    }
    core::hint::black_box((out_f32, out_i32));
    Ok(())
}
