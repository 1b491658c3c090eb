//! A Neural Compute Stick in software, for hosts that connect to it by TCP: `EMBDL_MYRIAD=emulated:127.0.0.1:7450`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program speaks to the person who ran it")]

use std::net::TcpListener;
use std::process::ExitCode;

use lexopt::prelude::{Long, Short, ValueExt};
use rt_myriad::emulator::{Arithmetic, CostModel, EmulatorConfig, Stick};
use rt_myriad::protocol::Dialect;
use rt_myriad::transport::serve;

const HELP: &str = "\
A Neural Compute Stick in software. Times, power and temperatures are modelled, not measured.

Usage: myriad-emu [options]

  --listen ADDRESS   where hosts connect (127.0.0.1:7450; port 0 for any that is free)
  --lanes16          layers add up in eight 16-bit floats, as chips seem to, instead of 32-bit floats
  --ncsdk2           its firmware is one of NCSDK 2, which runs graphs that mvNCCompile has made
  --real-time        an inference takes the time of the model
  --ambient DEGREES  temperature around the stick (25); from 85 degrees of the die on it throttles";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("myriad-emu: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn core::error::Error>> {
    let mut address = String::from("127.0.0.1:7450");
    let mut config = EmulatorConfig::default();
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("listen") => address = arguments.value()?.string()?,
            Long("lanes16") => config.arithmetic = Arithmetic::Lanes16,
            Long("ncsdk2") => config.dialect = Dialect::Ncsdk2,
            Long("real-time") => config.real_time = true,
            Long("ambient") => {
                let ambient: f64 = arguments.value()?.parse()?;
                config.cost = CostModel { ambient, ..CostModel::default() };
            }
            Short('h') | Long("help") => {
                println!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let listener = TcpListener::bind(&address)?;
    println!("listening on {}", listener.local_addr()?);
    serve(&Stick::new(config), &listener)?;
    Ok(())
}
