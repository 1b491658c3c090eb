//! Splits the text of a program into words and marks.

use crate::error::{ParseError, Problem};

/// A word (a name, number or instruction with its dots), or one mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    pub(crate) text: &'t str,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// Tokens that are left.
#[derive(Debug)]
pub(crate) struct Tokens<'t> {
    text: &'t str,
    line: usize,
    next: Option<Token<'t>>,
}

impl<'t> Tokens<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let mut tokens = Self { text, line: 1, next: None };
        tokens.next = tokens.scan();
        tokens
    }

    /// The next token, which stays.
    pub(crate) const fn peek(&self) -> Option<Token<'t>> {
        self.next
    }

    /// The next token.
    pub(crate) fn next(&mut self) -> Result<Token<'t>, ParseError> {
        let token = self.next.ok_or(ParseError { line: self.line, problem: Problem::End })?;
        self.next = self.scan();
        Ok(token)
    }

    /// Takes the next token if it is this one.
    pub(crate) fn take(&mut self, text: &str) -> bool {
        let is_it = self.next.is_some_and(|token| token.text == text);
        if is_it {
            self.next = self.scan();
        }
        is_it
    }

    /// Takes this token. Errors: another stands there.
    pub(crate) fn need(&mut self, text: &str, expected: &'static str) -> Result<(), ParseError> {
        let token = self.next()?;
        if token.text == text { Ok(()) } else { Err(token.unexpected(expected)) }
    }

    fn scan(&mut self) -> Option<Token<'t>> {
        loop {
            let trimmed = self.text.trim_start();
            let skipped = &self.text[..self.text.len() - trimmed.len()];
            self.line += skipped.bytes().filter(|&byte| byte == b'\n').count();
            self.text = trimmed;
            let Some(comment) = trimmed.strip_prefix("//") else { break };
            self.text = &comment[comment.find('\n').unwrap_or(comment.len())..];
        }
        let first = self.text.chars().next()?;
        let len = match self.text.find(|c: char| !is_word(c)) {
            Some(0) => first.len_utf8(),
            Some(len) => len,
            None => self.text.len(),
        };
        let (text, rest) = self.text.split_at(len);
        self.text = rest;
        Some(Token { text, line: self.line })
    }
}

impl Token<'_> {
    /// The error that something else belongs here.
    pub(crate) fn unexpected(self, expected: &'static str) -> ParseError {
        self.error(Problem::Unexpected { found: self.text.to_owned(), expected })
    }

    pub(crate) const fn error(self, problem: Problem) -> ParseError {
        ParseError { line: self.line, problem }
    }

    /// A whole number, in tens or `0x` and sixteens.
    pub(crate) fn number(self) -> Result<u64, ParseError> {
        let parsed = match self.text.strip_prefix("0x").or_else(|| self.text.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => self.text.parse(),
        };
        parsed.map_err(|_| self.unexpected("a number"))
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.$%".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_marks_and_lines() {
        let mut tokens = Tokens::new("// a\nld.v2 {%r1,%r2}, [%rd1+0x10]; // b\n$L:é");
        let mut all = Vec::new();
        while let Ok(token) = tokens.next() {
            all.push((token.text, token.line));
        }
        let texts: Vec<&str> = all.iter().map(|token| token.0).collect();
        let expected = "ld.v2 { %r1 , %r2 } , [ %rd1 + 0x10 ] ; $L : é";
        assert_eq!(texts.join(" "), expected);
        assert_eq!((all[0].1, all[14].1), (2, 3));
        assert_eq!(tokens.next().unwrap_err(), ParseError { line: 3, problem: Problem::End });
    }
}
