//! `cargo xtask mca`: what llvm-mca's models of Arm's cores say of the inner loops of rt-arm, as a table of the book.
mod kernels;
mod listing;

use crate::apt;
use crate::build;
use crate::process::{find_program, output, say};
use crate::targets::Target;
use crate::workspace::root;
use anyhow::{Context, Result, bail};
use kernels::{KERNELS, Kernel};
use listing::Loop;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Table of the inner loops of rt-arm by llvm-mca: cycles, and the share of what a core's ports allow.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask mca                    (prints the table)
  cargo xtask mca --write            (puts it into docs/src/kernels.md)
  cargo xtask mca --check            (fails where the book has another one)")]
pub(crate) struct Args {
    /// Put the table into the book.
    #[arg(long)]
    write: bool,
    /// Fail where the table in the book is another one.
    #[arg(long, conflicts_with = "write")]
    check: bool,
}

/// The page with the table, which stands between these lines.
const PAGE: &str = "docs/src/kernels.md";
const BEGIN: &str = "<!-- Made by `cargo xtask mca --write`; do not edit. -->\n";
const END: &str = "<!-- The end of what `cargo xtask mca` made. -->\n";

/// Turns of a loop that are simulated, so that its beginning does not count.
const TURNS: u32 = 200;

/// What a loop reaches of the limit of the ports, at least, on cores that run instructions out of order.
const GOAL: f64 = 0.85;

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let target = Target::read("aarch64")?;
    let program = build::example("rt-arm", "count", &target, build::Symbols::Kept)?;
    let objdump = tool("aarch64-linux-gnu-objdump", "binutils-aarch64-linux-gnu")?;
    let mut command = Command::new(objdump);
    let text = output(command.args(["-d", "--no-show-raw-insn"]).arg(&program))?;
    let loops = listing::loops(&text);
    let mca = Mca { program: tool("llvm-mca", "llvm")? };
    let (table, below) = table(&loops, &mca)?;
    print!("{table}");
    for line in below {
        say(line);
    }
    let page = root().join(PAGE);
    let reading = || format!("reading {}", page.display());
    let old = std::fs::read_to_string(&page).with_context(reading)?;
    let new = with_table(&old, &table)?;
    if args.check && old != new {
        bail!("the table in {PAGE} is another one: `cargo xtask mca --write` makes it anew");
    }
    if args.write {
        std::fs::write(&page, new).with_context(|| format!("writing {}", page.display()))?;
        say(format!("wrote {PAGE}"));
    }
    Ok(())
}

/// A program, of a package where it is missing.
fn tool(name: &str, package: &str) -> Result<PathBuf> {
    if find_program(name).is_none() {
        apt::install(&[package], "to read the inner loops of kernels")?;
    }
    find_program(name).with_context(|| format!("{name} is missing: {package} has it"))
}

/// The page with another table.
fn with_table(page: &str, table: &str) -> Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.with_context(|| format!("{PAGE} has no place for the table"))?;
    Ok(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

/// llvm-mca.
struct Mca {
    program: PathBuf,
}

/// What it says of a loop.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cycles {
    /// For a turn of many.
    turn: f64,
    /// The fewest that a turn can take by the ports that its instructions need and by what is issued in a cycle.
    limit: f64,
}

impl Mca {
    fn version(&self) -> Result<String> {
        let said = output(Command::new(&self.program).arg("--version"))?;
        let version = said.split_whitespace().skip_while(|word| *word != "version").nth(1);
        Ok(version.context("llvm-mca does not say its version")?.to_owned())
    }

