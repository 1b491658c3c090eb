//! The list of a version's files with their checksums, as `sha256sum` writes and checks it.

use core::fmt::Write;

use sha2::{Digest, Sha256};

/// The name of the list beside the files.
pub const SUMS: &str = "SHA256SUMS";

/// A list of files with their checksums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Names and checksums in hexadecimal digits.
    files: Vec<(String, String)>,
}

/// Why a list cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SumsError {
    /// A line is not as `sha256sum` writes it.
    #[error("line {line} of {SUMS} is no checksum with a name")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// It lists nothing, as a list whose content was lost does.
    #[error("{SUMS} lists no file")]
    Empty,
    /// A name leads elsewhere, is the list's own, or stands there twice.
    #[error("{SUMS} lists {name:?}, which is no file of a version")]
    Name {
        /// As it stands there.
        name: String,
    },
}

impl Sums {
    /// Reads a list.
    ///
    /// # Errors
    /// If there is no line, a line is no checksum, or a name is not that of a file beside the list.
    pub fn read(text: &[u8]) -> Result<Self, SumsError> {
        let text = String::from_utf8_lossy(text);
        let mut sums = Self::default();
        for (index, line) in text.lines().enumerate() {
            let bad = || SumsError::Line { line: index + 1 };
            let (sum, name) = line.split_once("  ").ok_or_else(bad)?;
            if sum.len() != 64 || !sum.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(bad());
            }
            let is_elsewhere = name.is_empty() || name.starts_with('.') || name.contains('/');
            if is_elsewhere || name == SUMS || sums.files().any(|known| known == name) {
                return Err(SumsError::Name { name: name.into() });
            }
            sums.files.push((name.into(), sum.to_ascii_lowercase()));
        }
        if sums.files.is_empty() { Err(SumsError::Empty) } else { Ok(sums) }
    }

    /// The names, in the order of the list.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(name, _)| name.as_str())
    }

    /// Names and checksums.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(name, sum)| (name.as_str(), sum.as_str()))
    }
}

/// The SHA-256 of some bytes, in hexadecimal digits.
#[must_use]
pub fn checksum(bytes: &[u8]) -> String {
    hexadecimal(Sha256::new_with_prefix(bytes))
}

/// A checksum in hexadecimal digits.
pub(crate) fn hexadecimal(hash: Sha256) -> String {
    let mut text = String::new();
    for byte in hash.finalize() {
        write!(text, "{byte:02x}").expect("a string takes all that is written");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_sha256sum_writes() {
        let sum = "E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let sums = Sums::read(format!("{sum}  model.embdl\n{sum}  a b\n").as_bytes()).unwrap();
        assert_eq!(sums.files().collect::<Vec<_>>(), ["model.embdl", "a b"]);
        assert_eq!(sums.iter().next(), Some(("model.embdl", checksum(b"").as_str())));
    }

    #[test]
    fn hostile_lists_are_errors() {
        let sum = "0".repeat(64);
        let read = |text: String| Sums::read(text.as_bytes()).unwrap_err();
        assert_eq!(read(format!("{sum}  a\n{sum} b\n")), SumsError::Line { line: 2 });
        assert_eq!(read(String::new()), SumsError::Empty);
        assert_eq!(read(format!("{}  a", "x".repeat(64))), SumsError::Line { line: 1 });
        for name in ["", "..", ".hidden", "../a", "b/c", SUMS] {
            assert_eq!(read(format!("{sum}  {name}")), SumsError::Name { name: name.into() });
        }
        assert_eq!(read(format!("{sum}  a\n{sum}  a")), SumsError::Name { name: "a".into() });
    }
}
