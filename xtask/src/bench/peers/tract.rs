//! tract, the peer that is a program of Rust: built where it is compared, changed where it is held to a level.
use super::level::{Level, Peers, pinned};
use crate::process::{cargo, output, run as run_shown};
use crate::workspace::{Metadata, root};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// The command that starts it on these cores, without its arguments.
pub(super) fn command(peers: &Peers, cores: &str) -> Result<Command> {
    let mut command = pinned(cores, &program(peers)?);
    peers.mask(&mut command);
    Ok(command)
}

/// The program, or its copy in which `cpuid` traps.
fn program(peers: &Peers) -> Result<PathBuf> {
    let folder = Metadata::read()?.target_directory.join("tract");
    let manifest = root().join("xtask/peers/tract/Cargo.toml");
    let mut build = cargo();
    build.args(["build", "--release", "--quiet", "--locked", "--manifest-path"]).arg(manifest);
    run_shown(build.arg("--target-dir").arg(&folder))?;
    let program = folder.join("release/embdl-peer-tract");
    if peers.level == Level::Native {
        return Ok(program);
    }
    let masked = program.with_extension("masked");
    super::super::models::make_if_older(&masked, &[&program], || {
        std::fs::copy(&program, &masked)
            .with_context(|| format!("copying {}", program.display()))?;
        output(peers.masker()?.arg(&masked)).map(drop)
    })?;
    Ok(masked)
}
