//! Executes an instruction for some threads of a block.
//!
//! Registers stand thread by thread: all threads' values of register 0, then all of register 1. An instruction is decoded once
//! for all threads that are at it, and its loop over them becomes vectors where it can.

mod access;
mod convert;
mod scalar;

use core::cell::Cell;

use crate::error::Fault;
use crate::instruction::{
    Compare, Long, Long1, Long2, Number, Operation, Shift, Wide, Word, Word1, Word2, Word3,
};
use crate::launch::{Launch, Stats, WARP, special};
use crate::memory::Memory;
use crate::program::Entry;
use scalar::{
    compare, dot, extract_s32, extract_u32, fused_f16x2, permute, shift_left, shift_right_s32,
    shift_right_u32,
};

/// What every byte of shared memory is when a block begins: no number as a float, and far from all others as an integer.
const UNWRITTEN: u8 = 0xff;

/// How threads go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Next,
    Jump(usize),
    Wait,
    End,
}

/// The threads of a block.
#[derive(Debug)]
pub(crate) struct Block<'l> {
    pub(crate) threads: usize,
    pub(super) words: Vec<u32>,
    pub(super) longs: Vec<u64>,
    pub(super) shared: Vec<u8>,
    launch: &'l Launch<'l>,
    /// The region that was found last.
    pub(super) hint: usize,
}

impl<'l> Block<'l> {
    /// Memory for all blocks of a launch.
    pub(crate) fn new(entry: &Entry, threads: usize, launch: &'l Launch<'l>) -> Self {
        let registers = &entry.registers;
        let mut words = vec![0; registers.words * threads];
        let mut longs = vec![0; registers.longs * threads];
        for &(Word(at), value) in &registers.constant_words {
            words[at * threads..][..threads].fill(value);
        }
        for &(Long(at), value) in &registers.constant_longs {
            longs[at * threads..][..threads].fill(value);
        }
        let shared = vec![UNWRITTEN; entry.shared_bytes];
        Self { threads, words, longs, shared, launch, hint: 0 }
    }

    /// Makes ready for the block at `at`.
    pub(crate) fn begin(&mut self, entry: &Entry, at: [u32; 3]) {
        self.shared.fill(UNWRITTEN);
        for &(Word(register), kind) in &entry.registers.special {
            let values = &mut self.words[register * self.threads..][..self.threads];
            for (thread, value) in values.iter_mut().enumerate() {
                *value = special(kind, thread, at, self.launch);
            }
        }
    }

