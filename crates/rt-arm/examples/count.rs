//! Runs a LeNet, or the network of a file, so many times, for counting instructions or timing from outside.
//!
//! ```text
//! count lenet300|lenet5 f32|int8|int7|int6|int4 RUNS|nodes [ISA [DENSITY_PERCENT]]
//! count FILE.embdl nodes|whole RUNS [ISA]
//! ```
//! The last run is between two system calls that nothing else makes, for an emulator that counts what is between them.
//! With a density, dense layers run as sparse rows (`int4` and 100 percent: as codebook indices). `nodes`
//! reads the clock before and after each node, and prints the nodes, their kernels, products, and bytes of activations and weights.

#[cfg(target_arch = "aarch64")]
#[path = "count/net.rs"]
mod net;

#[cfg(not(target_arch = "aarch64"))]
fn main() {
    // The crate is empty on other architectures, and so is this.
}

#[cfg(target_arch = "aarch64")]
fn main() -> Result<(), Box<dyn core::error::Error>> {
    use embdl_core::format::{self, Limits};
    use embdl_core::runtime::{LoadOptions, WeightForm};

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize| arguments.get(at).map(String::as_str);
    let [Some(name), Some(how)] = [argument(0), argument(1)] else {
        return Err("usage: count NET ELEMENTS RUNS [ISA [DENSITY_PERCENT]]".into());
    };
    let wants_nodes = argument(2) == Some("nodes");
    let runs = if wants_nodes { 1 } else { argument(2).unwrap_or("1").parse()? };
    let density = argument(4).map(str::parse).transpose()?;
    let mut options = LoadOptions { isa: argument(3).map(String::from), ..LoadOptions::default() };
    options.clock = (wants_nodes || how == "nodes").then_some(nanoseconds);
    if name.ends_with(".embdl") {
        let bytes = std::fs::read(name)?;
        return run(&format::read(&bytes, &Limits::default())?, &options, runs);
    }
    let bits = match how {
        "f32" => None,
        how => Some(how.trim_start_matches("int").parse()?),
    };
    options.weights = if density.is_some() { WeightForm::Compressed } else { WeightForm::Dense };
    let net = net::lenet(name == "lenet5", bits, density.unwrap_or(100))?;
    run(&net.model(), &options, runs)
}

#[cfg(target_arch = "aarch64")]
#[expect(clippy::print_stdout, reason = "results of a command-line program")]
fn run(
    model: &embdl_core::model::Model<'_>,
    options: &embdl_core::runtime::LoadOptions,
    runs: usize,
) -> Result<(), Box<dyn core::error::Error>> {
    use embdl_core::runtime::Runtime;
    use embdl_core::tensor::{DType, TensorMut, TensorRef};

    let mut session = rt_arm::runtime()?.load(model, options)?;
    let len = session.inputs()[0].kind.shape.len();
    let (floats, levels) = (vec![0.5; len], vec![100; len]);
    let is_float = session.inputs()[0].kind.dtype == DType::F32;
    let input = if is_float { TensorRef::F32(&floats) } else { TensorRef::U8(&levels) };
    let result = session.outputs()[0].kind;
    let count = result.shape.len();
    let (mut sums, mut bytes, mut out) = (vec![0; count], vec![0; count], vec![0.0; count]);
    for at in 1..=runs {
        let is_last = at == runs;
        if is_last {
            mark();
        }
        let out = match result.dtype {
            DType::F32 => TensorMut::F32(&mut out),
            DType::U8 => TensorMut::U8(&mut bytes),
            _ => TensorMut::I32(&mut sums),
        };
        session.run(&[input], &mut [out])?;
        if is_last {
            mark();
        }
    }
    for node in session.profile().iter().flat_map(|profile| &profile.nodes) {
        println!("{} {} {} {}", node.name, node.kernel, node.macs, node.bytes);
    }
    core::hint::black_box((out, bytes, sums));
    Ok(())
}

/// Asks for the number of the parent.
#[cfg(target_arch = "aarch64")]
fn mark() {
    core::hint::black_box(std::os::unix::process::parent_id());
}

#[cfg(target_arch = "aarch64")]
fn nanoseconds() -> u64 {
    use std::time::{SystemTime, UNIX_EPOCH};

    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
