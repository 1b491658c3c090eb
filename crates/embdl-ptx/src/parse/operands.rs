//! Operands of instructions.

use super::{Body, Class};
use crate::error::{ParseError, Problem};
use crate::instruction::{Access, Long, Place, Register, Space, Word};
use crate::scan::{Token, Tokens};

impl<'t> Body<'t> {
    /// A register of up to 32 bits that is written.
    pub(super) fn word(&mut self, token: Token<'t>, class: Class) -> Result<Word, ParseError> {
        match self.register(token)? {
            (found, at) if found == class => Ok(Word(at)),
            _ => Err(token.error(Problem::Name(token.text.to_owned()))),
        }
    }

    /// A register of 64 bits that is written.
    pub(super) fn long(&mut self, token: Token<'t>) -> Result<Long, ParseError> {
        match self.register(token)? {
            (Class::Long, at) => Ok(Long(at)),
            _ => Err(token.error(Problem::Name(token.text.to_owned()))),
        }
    }

    /// A register or an immediate of up to 32 bits that is read.
    pub(super) fn word_in(
        &mut self,
        tokens: &mut Tokens<'t>,
        class: Class,
    ) -> Result<Word, ParseError> {
        let token = tokens.next()?;
        if self.is_register(token) {
            return self.word(token, class);
        }
        let bits = if class == Class::Half { 16 } else { 32 };
        #[expect(clippy::cast_possible_truncation, reason = "the upper bits are masked off")]
        let value = self.immediate(token, tokens)? as u32;
        Ok(self.constant_word(if bits == 16 { value & 0xffff } else { value }))
    }

    /// A register or an immediate of 64 bits that is read.
    pub(super) fn long_in(&mut self, tokens: &mut Tokens<'t>) -> Result<Long, ParseError> {
        let token = tokens.next()?;
        if self.is_register(token) {
            return self.long(token);
        }
        let value = self.immediate(token, tokens)?;
        Ok(self.constant_long(value))
    }

    fn is_register(&self, token: Token<'_>) -> bool {
        token.text.starts_with('%') || self.locals.contains_key(token.text)
    }

    /// A number, perhaps behind a sign, the bits of a float, or where a variable begins.
    fn immediate(&self, token: Token<'t>, tokens: &mut Tokens<'t>) -> Result<u64, ParseError> {
        if token.text == "-" {
            return Ok(tokens.next()?.number()?.wrapping_neg());
        }
        let float = token.text.strip_prefix("0f").or_else(|| token.text.strip_prefix("0F"));
        if let Some(digits) = float {
            let bits = u32::from_str_radix(digits, 16);
            return bits.map(u64::from).map_err(|_| token.unexpected("the bits of a float"));
        }
        match self.variable(token.text) {
            Some(offset) => Ok(offset),
            None => token.number(),
        }
    }

    pub(super) fn comma(tokens: &mut Tokens<'_>) -> Result<(), ParseError> {
        tokens.need(",", "another operand")
    }

    /// `d, a, …`, all of up to 32 bits.
    pub(super) fn words<const N: usize>(
        &mut self,
        tokens: &mut Tokens<'t>,
        class: Class,
    ) -> Result<(Word, [Word; N]), ParseError> {
        let to = self.word(tokens.next()?, class)?;
        Ok((to, self.words_in(tokens, [class; N])?))
    }

    /// `, a, …`, of these classes.
    pub(super) fn words_in<const N: usize>(
        &mut self,
        tokens: &mut Tokens<'t>,
        classes: [Class; N],
    ) -> Result<[Word; N], ParseError> {
        let mut operands = [Word(0); N];
        for (operand, class) in operands.iter_mut().zip(classes) {
            Self::comma(tokens)?;
            *operand = self.word_in(tokens, class)?;
        }
        Ok(operands)
    }

    /// `, a, …`, all of 64 bits.
    pub(super) fn longs_in<const N: usize>(
        &mut self,
        tokens: &mut Tokens<'t>,
    ) -> Result<[Long; N], ParseError> {
        let mut operands = [Long(0); N];
        for operand in &mut operands {
            Self::comma(tokens)?;
            *operand = self.long_in(tokens)?;
        }
        Ok(operands)
    }

    /// `[register]`, `[register+4]`, `[variable+4]`.
    pub(super) fn place(&mut self, tokens: &mut Tokens<'t>) -> Result<Place, ParseError> {
        tokens.need("[", "an address")?;
        let token = tokens.next()?;
        let base = match self.variable(token.text) {
            Some(offset) => Register::Long(self.constant_long(offset)),
            None => self.any(token)?,
        };
        let mut offset = 0;
        if tokens.take("+") {
            let is_negative = tokens.take("-");
            let token = tokens.next()?;
            let distance = i64::try_from(token.number()?);
            offset = distance.map_err(|_| token.unexpected("a distance"))?;
            offset = if is_negative { -offset } else { offset };
        }
        tokens.need("]", "the end of an address")?;
        Ok(Place { base, offset })
    }

    /// A register, or up to four in braces.
    pub(super) fn vector(
        &mut self,
        tokens: &mut Tokens<'t>,
        count: usize,
    ) -> Result<[Register; 4], ParseError> {
        let mut registers = [Register::Long(Long(0)); 4];
        if count > 1 {
            tokens.need("{", "a vector")?;
        }
        for (at, register) in registers.iter_mut().take(count).enumerate() {
            if at > 0 {
                Self::comma(tokens)?;
            }
            let token = tokens.next()?;
            *register = if self.is_register(token) {
                self.any(token)?
            } else {
                // Only stores get here with an immediate; loads are refused when their results are looked at.
                #[expect(clippy::cast_possible_truncation, reason = "of a word, as stored")]
                let value = self.immediate(token, tokens)? as u32;
                Register::Word(self.constant_word(value), 0)
            };
        }
        if count > 1 {
            tokens.need("}", "the end of a vector")?;
        }
        Ok(registers)
    }

    /// What the parts of a load or store behind the first say: space, length of vectors, type.
    pub(super) fn access(name: Token<'_>) -> Result<Access, ParseError> {
        let unknown = || name.error(Problem::Instruction(name.text.to_owned()));
        let mut parts = name.text.split('.').skip(1).peekable();
        let mut space = match parts.next() {
            Some("param") => Space::Params,
            Some("shared") => Space::Shared,
            Some("global") => Space::Global,
            _ => return Err(unknown()),
        };
        if parts.next_if_eq(&"nc").is_some() {
            if space != Space::Global {
                return Err(unknown());
            }
            space = Space::Fixed;
        }
        let count = match parts.peek() {
            Some(&"v2") => 2,
            Some(&"v4") => 4,
            _ => 1,
        };
        if count > 1 {
            parts.next();
        }
        let (bytes, is_signed) = match parts.next() {
            Some("u8" | "b8") => (1, false),
            Some("s8") => (1, true),
            Some("u16" | "b16") => (2, false),
            Some("s16") => (2, true),
            Some("u32" | "b32" | "f32") => (4, false),
            // Counts where the register has 64 bits.
            Some("s32") => (4, true),
            Some("u64" | "s64" | "b64") => (8, false),
            _ => return Err(unknown()),
        };
        if parts.next().is_some() || bytes * count > 16 {
            return Err(unknown());
        }
        let registers = [Register::Long(Long(0)); 4];
        Ok(Access { space, bytes, is_signed, registers, count })
    }
}
