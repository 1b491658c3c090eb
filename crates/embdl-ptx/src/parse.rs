//! Reads a program: directives here, instructions in `operation`.

mod operands;
mod operation;

use std::collections::BTreeMap;

use crate::error::{ParseError, Problem};
use crate::instruction::{Instruction, Long, Operation, Register, Word};
use crate::program::{Entry, Program, Registers, Special};
use crate::scan::{Token, Tokens};

/// Registers of a thread that are allowed, of either bank.
const MAX_REGISTERS: u64 = 1 << 16;
/// Bytes of parameters, and of shared memory.
const MAX_BYTES: u64 = 1 << 16;

/// Reads all of a text.
pub(crate) fn program(text: &str) -> Result<Program, ParseError> {
    let mut tokens = Tokens::new(text);
    let mut program = Program { version: (0, 0), target: String::new(), entries: Vec::new() };
    let mut shared = Shared::default();
    while tokens.peek().is_some() {
        let token = tokens.next()?;
        match token.text {
            ".version" => program.version = version(tokens.next()?)?,
            ".target" => tokens.next()?.text.clone_into(&mut program.target),
            ".address_size" => tokens.need("64", "64, the size of addresses")?,
            ".visible" | ".weak" => {}
            ".entry" => {
                let entry = entry(&mut tokens, &shared)?;
                if program.entry(&entry.name).is_some() {
                    return Err(token.error(Problem::Twice(entry.name)));
                }
                program.entries.push(entry);
            }
            ".shared" => shared.declare(&mut tokens)?,
            _ => return Err(token.unexpected("a directive")),
        }
    }
    Ok(program)
}

fn version(token: Token<'_>) -> Result<(u32, u32), ParseError> {
    let parts = token
        .text
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    parts.ok_or_else(|| token.unexpected("a version"))
}

/// Variables in shared memory, by their names.
#[derive(Clone, Debug, Default)]
struct Shared {
    offsets: BTreeMap<String, u64>,
    bytes: u64,
}

impl Shared {
    /// `.align 16 .b8 name[bytes];`, behind `.shared`.
    fn declare(&mut self, tokens: &mut Tokens<'_>) -> Result<(), ParseError> {
        let (name, bytes, align) = variable(tokens)?;
        tokens.need(";", "the end of a declaration")?;
        let offset = self.bytes.next_multiple_of(align);
        self.bytes = at_most("bytes of shared memory", name, offset + bytes, MAX_BYTES)?;
        match self.offsets.insert(name.text.to_owned(), offset) {
            None => Ok(()),
            Some(_) => Err(name.error(Problem::Twice(name.text.to_owned()))),
        }
    }
}

/// `.align N .b8 name[bytes]` or `.u32 name`: the name, the bytes and their alignment.
fn variable<'t>(tokens: &mut Tokens<'t>) -> Result<(Token<'t>, u64, u64), ParseError> {
    let mut align = None;
    if tokens.take(".align") {
        let token = tokens.next()?;
        let asked = token.number()?;
        if !asked.is_power_of_two() || asked > 4096 {
            return Err(token.unexpected("an alignment"));
        }
        align = Some(asked);
    }
    let kind = tokens.next()?;
    let size: u64 = match kind.text {
        ".b8" | ".u8" => 1,
        ".b16" | ".u16" => 2,
        ".b32" | ".u32" | ".s32" | ".f32" => 4,
        ".b64" | ".u64" | ".s64" => 8,
        _ => return Err(kind.unexpected("a type")),
    };
    let name = tokens.next()?;
    let mut count = 1;
    if tokens.take("[") {
        count = at_most("elements", name, tokens.next()?.number()?, MAX_BYTES)?;
        tokens.need("]", "the end of a length")?;
    }
    Ok((name, size * count, align.unwrap_or(size)))
}

fn at_most(what: &'static str, at: Token<'_>, found: u64, allowed: u64) -> Result<u64, ParseError> {
    if found <= allowed {
        Ok(found)
    } else {
        Err(at.error(Problem::TooMany { what, found, allowed }))
    }
}

