//! What is wrong with a program, or with what it does.

use thiserror::Error;

/// A program that cannot be read, and the line where that shows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a piece of a program.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// The text ends too early.
    #[error("the text ends here")]
    End,
    /// Another word has to stand here.
    #[error("`{found}` stands where {expected} belongs")]
    Unexpected {
        /// What stands there.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// An instruction that our kernels have no use for.
    #[error("the instruction `{0}` is not known")]
    Instruction(String),
    /// A register, label or variable that is not declared, or not of this width.
    #[error("`{0}` is not declared as this instruction takes it")]
    Name(String),
    /// A name that is declared twice.
    #[error("`{0}` is declared twice")]
    Twice(String),
    /// More of something than is allowed.
    #[error("{found} {what}, at most {allowed} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: u64,
        /// How many there may be.
        allowed: u64,
    },
}

/// A launch that failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{entry}, block {block:?}, line {line}: {fault}")]
pub struct LaunchError {
    /// The kernel.
    pub entry: String,
    /// The block.
    pub block: [u32; 3],
    /// Line of the instruction, counted from 1; 0 before the first.
    pub line: usize,
    /// What happened.
    pub fault: Fault,
}

/// What a kernel must not do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// Blocks that are empty or larger than allowed.
    #[error("blocks of {threads} threads, at most {allowed} are allowed")]
    Block {
        /// Threads of a block.
        threads: u64,
        /// As many as there may be.
        allowed: u64,
    },
    /// A grid without blocks, or with an axis that is too long.
    #[error("a grid of {0:?}")]
    Grid([u32; 3]),
    /// Parameters of another length.
    #[error("{found} bytes of parameters, the kernel takes {expected}")]
    Params {
        /// Bytes that were given.
        found: usize,
        /// Bytes that the kernel takes.
        expected: usize,
    },
    /// Registers of a block that do not fit.
    #[error("the registers of a block are {0} numbers")]
    Registers(u64),
    /// An access beside all memory.
    #[error(
        "thread {thread} reaches {bytes} bytes at {address:#x} of {space} memory, which is not there"
    )]
    Address {
        /// Number of the thread in its block.
        thread: usize,
        /// Where.
        address: u64,
        /// How many.
        bytes: usize,
        /// Global, shared or parameters.
        space: &'static str,
    },
    /// An access that does not begin at a multiple of its length.
    #[error("thread {thread} reaches {bytes} bytes at {address:#x}, which is no multiple of that")]
    Alignment {
        /// Number of the thread in its block.
        thread: usize,
        /// Where.
        address: u64,
        /// How many.
        bytes: usize,
    },
    /// A shuffle that not all threads of a warp take part in.
    #[error("only some threads of warp {0} are at a shuffle")]
    Shuffle(usize),
    /// A read-only load from memory that the launch writes.
    #[error("the launch reads {address:#x} as what does not change, and writes it")]
    NotFixed {
        /// Where.
        address: u64,
    },
    /// Threads that end without `ret`.
    #[error("the kernel does not end")]
    End,
    /// More instructions than allowed.
    #[error("more than {0} instructions")]
    Instructions(u64),
}
