//! `cargo xtask codegen`: the PTX of the CUDA runtime from its kernels, and what assembling it for each chip takes.
use crate::process::{output, retry, say, warn};
use crate::{apt, process, python, workspace};
use anyhow::{Context, Result, bail};
use core::fmt::Write as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compile the CUDA kernels to the PTX that is committed, assemble it for each chip, and write down its registers.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing; fail where what is committed is not what would be written.
    #[arg(long)]
    check: bool,
    /// Compile only; do not assemble.
    #[arg(long)]
    no_assemble: bool,
}

/// Where the kernels are, what is made of them, and the page that lists their registers.
const KERNELS: &str = "crates/rt-jetson/kernels";
const PTX: &str = "crates/rt-jetson/ptx";
const PAGE: &str = "docs/src/registers.md";

/// The compiler, by its names. Its version is part of what it writes.
const CLANG: [&str; 1] = ["clang-19"];
const PACKAGES: [&str; 2] = ["clang-19", "libclang-rt-19-dev"];

/// Jetson TX2, Xavier, Orin, and the servers that kernels are tested on.
const CHIPS: [&str; 4] = ["sm_62", "sm_72", "sm_87", "sm_90"];

/// Releases of NVIDIA's assembler: the oldest that knows all of these chips, and the newest that still knows the first. Each is
/// in an environment of its own, since their files have the same names. Both have to take the PTX; the table is the last one's.
const ASSEMBLERS: [&str; 2] = ["ptxas-11", "ptxas-12"];

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(reason) = generate(args)? {
        warn(format!("nothing was compared: {reason}"));
    }
    Ok(())
}

/// Checks that what is committed is fresh, and assembles. Gives the reason where it could not be compared.
pub(crate) fn check() -> Result<Option<&'static str>> {
    generate(&Args { check: true, no_assemble: !cfg!(target_arch = "x86_64") })
}

/// The compiler of the kernels, installed where it is missing.
pub(crate) fn clang() -> Result<PathBuf> {
    // Where packages are known, the sanitizers' one can be looked for; elsewhere the tests say that it is missing.
    let is_whole = !apt::is_debian() || apt::installed(PACKAGES[1]).is_some();
    let find = || process::first_program(&CLANG);
    if find().is_none() || !is_whole {
        apt::install(&PACKAGES, "to compile the CUDA kernels")?;
    }
    find().context("clang 19 is installed, yet brought no clang-19")
}

fn generate(args: &Args) -> Result<Option<&'static str>> {
    let root = workspace::root();
    let clang = clang()?;
    let version = version(&clang)?;
    let mut stale = Vec::new();
    let mut other_compiler = false;
    let mut modules = Vec::new();
    for source in sources(&root.join(KERNELS))? {
        let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = compile(&clang, &version, &source, &stem)?;
        let committed = root.join(PTX).join(format!("{stem}.ptx"));
        let before = std::fs::read_to_string(&committed).unwrap_or_default();
        let is_other = !before.is_empty() && before.lines().next() != text.lines().next();
        if args.check && is_other {
            other_compiler = true;
        } else if before != text {
            if args.check {
                stale.push(format!("{PTX}/{stem}.ptx"));
            } else {
                std::fs::write(&committed, &text)
                    .with_context(|| format!("writing {}", committed.display()))?;
                say(format!("wrote {PTX}/{stem}.ptx"));
            }
        }
        modules.push((stem, committed));
    }
    if !args.no_assemble {
        let page = page(&assemble(&modules)?);
        let path = root.join(PAGE);
        if std::fs::read_to_string(&path).unwrap_or_default() != page {
            if args.check {
                stale.push(PAGE.to_owned());
            } else {
                std::fs::write(&path, page).with_context(|| format!("writing {PAGE}"))?;
                say(format!("wrote {PAGE}"));
            }
        }
    }
    if !stale.is_empty() {
        bail!("not fresh, so run `cargo xtask codegen`: {}", stale.join(", "));
    }
    say(format!("{} modules of PTX by clang {version}", modules.len()));
    Ok(other_compiler.then_some("the committed PTX is by another version of clang"))
}

/// The CUDA sources, in order.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let files =
        std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut files: Vec<PathBuf> = files.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "cu"));
    files.sort();
    Ok(files)
}

/// Such as 19.1.7.
fn version(clang: &Path) -> Result<String> {
    let said = output(Command::new(clang).arg("--version"))?;
    let version = said
        .split_once("version ")
        .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit() && c != '.').next());
    version.map(str::to_owned).with_context(|| format!("clang says of its version: {said}"))
}