/// A kernel, behind `.entry`.
fn entry(tokens: &mut Tokens<'_>, shared: &Shared) -> Result<Entry, ParseError> {
    let name = tokens.next()?;
    let mut body = Body { shared: shared.clone(), ..Body::default() };
    let params_bytes = body.params(tokens)?;
    let mut max_threads = None;
    loop {
        let token = tokens.next()?;
        match token.text {
            ".maxntid" => {
                let mut threads = tokens.next()?.number()?;
                while tokens.take(",") {
                    threads = threads.saturating_mul(tokens.next()?.number()?);
                }
                max_threads = Some(threads);
            }
            ".minnctapersm" => drop(tokens.next()?.number()?),
            "{" => break,
            _ => return Err(token.unexpected("the kernel's code")),
        }
    }
    let code = body.code(tokens)?;
    Ok(Entry {
        name: name.text.to_owned(),
        params_bytes,
        shared_bytes: usize::try_from(body.shared.bytes).unwrap_or(usize::MAX),
        max_threads,
        registers: body.registers,
        code,
    })
}

/// How wide a register is that a family declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Predicate,
    Half,
    Word,
    Long,
}

/// Registers of one name, such as `%r<7>`.
#[derive(Clone, Copy, Debug)]
struct Family {
    class: Class,
    first: usize,
    count: u64,
}

/// A kernel while it is read.
#[derive(Debug, Default)]
struct Body<'t> {
    shared: Shared,
    params: BTreeMap<&'t str, u64>,
    families: BTreeMap<&'t str, Family>,
    /// Single registers, of braces within the code.
    locals: BTreeMap<&'t str, (Class, usize)>,
    registers: Registers,
    /// Registers of immediates that are there already.
    immediate_words: BTreeMap<u32, Word>,
    immediate_longs: BTreeMap<u64, Long>,
    special: BTreeMap<&'t str, Word>,
    labels: BTreeMap<&'t str, usize>,
    /// Branches, by instruction, and where they lead.
    branches: Vec<(usize, Token<'t>)>,
}

