//! Instructions: from names and operands to what the interpreter runs.

use super::{Body, Class};
use crate::error::{ParseError, Problem};
use crate::instruction::{
    Compare, Convert, Kind, Long1, Long2, Number, Operation, Register, Shift, Wide, Word1, Word2,
    Word3,
};
use crate::scan::{Token, Tokens};

impl<'t> Body<'t> {
    /// The instruction called `name`, number `at`, up to its semicolon.
    pub(super) fn operation(
        &mut self,
        name: Token<'t>,
        tokens: &mut Tokens<'t>,
        at: usize,
    ) -> Result<Operation, ParseError> {
        let operation = self.by_name(name, tokens, at)?;
        tokens.need(";", "the end of an instruction")?;
        Ok(operation)
    }

    fn by_name(
        &mut self,
        name: Token<'t>,
        tokens: &mut Tokens<'t>,
        at: usize,
    ) -> Result<Operation, ParseError> {
        if let Some((function, class)) = word1(name.text) {
            if name.text == "mov.b32" {
                return self.move_bits(tokens);
            }
            let (to, [a]) = self.words(tokens, class)?;
            return Ok(Operation::Word1(function, to, a));
        }
        if let Some((function, class)) = word2(name.text) {
            let (to, operands) = self.words(tokens, class)?;
            return Ok(Operation::Word2(function, to, operands));
        }
        if let Some(function) = word3(name.text) {
            let (to, operands) = self.words(tokens, Class::Word)?;
            return Ok(Operation::Word3(function, to, operands));
        }
        if let Some(function) = long2(name.text) {
            let to = self.long(tokens.next()?)?;
            return Ok(Operation::Long2(function, to, self.longs_in(tokens)?));
        }
        match name.text {
            "mul.wide.u16" | "mul.wide.s16" => {
                let to = self.word(tokens.next()?, Class::Word)?;
                let operands = self.words_in(tokens, [Class::Half; 2])?;
                let is_signed = name.text == "mul.wide.s16";
                let function = if is_signed { Word2::MultiplyS16 } else { Word2::MultiplyU16 };
                Ok(Operation::Word2(function, to, operands))
            }
            "mov.u64" | "mov.b64" | "cvta.to.global.u64" | "cvta.global.u64" => {
                self.long1(Long1::Move, tokens)
            }
            "not.b64" => self.long1(Long1::Not, tokens),
            "neg.s64" => self.long1(Long1::Negate, tokens),
            "shl.b64" => self.shift(Shift::Left, tokens),
            "shr.u64" => self.shift(Shift::RightU64, tokens),
            "shr.s64" => self.shift(Shift::RightS64, tokens),
            "mul.wide.u32" | "mul.wide.s32" => {
                let to = self.long(tokens.next()?)?;
                let operands = self.words_in(tokens, [Class::Word; 2])?;
                Ok(Operation::Wide(wide(name.text), to, operands))
            }
            "mad.wide.u32" | "mad.wide.s32" => {
                let to = self.long(tokens.next()?)?;
                let operands = self.words_in(tokens, [Class::Word; 2])?;
                let [sum] = self.longs_in(tokens)?;
                Ok(Operation::WideAdd(wide(name.text), to, operands, sum))
            }
            "selp.b64" | "selp.u64" | "selp.s64" => {
                let to = self.long(tokens.next()?)?;
                let operands = self.longs_in(tokens)?;
                let [predicate] = self.words_in(tokens, [Class::Predicate])?;
                Ok(Operation::SelectLong(to, operands, predicate))
            }
            "selp.b32" | "selp.u32" | "selp.s32" | "selp.f32" => self.select(Class::Word, tokens),
            "selp.b16" | "selp.u16" | "selp.s16" => self.select(Class::Half, tokens),
            "shfl.sync.bfly.b32" => self.shuffle(name, tokens),
            "bar.sync" => {
                tokens.need("0", "barrier 0")?;
                Ok(Operation::Barrier)
            }
            "bra" | "bra.uni" => {
                self.branches.push((at, tokens.next()?));
                Ok(Operation::Branch(usize::MAX))
            }
            "ret" => Ok(Operation::Return),
            text if text.starts_with("setp.") => self.compare(name, tokens),
            text if text.starts_with("cvt.") => self.convert(name, tokens),
            text if text.starts_with("ld.") => self.load(name, tokens),
            text if text.starts_with("st.") => self.store(name, tokens),
            text => Err(name.error(Problem::Instruction(text.to_owned()))),
        }
    }

