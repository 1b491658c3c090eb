//! Loops in what objdump prints of a program for AArch64.

/// A loop without a branch inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loop {
    /// The mangled name of the function that it is in.
    pub(super) function: String,
    /// Its instructions but for the branch back.
    pub(super) instructions: Vec<String>,
}

/// All loops: runs of instructions that end in a conditional branch back to one of them.
pub(super) fn loops(listing: &str) -> Vec<Loop> {
    let mut loops = Vec::new();
    let mut function = "";
    // Since the last branch: addresses and instructions.
    let mut block: Vec<(u64, String)> = Vec::new();
    for line in listing.lines() {
        if let Some(name) = line.strip_suffix(">:").and_then(|line| line.split_once(" <")) {
            function = name.1;
            block.clear();
            continue;
        }
        let Some((address, name, operands)) = instruction(line) else { continue };
        if !is_branch(name) {
            block.push((address, format!("{name} {operands}").trim().to_owned()));
            continue;
        }
        let target = operands.split(" <").next().and_then(|at| u64::from_str_radix(at, 16).ok());
        let first = block.iter().position(|(at, _)| Some(*at) == target);
        if let Some(first) = first.filter(|_| name.starts_with("b.")) {
            let instructions = block.drain(first..).map(|(_, text)| text).collect();
            loops.push(Loop { function: function.to_owned(), instructions });
        }
        block.clear();
    }
    loops
}

/// Address, name and operands of an instruction, without a comment.
fn instruction(line: &str) -> Option<(u64, &str, &str)> {
    let (address, rest) = line.trim_start().split_once(":\t")?;
    let address = u64::from_str_radix(address, 16).ok()?;
    let text = rest.split("//").next()?.trim();
    let (name, operands) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    Some((address, name, operands.trim()))
}

fn is_branch(name: &str) -> bool {
    const BRANCHES: [&str; 9] = ["b", "bl", "br", "blr", "ret", "cbz", "cbnz", "tbz", "tbnz"];
    name.starts_with("b.") || BRANCHES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
0000000000001000 <_RNv4gemm>:
    1000:\tmov\tx9, #0x18                  \t// #24
    1004:\tldr\tq0, [x0], #16
    1008:\tfmla\tv1.4s, v0.4s, v2.s[0]
    100c:\tsubs\tx9, x9, #0x1
    1010:\tb.ne\t1004 <_RNv4gemm+0x4>  // b.any
    1014:\tcbz\tx9, 1020 <_RNv4gemm+0x20>
    1018:\tadd\tx0, x0, x1
    101c:\tb\t1004 <_RNv4gemm+0x4>
    1020:\tret
";

    #[test]
    fn a_loop_is_what_a_branch_goes_back_to() {
        let instructions = ["ldr q0, [x0], #16", "fmla v1.4s, v0.4s, v2.s[0]", "subs x9, x9, #0x1"];
        let expected = Loop {
            function: "_RNv4gemm".into(),
            instructions: instructions.map(str::to_owned).to_vec(),
        };
        assert_eq!(loops(LISTING), [expected]);
        assert_eq!(loops("no listing\n"), []);
    }
}