impl<'t> Body<'t> {
    /// The declarations of parameters in parentheses. Gives their bytes.
    fn params(&mut self, tokens: &mut Tokens<'t>) -> Result<usize, ParseError> {
        let mut bytes = 0_u64;
        if tokens.take("(") {
            while !tokens.take(")") {
                tokens.need(".param", "a parameter")?;
                let (name, size, align) = variable(tokens)?;
                let offset = bytes.next_multiple_of(align);
                bytes = at_most("bytes of parameters", name, offset + size, MAX_BYTES)?;
                if self.params.insert(name.text, offset).is_some() {
                    return Err(name.error(Problem::Twice(name.text.to_owned())));
                }
                tokens.take(",");
            }
        }
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Everything up to the closing brace.
    fn code(&mut self, tokens: &mut Tokens<'t>) -> Result<Vec<Instruction>, ParseError> {
        let mut code: Vec<Instruction> = Vec::new();
        let mut is_nested = false;
        loop {
            let token = tokens.next()?;
            match token.text {
                "{" if !is_nested => is_nested = true,
                "}" if is_nested => {
                    is_nested = false;
                    self.locals.clear();
                }
                "}" => break,
                ".reg" => self.declare(tokens)?,
                ".shared" => self.shared.declare(tokens)?,
                // Hints for the compiler, such as `"nounroll"`.
                ".pragma" => while tokens.next()?.text != ";" {},
                _ if tokens.take(":") => {
                    if self.labels.insert(token.text, code.len()).is_some() {
                        return Err(token.error(Problem::Twice(token.text.to_owned())));
                    }
                }
                "@" => {
                    let value = !tokens.take("!");
                    let predicate = self.word(tokens.next()?, Class::Predicate)?;
                    let name = tokens.next()?;
                    let operation = self.operation(name, tokens, code.len())?;
                    let guard = Some((predicate, value));
                    code.push(Instruction { operation, guard, line: name.line });
                }
                _ => {
                    let operation = self.operation(token, tokens, code.len())?;
                    code.push(Instruction { operation, guard: None, line: token.line });
                }
            }
        }
        for (at, label) in core::mem::take(&mut self.branches) {
            let target = self.labels.get(label.text).copied();
            let target = target.ok_or_else(|| label.error(Problem::Name(label.text.to_owned())))?;
            if let Some(instruction) = code.get_mut(at) {
                instruction.operation = Operation::Branch(target);
            }
        }
        Ok(code)
    }

    /// `.b32 %r<7>;`, or of one register `.b32 name;`, behind `.reg`.
    fn declare(&mut self, tokens: &mut Tokens<'t>) -> Result<(), ParseError> {
        let kind = tokens.next()?;
        let class = match kind.text {
            ".pred" => Class::Predicate,
            ".b16" | ".u16" | ".s16" | ".f16" => Class::Half,
            ".b32" | ".u32" | ".s32" | ".f32" | ".f16x2" => Class::Word,
            ".b64" | ".u64" | ".s64" => Class::Long,
            _ => return Err(kind.unexpected("a type of registers")),
        };
        let name = tokens.next()?;
        let mut count = 1;
        let is_family = tokens.take("<");
        if is_family {
            count = tokens.next()?.number()?;
            tokens.need(">", "the end of a number of registers")?;
        }
        tokens.need(";", "the end of a declaration")?;
        let bank = match class {
            Class::Long => &mut self.registers.longs,
            _ => &mut self.registers.words,
        };
        let all =
            at_most("registers", name, *bank as u64 + count.min(u64::MAX / 2), MAX_REGISTERS)?;
        let family = Family { class, first: *bank, count };
        *bank = usize::try_from(all).unwrap_or(usize::MAX);
        let is_new = if is_family {
            self.families.insert(name.text, family).is_none()
        } else {
            self.locals.insert(name.text, (class, family.first)).is_none()
        };
        if is_new { Ok(()) } else { Err(name.error(Problem::Twice(name.text.to_owned()))) }
    }

    /// A register that was declared, or one that says where the thread is.
    fn register(&mut self, token: Token<'t>) -> Result<(Class, usize), ParseError> {
        let unknown = || token.error(Problem::Name(token.text.to_owned()));
        if let Some(&local) = self.locals.get(token.text) {
            return Ok(local);
        }
        if let Some(special) = special(token.text) {
            let new = Word(self.registers.words);
            let word = *self.special.entry(token.text).or_insert(new);
            if word == new {
                self.registers.words += 1;
                self.registers.special.push((word, special));
            }
            return Ok((Class::Word, word.0));
        }
        let digits = token.text.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (prefix, number) = token.text.split_at(token.text.len() - digits);
        let number: u64 = number.parse().map_err(|_| unknown())?;
        let family = self.families.get(prefix).ok_or_else(unknown)?;
        if number >= family.count {
            return Err(unknown());
        }
        // Fits, because the number of registers does.
        let number = usize::try_from(number).map_err(|_| unknown())?;
        Ok((family.class, family.first + number))
    }

    /// A register that holds an immediate of up to 32 bits.
    fn constant_word(&mut self, value: u32) -> Word {
        let registers = &mut self.registers;
        *self.immediate_words.entry(value).or_insert_with(|| {
            let word = Word(registers.words);
            registers.words += 1;
            registers.constant_words.push((word, value));
            word
        })
    }

    /// The same of 64 bits.
    fn constant_long(&mut self, value: u64) -> Long {
        let registers = &mut self.registers;
        *self.immediate_longs.entry(value).or_insert_with(|| {
            let long = Long(registers.longs);
            registers.longs += 1;
            registers.constant_longs.push((long, value));
            long
        })
    }

    /// Where a variable begins in its space.
    fn variable(&self, name: &str) -> Option<u64> {
        self.params.get(name).or_else(|| self.shared.offsets.get(name)).copied()
    }

    /// The register of a number, for conversions and accesses.
    fn any(&mut self, token: Token<'t>) -> Result<Register, ParseError> {
        Ok(match self.register(token)? {
            (Class::Long, at) => Register::Long(Long(at)),
            (Class::Half, at) => Register::Word(Word(at), 16),
            (Class::Word, at) => Register::Word(Word(at), 32),
            (Class::Predicate, _) => {
                return Err(token.error(Problem::Name(token.text.to_owned())));
            }
        })
    }
}

fn special(name: &str) -> Option<Special> {
    let (name, axis) = name.split_once('.')?;
    let axis = ["x", "y", "z"].iter().position(|&known| known == axis)?;
    match name {
        "%tid" => Some(Special::Thread(axis)),
        "%ntid" => Some(Special::Threads(axis)),
        "%ctaid" => Some(Special::Block(axis)),
        "%nctaid" => Some(Special::Blocks(axis)),
        _ => None,
    }
}
