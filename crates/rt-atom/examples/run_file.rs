//! Loads an `.embdl` file, runs it once on zeros and prints its outputs: `run_file MODEL.embdl`.
#![expect(clippy::print_stdout, reason = "a command-line program")]

#[cfg(target_arch = "x86_64")]
fn main() -> Result<(), Box<dyn core::error::Error>> {
    use embdl_core::format::{self, Limits};
    use embdl_core::runtime::{LoadOptions, Runtime};
    use embdl_core::tensor::{DType, TensorMut, TensorRef};

    let path = std::env::args().nth(1).ok_or("usage: run_file MODEL.embdl")?;
    let bytes = std::fs::read(path)?;
    // The file is untrusted until this returns.
    let model = format::read(&bytes, &Limits::default())?;
    // All allocation happens in `load`; `run` allocates nothing.
    let mut session = rt_atom::runtime()?.load(&model, &LoadOptions::default())?;
    println!("{:?} -> {:?}", session.inputs(), session.outputs());

    let (input, output) = (session.inputs()[0].kind, session.outputs()[0].kind);
    let floats = vec![0.0; input.shape.len()];
    let levels = vec![input.quant.map_or(0, |quant| quant.zero_point); input.shape.len()];
    let x = if input.dtype == DType::U8 { TensorRef::U8(&levels) } else { TensorRef::F32(&floats) };
    if output.dtype == DType::I32 {
        let mut logits = vec![0; output.shape.len()];
        session.run(&[x], &mut [TensorMut::I32(&mut logits)])?;
        println!("{logits:?}");
    } else {
        let mut logits = vec![0.0; output.shape.len()];
        session.run(&[x], &mut [TensorMut::F32(&mut logits)])?;
        println!("{logits:?}");
    }
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("this runtime is for x86");
}