    fn long1(&mut self, function: Long1, tokens: &mut Tokens<'t>) -> Result<Operation, ParseError> {
        let to = self.long(tokens.next()?)?;
        let [a] = self.longs_in(tokens)?;
        Ok(Operation::Long1(function, to, a))
    }

    fn shift(&mut self, function: Shift, tokens: &mut Tokens<'t>) -> Result<Operation, ParseError> {
        let to = self.long(tokens.next()?)?;
        let [a] = self.longs_in(tokens)?;
        let [by] = self.words_in(tokens, [Class::Word])?;
        Ok(Operation::Shift(function, to, a, by))
    }

    fn select(&mut self, class: Class, tokens: &mut Tokens<'t>) -> Result<Operation, ParseError> {
        let to = self.word(tokens.next()?, class)?;
        let operands = self.words_in(tokens, [class, class, Class::Predicate])?;
        Ok(Operation::Word3(Word3::Select, to, operands))
    }

    /// `mov.b32`, also between a word and two halves.
    fn move_bits(&mut self, tokens: &mut Tokens<'t>) -> Result<Operation, ParseError> {
        if tokens.take("{") {
            let low = self.word(tokens.next()?, Class::Half)?;
            Self::comma(tokens)?;
            let high = self.word(tokens.next()?, Class::Half)?;
            tokens.need("}", "the end of two halves")?;
            let [from] = self.words_in(tokens, [Class::Word])?;
            return Ok(Operation::Unpack([low, high], from));
        }
        let to = self.word(tokens.next()?, Class::Word)?;
        Self::comma(tokens)?;
        if tokens.take("{") {
            let low = self.word_in(tokens, Class::Half)?;
            Self::comma(tokens)?;
            let high = self.word_in(tokens, Class::Half)?;
            tokens.need("}", "the end of two halves")?;
            return Ok(Operation::Pack(to, [low, high]));
        }
        Ok(Operation::Word1(Word1::Move, to, self.word_in(tokens, Class::Word)?))
    }

    /// `shfl.sync.bfly.b32 d, a, bits, 31, -1`: all threads of whole warps.
    fn shuffle(
        &mut self,
        name: Token<'t>,
        tokens: &mut Tokens<'t>,
    ) -> Result<Operation, ParseError> {
        let to = self.word(tokens.next()?, Class::Word)?;
        let [from, bits, segments, members] = self.words_in(tokens, [Class::Word; 4])?;
        let is = |word, value| self.immediate_words.get(&value) == Some(&word);
        if !is(segments, 31) || !is(members, u32::MAX) {
            return Err(name.error(Problem::Instruction("a shuffle of a part of a warp".into())));
        }
        Ok(Operation::ShuffleXor(to, from, bits))
    }