    fn cycles(&self, instructions: &[String], core: &str) -> Result<Cycles> {
        let mut command = Command::new(&self.program);
        command.args(["-mtriple=aarch64", "-mattr=+dotprod,+i8mm,+fullfp16"]);
        command.arg(format!("-mcpu={core}")).arg(format!("-iterations={TURNS}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("starting llvm-mca")?;
        let text = instructions.join("\n") + "\n";
        child.stdin.take().context("llvm-mca takes no input")?.write_all(text.as_bytes())?;
        let result = child.wait_with_output().context("running llvm-mca")?;
        let said = String::from_utf8_lossy(&result.stdout);
        let errors = String::from_utf8_lossy(&result.stderr);
        cycles(&said).with_context(|| format!("llvm-mca for {core} said: {errors}"))
    }
}

/// The numbers in a report.
fn cycles(report: &str) -> Option<Cycles> {
    let number = |name: &str| -> Option<f64> {
        let line = report.lines().find_map(|line| line.trim().strip_prefix(name))?;
        line.trim().parse().ok()
    };
    let turn = number("Total Cycles:")? / f64::from(TURNS);
    Some(Cycles { turn, limit: number("Block RThroughput:")? })
}

/// The table, and a line for each loop that is below the goal.
fn table(loops: &[Loop], mca: &Mca) -> Result<(String, Vec<String>)> {
    let mut text = format!("llvm-mca {}.\n\n", mca.version()?);
    text += "| inner loop | core | instructions | products | cycles | of the products' peak | of the ports' limit |\n";
    text += "|---|---|---|---|---|---|---|\n";
    let mut below = Vec::new();
    for kernel in KERNELS {
        let found = find(kernel, loops)?;
        let alone: Vec<String> =
            found.instructions.iter().filter(|text| kernel.product.is(text)).cloned().collect();
        for core in kernel.cores {
            let whole = mca.cycles(&found.instructions, core)?;
            let products = mca.cycles(&alone, core)?;
            let [of_products, of_ports] =
                [products.turn, whole.limit].map(|least| (least / whole.turn).min(1.0));
            text += &format!(
                "| {} | {core} | {} | {} | {:.0} | {:.0} % | {:.0} % |\n",
                kernel.title,
                found.instructions.len() + 1,
                alone.len() * kernel.product.count(),
                whole.turn,
                100.0 * of_products,
                100.0 * of_ports,
            );
            if of_ports < GOAL && kernels::OUT_OF_ORDER.contains(core) {
                below.push(format!(
                    "{} reaches {:.0} % on {core}, the goal is {:.0} %",
                    kernel.title,
                    100.0 * of_ports,
                    100.0 * GOAL
                ));
            }
        }
    }
    Ok((text, below))
}

/// The loop of a kernel: of those that may be it the one with the largest share of products.
fn find<'a>(kernel: &Kernel, loops: &'a [Loop]) -> Result<&'a Loop> {
    let products =
        |found: &Loop| found.instructions.iter().filter(|text| kernel.product.is(text)).count();
    let is_it = |found: &&Loop| {
        let count = products(found);
        count > 0 && found.function.contains(kernel.function) && (kernel.which)(count, found)
    };
    let share = |found: &Loop| (1000 * products(found)) / found.instructions.len();
    let found = loops.iter().filter(is_it).max_by_key(|found| share(found));
    found.with_context(|| format!("no loop of {} in this program", kernel.title))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_gives_cycles_of_a_turn_and_the_limit() {
        let report = "Iterations:        200\nTotal Cycles:      6410\n\nBlock RThroughput: 32.0\n";
        assert_eq!(cycles(report), Some(Cycles { turn: 32.05, limit: 32.0 }));
        assert_eq!(cycles("error: no such CPU\n"), None);
    }

    #[test]
    fn a_table_takes_the_place_of_another_one() {
        let page = format!("a\n{BEGIN}\nold\n\n{END}b\n");
        let new = with_table(&page, "| new |\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\n| new |\n\n{END}b\n"));
        assert_eq!(with_table(&new, "| new |\n").unwrap(), new);
        assert!(with_table("no place", "| new |\n").is_err());
    }

    #[test]
    fn the_book_has_a_place_for_the_table() {
        let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
        assert!(with_table(&page, "").is_ok());
    }
}