    pub(super) fn params(&self) -> &'l [u8] {
        self.launch.params
    }

    /// Those of the threads whose predicate has this value.
    pub(crate) fn with_predicate(
        &self,
        lanes: &[u32],
        Word(predicate): Word,
        value: bool,
        part: &mut Vec<u32>,
    ) {
        let values = &self.words[predicate * self.threads..][..self.threads];
        part.clear();
        part.extend(lanes.iter().filter(|&&lane| (values[lane as usize] != 0) == value));
    }

    /// Executes for these threads, of which there is one at least.
    pub(crate) fn execute(
        &mut self,
        operation: &Operation,
        lanes: &[u32],
        memory: &mut Memory<'_>,
        stats: &mut Stats,
    ) -> Result<Flow, Fault> {
        match *operation {
            Operation::Word1(function, to, a) => self.word1(function, lanes, to, a),
            Operation::Word2(function, to, operands) => self.word2(function, lanes, to, operands),
            Operation::Word3(function, to, operands) => self.word3(function, lanes, to, operands),
            Operation::Long1(function, to, a) => match function {
                Long1::Move => self.longs2(lanes, to, [a, a], |a, _| a),
                Long1::Not => self.longs2(lanes, to, [a, a], |a, _| !a),
                Long1::Negate => self.longs2(lanes, to, [a, a], |a, _| a.wrapping_neg()),
            },
            Operation::Long2(function, to, operands) => self.long2(function, lanes, to, operands),
            Operation::Shift(function, to, a, by) => self.shift(function, lanes, to, a, by),
            Operation::Wide(function, to, operands) => {
                self.wide(function, lanes, to, operands, None)
            }
            Operation::WideAdd(function, to, operands, sum) => {
                self.wide(function, lanes, to, operands, Some(sum));
            }
            Operation::CompareWords(number, how, to, operands) => {
                self.compare_words(number, how, lanes, to, operands);
            }
            Operation::CompareLongs(is_signed, how, to, operands) => {
                self.compare_longs(is_signed, how, lanes, to, operands);
            }
            Operation::SelectLong(to, operands, predicate) => {
                self.select_long(lanes, to, operands, predicate);
            }
            Operation::Convert(convert, to, from) => self.convert(convert, lanes, to, from),
            Operation::Pack(to, halves) => {
                self.words2(lanes, to, halves, |low, high| low & 0xffff | high << 16);
            }
            Operation::Unpack([low, high], from) => {
                // The word may be one of the halves' registers only if these were of 32 bits.
                self.words2(lanes, low, [from; 2], |word, _| word & 0xffff);
                self.words2(lanes, high, [from; 2], |word, _| word >> 16);
            }
            Operation::Load(ref access, place) => self.load(access, place, lanes, memory, stats)?,
            Operation::Store(ref access, place) => {
                self.store(access, place, lanes, memory, stats)?;
            }
            Operation::ShuffleXor(to, from, bits) => self.shuffle(lanes, to, from, bits)?,
            Operation::Barrier => return Ok(Flow::Wait),
            Operation::Branch(target) => return Ok(Flow::Jump(target)),
            Operation::Return => return Ok(Flow::End),
        }
        Ok(Flow::Next)
    }

    /// Both banks, to be read and written in any order.
    pub(super) fn cells(&mut self) -> (&[Cell<u32>], &[Cell<u64>]) {
        let words = Cell::from_mut(&mut self.words[..]).as_slice_of_cells();
        (words, Cell::from_mut(&mut self.longs[..]).as_slice_of_cells())
    }

    fn words2(&mut self, lanes: &[u32], to: Word, [a, b]: [Word; 2], f: impl Fn(u32, u32) -> u32) {
        let threads = self.threads;
        let (words, _) = self.cells();
        let [to, a, b] = [to, a, b].map(|word| row(words, word.0, threads));
        each(lanes, threads, |t| to[t].set(f(a[t].get(), b[t].get())));
    }

    fn floats2(
        &mut self,
        lanes: &[u32],
        to: Word,
        operands: [Word; 2],
        f: impl Fn(f32, f32) -> f32,
    ) {
        self.words2(lanes, to, operands, |a, b| f(f32::from_bits(a), f32::from_bits(b)).to_bits());
    }

    fn words3(
        &mut self,
        lanes: &[u32],
        to: Word,
        [a, b, c]: [Word; 3],
        f: impl Fn(u32, u32, u32) -> u32,
    ) {
        let threads = self.threads;
        let (words, _) = self.cells();
        let [to, a, b, c] = [to, a, b, c].map(|word| row(words, word.0, threads));
        each(lanes, threads, |t| to[t].set(f(a[t].get(), b[t].get(), c[t].get())));
    }

    fn longs2(&mut self, lanes: &[u32], to: Long, [a, b]: [Long; 2], f: impl Fn(u64, u64) -> u64) {
        let threads = self.threads;
        let (_, longs) = self.cells();
        let [to, a, b] = [to, a, b].map(|long| row(longs, long.0, threads));
        each(lanes, threads, |t| to[t].set(f(a[t].get(), b[t].get())));
    }

    fn word1(&mut self, function: Word1, lanes: &[u32], to: Word, a: Word) {
        let ab = [a, a];
        match function {
            Word1::Move => self.words2(lanes, to, ab, |a, _| a),
            Word1::Not => self.words2(lanes, to, ab, |a, _| !a),
            Word1::NotPredicate => self.words2(lanes, to, ab, |a, _| a ^ 1),
            Word1::Negate => self.words2(lanes, to, ab, |a, _| a.wrapping_neg()),
            Word1::Absolute => {
                self.words2(lanes, to, ab, |a, _| a.cast_signed().wrapping_abs().cast_unsigned())
            }
            Word1::NegateF32 => self.words2(lanes, to, ab, |a, _| a ^ 1 << 31),
            Word1::AbsoluteF32 => self.words2(lanes, to, ab, |a, _| a & (u32::MAX >> 1)),
            Word1::SquareRootF32 => self.floats2(lanes, to, ab, |a, _| a.sqrt()),
            Word1::ReciprocalF32 => self.floats2(lanes, to, ab, |a, _| 1.0 / a),
            Word1::Exp2F32 => self.floats2(lanes, to, ab, |a, _| scalar::flushed(a).exp2()),
            Word1::Log2F32 => self.floats2(lanes, to, ab, |a, _| scalar::flushed(a).log2()),
        }
    }

    fn word2(&mut self, function: Word2, lanes: &[u32], to: Word, operands: [Word; 2]) {
        let signed = |f: fn(i32, i32) -> i32| {
            move |a: u32, b: u32| f(a.cast_signed(), b.cast_signed()).cast_unsigned()
        };
        match function {
            Word2::Add => self.words2(lanes, to, operands, u32::wrapping_add),
            Word2::Subtract => self.words2(lanes, to, operands, u32::wrapping_sub),
            Word2::Multiply => self.words2(lanes, to, operands, u32::wrapping_mul),
            // What a division by zero gives is not said.
            Word2::DivideU32 => {
                self.words2(lanes, to, operands, |a, b| a.checked_div(b).unwrap_or(u32::MAX))
            }
            Word2::RemainderU32 => {
                self.words2(lanes, to, operands, |a, b| a.checked_rem(b).unwrap_or(a))
            }
            Word2::DivideS32 => {
                self.words2(lanes, to, operands, signed(|a, b| a.checked_div(b).unwrap_or(-1)))
            }
            Word2::RemainderS32 => {
                self.words2(lanes, to, operands, signed(|a, b| a.checked_rem(b).unwrap_or(a)))
            }
            Word2::MinU32 => self.words2(lanes, to, operands, Ord::min),
            Word2::MaxU32 => self.words2(lanes, to, operands, Ord::max),
            Word2::MinS32 => self.words2(lanes, to, operands, signed(Ord::min)),
            Word2::MaxS32 => self.words2(lanes, to, operands, signed(Ord::max)),
            Word2::And => self.words2(lanes, to, operands, |a, b| a & b),
            Word2::Or => self.words2(lanes, to, operands, |a, b| a | b),
            Word2::Xor => self.words2(lanes, to, operands, |a, b| a ^ b),
            Word2::ShiftLeft => self.words2(lanes, to, operands, shift_left),
            Word2::ShiftRightU32 => self.words2(lanes, to, operands, shift_right_u32),
            Word2::ShiftRightS32 => self.words2(lanes, to, operands, shift_right_s32),
            Word2::MultiplyU16 => {
                self.words2(lanes, to, operands, |a, b| (a & 0xffff).wrapping_mul(b & 0xffff))
            }
            Word2::MultiplyS16 => self.words2(
                lanes,
                to,
                operands,
                signed(|a, b| (a << 16 >> 16).wrapping_mul(b << 16 >> 16)),
            ),
            Word2::AddF32 => self.floats2(lanes, to, operands, |a, b| a + b),
            Word2::SubtractF32 => self.floats2(lanes, to, operands, |a, b| a - b),
            Word2::MultiplyF32 => self.floats2(lanes, to, operands, |a, b| a * b),
            Word2::DivideF32 => self.floats2(lanes, to, operands, |a, b| a / b),
            Word2::MinF32 => self.floats2(lanes, to, operands, f32::min),
            Word2::MaxF32 => self.floats2(lanes, to, operands, f32::max),
        }
    }

    fn word3(&mut self, function: Word3, lanes: &[u32], to: Word, operands: [Word; 3]) {
        match function {
            Word3::MultiplyAdd => {
                self.words3(lanes, to, operands, |a, b, c| a.wrapping_mul(b).wrapping_add(c))
            }
            Word3::FusedF32 => self.words3(lanes, to, operands, |a, b, c| {
                f32::from_bits(a).mul_add(f32::from_bits(b), f32::from_bits(c)).to_bits()
            }),
            Word3::FusedF16x2 => self.words3(lanes, to, operands, fused_f16x2),
            Word3::ExtractU32 => self.words3(lanes, to, operands, extract_u32),
            Word3::ExtractS32 => self.words3(lanes, to, operands, extract_s32),
            Word3::Permute => self.words3(lanes, to, operands, permute),
            Word3::Select => {
                self.words3(
                    lanes,
                    to,
                    operands,
                    |a, b, predicate| if predicate != 0 { a } else { b },
                );
            }
            Word3::Dot(lhs, rhs) => {
                self.words3(lanes, to, operands, |a, b, sum| dot([a, b], [lhs, rhs], sum));
            }
        }
    }

    fn long2(&mut self, function: Long2, lanes: &[u32], to: Long, operands: [Long; 2]) {
        let signed = |f: fn(i64, i64) -> i64| {
            move |a: u64, b: u64| f(a.cast_signed(), b.cast_signed()).cast_unsigned()
        };
        match function {
            Long2::Add => self.longs2(lanes, to, operands, u64::wrapping_add),
            Long2::Subtract => self.longs2(lanes, to, operands, u64::wrapping_sub),
            Long2::Multiply => self.longs2(lanes, to, operands, u64::wrapping_mul),
            Long2::And => self.longs2(lanes, to, operands, |a, b| a & b),
            Long2::Or => self.longs2(lanes, to, operands, |a, b| a | b),
            Long2::Xor => self.longs2(lanes, to, operands, |a, b| a ^ b),
            Long2::MinU64 => self.longs2(lanes, to, operands, Ord::min),
            Long2::MaxU64 => self.longs2(lanes, to, operands, Ord::max),
            Long2::MinS64 => self.longs2(lanes, to, operands, signed(Ord::min)),
            Long2::MaxS64 => self.longs2(lanes, to, operands, signed(Ord::max)),
        }
    }

    fn shift(&mut self, function: Shift, lanes: &[u32], to: Long, a: Long, by: Word) {
        let threads = self.threads;
        let (words, longs) = self.cells();
        let [to, a] = [to, a].map(|long| row(longs, long.0, threads));
        let by = row(words, by.0, threads);
        each(lanes, threads, |t| {
            let (a, by) = (a[t].get(), by[t].get());
            to[t].set(match function {
                Shift::Left => a.checked_shl(by).unwrap_or(0),
                Shift::RightU64 => a.checked_shr(by).unwrap_or(0),
                Shift::RightS64 => (a.cast_signed() >> by.min(63)).cast_unsigned(),
            });
        });
    }

    fn wide(
        &mut self,
        function: Wide,
        lanes: &[u32],
        to: Long,
        [a, b]: [Word; 2],
        sum: Option<Long>,
    ) {
        let threads = self.threads;
        let (words, longs) = self.cells();
        let [a, b] = [a, b].map(|word| row(words, word.0, threads));
        let to = row(longs, to.0, threads);
        let sum = sum.map(|sum| row(longs, sum.0, threads));
        each(lanes, threads, |t| {
            let (a, b) = (a[t].get(), b[t].get());
            let product = match function {
                Wide::U32 => u64::from(a) * u64::from(b),
                Wide::S32 => {
                    (i64::from(a.cast_signed()) * i64::from(b.cast_signed())).cast_unsigned()
                }
            };
            to[t].set(product.wrapping_add(sum.map_or(0, |sum| sum[t].get())));
        });
    }

    fn compare_words(
        &mut self,
        number: Number,
        how: Compare,
        lanes: &[u32],
        to: Word,
        operands: [Word; 2],
    ) {
        let bit = |order| u32::from(compare(how, order));
        match number {
            Number::U16 | Number::U32 => {
                self.words2(lanes, to, operands, |a, b| bit(Some(a.cmp(&b))));
            }
            Number::S32 => self.words2(lanes, to, operands, |a, b| {
                bit(Some(a.cast_signed().cmp(&b.cast_signed())))
            }),
            Number::S16 => self.words2(lanes, to, operands, |a, b| {
                bit(Some((a << 16).cast_signed().cmp(&(b << 16).cast_signed())))
            }),
            Number::F32 => self.words2(lanes, to, operands, |a, b| {
                bit(f32::from_bits(a).partial_cmp(&f32::from_bits(b)))
            }),
        }
    }

    fn compare_longs(
        &mut self,
        is_signed: bool,
        how: Compare,
        lanes: &[u32],
        to: Word,
        [a, b]: [Long; 2],
    ) {
        let threads = self.threads;
        let (words, longs) = self.cells();
        let [a, b] = [a, b].map(|long| row(longs, long.0, threads));
        let to = row(words, to.0, threads);
        each(lanes, threads, |t| {
            let (a, b) = (a[t].get(), b[t].get());
            let signed = || a.cast_signed().cmp(&b.cast_signed());
            let order = if is_signed { signed() } else { a.cmp(&b) };
            to[t].set(u32::from(compare(how, Some(order))));
        });
    }

    fn select_long(&mut self, lanes: &[u32], to: Long, [a, b]: [Long; 2], predicate: Word) {
        let threads = self.threads;
        let (words, longs) = self.cells();
        let [to, a, b] = [to, a, b].map(|long| row(longs, long.0, threads));
        let predicate = row(words, predicate.0, threads);
        each(lanes, threads, |t| {
            to[t].set(if predicate[t].get() != 0 { a[t].get() } else { b[t].get() });
        });
    }

    fn shuffle(&mut self, lanes: &[u32], to: Word, from: Word, bits: Word) -> Result<(), Fault> {
        let threads = self.threads;
        let values = self.words[from.0 * threads..][..threads].to_vec();
        for warp in lanes.chunk_by(|a, b| *a as usize / WARP == *b as usize / WARP) {
            // Lanes are in order, so that a warp is whole if there are as many of them.
            let number = warp[0] as usize / WARP;
            if warp.len() != WARP {
                return Err(Fault::Shuffle(number));
            }
            for &lane in warp {
                let lane = lane as usize;
                let other = lane ^ (self.words[bits.0 * threads + lane] as usize % WARP);
                self.words[to.0 * threads + lane] = values[other];
            }
        }
        Ok(())
    }
}

/// The values of a register for all threads.
pub(super) fn row<T>(cells: &[Cell<T>], register: usize, threads: usize) -> &[Cell<T>] {
    &cells[register * threads..][..threads]
}

/// Calls `f` for these threads; all, in order, where there are so many.
pub(super) fn each(lanes: &[u32], threads: usize, mut f: impl FnMut(usize)) {
    if lanes.len() == threads {
        (0..threads).for_each(f);
    } else {
        lanes.iter().for_each(|&lane| f(lane as usize));
    }
}