    /// `setp.lt.u32 p, a, b`.
    fn compare(
        &mut self,
        name: Token<'t>,
        tokens: &mut Tokens<'t>,
    ) -> Result<Operation, ParseError> {
        let unknown = || name.error(Problem::Instruction(name.text.to_owned()));
        let mut parts = name.text.split('.').skip(1);
        let (compare, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let compare = match compare {
            "eq" => Compare::Equal,
            "ne" => Compare::NotEqual,
            "lt" | "lo" => Compare::Less,
            "le" | "ls" => Compare::LessOrEqual,
            "gt" | "hi" => Compare::Greater,
            "ge" | "hs" => Compare::GreaterOrEqual,
            "equ" => Compare::EqualUnordered,
            "neu" => Compare::NotEqualUnordered,
            "ltu" => Compare::LessUnordered,
            "leu" => Compare::LessOrEqualUnordered,
            "gtu" => Compare::GreaterUnordered,
            "geu" => Compare::GreaterOrEqualUnordered,
            _ => return Err(unknown()),
        };
        let (number, class) = match kind {
            "u16" | "b16" => (Number::U16, Class::Half),
            "s16" => (Number::S16, Class::Half),
            "u32" | "b32" => (Number::U32, Class::Word),
            "s32" => (Number::S32, Class::Word),
            "f32" => (Number::F32, Class::Word),
            "u64" | "b64" | "s64" => {
                let to = self.word(tokens.next()?, Class::Predicate)?;
                let operands = self.longs_in(tokens)?;
                return Ok(Operation::CompareLongs(kind == "s64", compare, to, operands));
            }
            _ => return Err(unknown()),
        };
        if parts.next().is_some() {
            return Err(unknown());
        }
        let to = self.word(tokens.next()?, Class::Predicate)?;
        Ok(Operation::CompareWords(number, compare, to, self.words_in(tokens, [class; 2])?))
    }

    /// `cvt.rn.f32.u32 d, a`.
    fn convert(
        &mut self,
        name: Token<'t>,
        tokens: &mut Tokens<'t>,
    ) -> Result<Operation, ParseError> {
        let unknown = || name.error(Problem::Instruction(name.text.to_owned()));
        let mut parts: Vec<&str> = name.text.split('.').skip(1).collect();
        let rounding = if parts.len() == 3 { Some(parts.remove(0)) } else { None };
        let [to, from] = parts[..] else { return Err(unknown()) };
        let (to, from) = (kind(to).ok_or_else(unknown)?, kind(from).ok_or_else(unknown)?);
        let is_float = |kind| matches!(kind, Kind::F16 | Kind::F32);
        // The only roundings that are known: to the nearest, where a float may become less precise, and towards zero.
        let expected = match (is_float(from), is_float(to)) {
            (false, false) => None,
            (true, false) => Some("rzi"),
            _ if (from, to) == (Kind::F16, Kind::F32) => None,
            _ => Some("rn"),
        };
        if rounding != expected {
            return Err(unknown());
        }
        let result = self.any(tokens.next()?)?;
        Self::comma(tokens)?;
        let operand = self.any(tokens.next()?)?;
        if bits(result) < width(to) || bits(operand) < width(from) {
            return Err(unknown());
        }
        Ok(Operation::Convert(Convert { from, to }, result, operand))
    }

    fn load(&mut self, name: Token<'t>, tokens: &mut Tokens<'t>) -> Result<Operation, ParseError> {
        let mut access = Self::access(name)?;
        access.registers = self.vector(tokens, access.count)?;
        Self::comma(tokens)?;
        let place = self.place(tokens)?;
        let fits = |register: &Register| usize::from(bits(*register)) >= access.bytes * 8;
        if !access.registers[..access.count].iter().all(fits) {
            return Err(name.error(Problem::Instruction(name.text.to_owned())));
        }
        Ok(Operation::Load(access, place))
    }

    fn store(&mut self, name: Token<'t>, tokens: &mut Tokens<'t>) -> Result<Operation, ParseError> {
        let mut access = Self::access(name)?;
        let place = self.place(tokens)?;
        Self::comma(tokens)?;
        access.registers = self.vector(tokens, access.count)?;
        let fits = |register: &Register| {
            bits(*register) == 0 || usize::from(bits(*register)) >= access.bytes * 8
        };
        if !access.registers[..access.count].iter().all(fits) {
            return Err(name.error(Problem::Instruction(name.text.to_owned())));
        }
        Ok(Operation::Store(access, place))
    }
}

fn wide(name: &str) -> Wide {
    if name.ends_with("s32") { Wide::S32 } else { Wide::U32 }
}

/// Bits of a register; 0 of an immediate, which has as many as are asked for.
const fn bits(register: Register) -> u8 {
    match register {
        Register::Word(_, bits) => bits,
        Register::Long(_) => 64,
    }
}

/// Bits of a register that holds such a value: bytes stand in registers of 16.
const fn width(kind: Kind) -> u8 {
    match kind {
        Kind::Unsigned(bits) | Kind::Signed(bits) => {
            if bits < 16 {
                16
            } else {
                bits
            }
        }
        Kind::F16 => 16,
        Kind::F32 => 32,
    }
}

fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "u8" => Kind::Unsigned(8),
        "u16" => Kind::Unsigned(16),
        "u32" => Kind::Unsigned(32),
        "u64" => Kind::Unsigned(64),
        "s8" => Kind::Signed(8),
        "s16" => Kind::Signed(16),
        "s32" => Kind::Signed(32),
        "s64" => Kind::Signed(64),
        "f16" => Kind::F16,
        "f32" => Kind::F32,
        _ => return None,
    })
}