/// The PTX of a source, with what made it in its first line and without the compiler's own remarks.
fn compile(clang: &Path, version: &str, source: &Path, stem: &str) -> Result<String> {
    let mut command = Command::new(clang);
    command.args(["-x", "cuda", "--cuda-device-only", "-nocudainc", "-nocudalib"]);
    // The oldest chip, and the newest instructions that its last driver takes.
    command.args(["--cuda-gpu-arch=sm_62", "--cuda-feature=+ptx65"]);
    command.args(["-O3", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-S", "-o", "-"]).arg(source);
    let text = output(&mut command)?;
    let line = format!(
        "// Generated by `cargo xtask codegen` with clang {version} from {KERNELS}/{stem}.cu.\n"
    );
    Ok(line + &without_remarks(&text))
}

/// The text without comments and what they leave empty.
fn without_remarks(text: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or_default().trim_end().to_owned();
    let lines = text.lines().map(code).filter(|line| !line.is_empty());
    lines.map(|line| line + "\n").collect()
}

/// Registers of a kernel on each chip.
type Table = BTreeMap<String, [u32; CHIPS.len()]>;

/// Assembles all modules for all chips. Errors: a kernel does not assemble, or keeps registers in memory.
fn assemble(modules: &[(String, PathBuf)]) -> Result<Table> {
    let mut table = Table::new();
    for name in ASSEMBLERS {
        let ptxas = assembler(name)?;
        table.clear();
        for (at, chip) in CHIPS.iter().enumerate() {
            for (stem, ptx) in modules {
                let mut command = Command::new(&ptxas);
                command.args(["--verbose", "--output-file", "/dev/null"]);
                command.arg(format!("--gpu-name={chip}")).arg(ptx);
                // What it says goes to standard error.
                let done =
                    command.output().with_context(|| format!("starting {}", ptxas.display()))?;
                let said = String::from_utf8_lossy(&done.stderr);
                if !done.status.success() {
                    bail!("{name} does not take {stem}.ptx for {chip}: {said}");
                }
                for (kernel, usage) in usages(&said) {
                    if usage.spilled_bytes > 0 || usage.stack_bytes > 0 {
                        bail!("{kernel} on {chip} by {name} keeps {usage:?} in memory");
                    }
                    table.entry(kernel).or_default()[at] = usage.registers;
                }
            }
        }
    }
    let unknown = table.iter().find(|(_, registers)| registers.contains(&0));
    if let Some((kernel, registers)) = unknown {
        bail!("the assembler does not say how many registers {kernel} takes: {registers:?}");
    }
    Ok(table)
}

/// The assembler of an environment of Python.
fn assembler(name: &str) -> Result<PathBuf> {
    let list = workspace::root().join("xtask/ptxas").join(format!("{name}.txt"));
    let python = retry(2, "the assembler", || python::environment(name, &list))?;
    let script = "import nvidia.cuda_nvcc as p; print(list(p.__path__)[0])";
    let folder = output(Command::new(python).args(["-c", script]))?;
    let ptxas = Path::new(folder.trim()).join("bin/ptxas");
    // The package does not keep the permission to run it.
    let mut permissions = ptxas.metadata().context("the package has no ptxas")?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(&ptxas, permissions).context("letting ptxas run")?;
    Ok(ptxas)
}

/// What a kernel takes of a chip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    registers: u32,
    spilled_bytes: u32,
    stack_bytes: u32,
}

/// What the assembler says of each kernel.
fn usages(said: &str) -> Vec<(String, Usage)> {
    let mut all: Vec<(String, Usage)> = Vec::new();
    for line in said.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let name = rest.split('\'').next().unwrap_or_default();
            all.push((name.to_owned(), Usage::default()));
        }
        let Some((_, usage)) = all.last_mut() else { continue };
        let before = |unit: &str| {
            let words = line.split(unit).next()?.split_whitespace();
            line.contains(unit).then(|| words.last()?.parse::<u32>().ok()).flatten()
        };
        usage.stack_bytes += before(" bytes stack frame").unwrap_or(0);
        usage.spilled_bytes += before(" bytes spill stores").unwrap_or(0);
        usage.spilled_bytes += before(" bytes spill loads").unwrap_or(0);
        usage.registers += before(" registers").unwrap_or(0);
    }
    all
}

/// The page of the book.
fn page(table: &Table) -> String {
    let mut page = format!(
        "# Registers of the CUDA kernels\n\nGenerated by `cargo xtask codegen`; `--check`, which `cargo xtask ci` runs, proves it \
         fresh. Registers of a thread, as ptxas 12.9.86 assembles the committed PTX for Jetson TX2, Xavier, Orin and Hopper. \
         ptxas 11.8.89 takes it as well. No kernel keeps registers in memory, on no chip, by either: codegen fails where one \
         does. A block has 256 threads (dense rows 128), so that 128 registers leave two blocks on a multiprocessor of 65,536.\n\n\
         | kernel | {} |\n|---|{}\n",
        CHIPS.map(|chip| format!("`{chip}`")).join(" | "),
        "---|".repeat(CHIPS.len()),
    );
    for (kernel, registers) in table {
        let cells = registers.map(|count| count.to_string()).join(" | ");
        // Writing to a string does not fail.
        writeln!(page, "| `{kernel}` | {cells} |").unwrap_or_default();
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_assembler_says() {
        let said = "ptxas info    : 0 bytes gmem\nptxas info    : Compiling entry function 'a' for 'sm_62'\n\
                    ptxas info    : Function properties for a\n    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
                    ptxas info    : Used 77 registers, 8704 bytes smem, 488 bytes cmem[0]\n\
                    ptxas info    : Compiling entry function 'b' for 'sm_62'\n    16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\n\
                    ptxas info    : Used 128 registers, used 1 barriers\n";
        let usage =
            |registers, spilled_bytes, stack_bytes| Usage { registers, spilled_bytes, stack_bytes };
        let expected = [("a".to_owned(), usage(77, 0, 0)), ("b".to_owned(), usage(128, 12, 16))];
        assert_eq!(usages(said), expected);
    }

    #[test]
    fn remarks_of_the_compiler_are_left_out() {
        let text =
            "//\n// By LLVM\n\n.version 6.5\n\t// .globl a // -- Begin\nL:   // =>Loop\n\tret;\n";
        assert_eq!(without_remarks(text), ".version 6.5\nL:\n\tret;\n");
    }

    #[test]
    fn every_module_has_its_source() {
        let sources = sources(&workspace::root().join(KERNELS)).unwrap();
        let stem = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut ptx: Vec<String> = std::fs::read_dir(workspace::root().join(PTX))
            .unwrap()
            .map(|entry| stem(&entry.unwrap().path()))
            .collect();
        ptx.sort();
        assert_eq!(sources.iter().map(|path| stem(path)).collect::<Vec<_>>(), ptx);
    }
}
