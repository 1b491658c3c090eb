//! A program that was read.

use crate::error::ParseError;
use crate::instruction::{Instruction, Long, Word};
use crate::parse;

/// Everything that a text of PTX declares.
#[derive(Debug)]
pub struct Program {
    pub(crate) version: (u32, u32),
    pub(crate) target: String,
    pub(crate) entries: Vec<Entry>,
}

/// A kernel.
#[derive(Debug)]
pub struct Entry {
    pub(crate) name: String,
    pub(crate) params_bytes: usize,
    pub(crate) shared_bytes: usize,
    pub(crate) max_threads: Option<u64>,
    pub(crate) registers: Registers,
    pub(crate) code: Vec<Instruction>,
}

/// Registers of a thread, and those that hold the same for all its life.
#[derive(Debug, Default)]
pub(crate) struct Registers {
    pub(crate) words: usize,
    pub(crate) longs: usize,
    pub(crate) constant_words: Vec<(Word, u32)>,
    pub(crate) constant_longs: Vec<(Long, u64)>,
    pub(crate) special: Vec<(Word, Special)>,
}

/// What a thread knows of where it is; axes count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    Thread(usize),
    Threads(usize),
    Block(usize),
    Blocks(usize),
}

impl Program {
    /// Reads a program.
    ///
    /// # Errors
    /// If it is no PTX, or has what kernels of ours have no use for.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::program(text)
    }

    /// Version of the instruction set, such as `(6, 5)`.
    #[must_use]
    pub const fn version(&self) -> (u32, u32) {
        self.version
    }

    /// The oldest chips that it is for, such as `sm_62`.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// All kernels.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The kernel of this name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

impl Entry {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of its parameters.
    #[must_use]
    pub const fn params_bytes(&self) -> usize {
        self.params_bytes
    }

    /// Bytes of shared memory that a block has.
    #[must_use]
    pub const fn shared_bytes(&self) -> usize {
        self.shared_bytes
    }

    /// The most threads that a block may have, where it says so.
    #[must_use]
    pub const fn max_threads(&self) -> Option<u64> {
        self.max_threads
    }
}