fn word1(name: &str) -> Option<(Word1, Class)> {
    Some(match name {
        "mov.u32" | "mov.s32" | "mov.f32" | "mov.b32" => (Word1::Move, Class::Word),
        "mov.u16" | "mov.b16" => (Word1::Move, Class::Half),
        "mov.pred" => (Word1::Move, Class::Predicate),
        "not.b32" => (Word1::Not, Class::Word),
        "not.pred" => (Word1::NotPredicate, Class::Predicate),
        "neg.s32" => (Word1::Negate, Class::Word),
        "abs.s32" => (Word1::Absolute, Class::Word),
        "neg.f32" => (Word1::NegateF32, Class::Word),
        "abs.f32" => (Word1::AbsoluteF32, Class::Word),
        "sqrt.rn.f32" => (Word1::SquareRootF32, Class::Word),
        "rcp.rn.f32" => (Word1::ReciprocalF32, Class::Word),
        "ex2.approx.ftz.f32" => (Word1::Exp2F32, Class::Word),
        "lg2.approx.ftz.f32" => (Word1::Log2F32, Class::Word),
        _ => return None,
    })
}

fn word2(name: &str) -> Option<(Word2, Class)> {
    let function = match name {
        "and.b16" => return Some((Word2::And, Class::Half)),
        "or.b16" => return Some((Word2::Or, Class::Half)),
        "xor.b16" => return Some((Word2::Xor, Class::Half)),
        "and.pred" => return Some((Word2::And, Class::Predicate)),
        "or.pred" => return Some((Word2::Or, Class::Predicate)),
        "xor.pred" => return Some((Word2::Xor, Class::Predicate)),
        "add.s32" | "add.u32" => Word2::Add,
        "sub.s32" | "sub.u32" => Word2::Subtract,
        "mul.lo.s32" | "mul.lo.u32" => Word2::Multiply,
        "div.u32" => Word2::DivideU32,
        "div.s32" => Word2::DivideS32,
        "rem.u32" => Word2::RemainderU32,
        "rem.s32" => Word2::RemainderS32,
        "min.u32" => Word2::MinU32,
        "max.u32" => Word2::MaxU32,
        "min.s32" => Word2::MinS32,
        "max.s32" => Word2::MaxS32,
        "and.b32" => Word2::And,
        "or.b32" => Word2::Or,
        "xor.b32" => Word2::Xor,
        "shl.b32" => Word2::ShiftLeft,
        "shr.u32" | "shr.b32" => Word2::ShiftRightU32,
        "shr.s32" => Word2::ShiftRightS32,
        "add.f32" | "add.rn.f32" => Word2::AddF32,
        "sub.f32" | "sub.rn.f32" => Word2::SubtractF32,
        "mul.f32" | "mul.rn.f32" => Word2::MultiplyF32,
        "div.rn.f32" => Word2::DivideF32,
        "min.f32" => Word2::MinF32,
        "max.f32" => Word2::MaxF32,
        _ => return None,
    };
    Some((function, Class::Word))
}

fn word3(name: &str) -> Option<Word3> {
    Some(match name {
        "mad.lo.s32" | "mad.lo.u32" => Word3::MultiplyAdd,
        "fma.rn.f32" => Word3::FusedF32,
        "fma.rn.f16x2" => Word3::FusedF16x2,
        "bfe.u32" => Word3::ExtractU32,
        "bfe.s32" => Word3::ExtractS32,
        "prmt.b32" => Word3::Permute,
        "dp4a.u32.s32" => Word3::Dot(false, true),
        "dp4a.s32.s32" => Word3::Dot(true, true),
        "dp4a.u32.u32" => Word3::Dot(false, false),
        "dp4a.s32.u32" => Word3::Dot(true, false),
        _ => return None,
    })
}

fn long2(name: &str) -> Option<Long2> {
    Some(match name {
        "add.s64" | "add.u64" => Long2::Add,
        "sub.s64" | "sub.u64" => Long2::Subtract,
        "mul.lo.s64" | "mul.lo.u64" => Long2::Multiply,
        "and.b64" => Long2::And,
        "or.b64" => Long2::Or,
        "xor.b64" => Long2::Xor,
        "min.s64" => Long2::MinS64,
        "max.s64" => Long2::MaxS64,
        "min.u64" => Long2::MinU64,
        "max.u64" => Long2::MaxU64,
        _ => return None,
    })
}
