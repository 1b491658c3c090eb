//! How much machine code an ELF file holds, and what it needs of a system. Source: System V ABI, chapters 4 and 5.
use core::fmt;

/// The flag of a section that holds machine code.
const EXECUTABLE: u64 = 4;
/// The type of a section that holds names.
const NAMES: u64 = 3;
/// The type of a segment that names the loader of shared libraries.
const LOADER: u64 = 3;

/// What a program needs of the system that it runs on, beside the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: it is static.
    Nothing,
    /// glibc of this version.
    Glibc(u32, u32),
    /// A loader and libraries that are not glibc's, or this is no ELF file.
    Unknown,
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("static"),
            Self::Glibc(major, minor) => write!(f, "needs glibc {major}.{minor}"),
            Self::Unknown => f.write_str("needs unknown libraries"),
        }
    }
}

/// Where a little-endian ELF file has what is read here; numbers of the system are `word` bytes long.
struct Layout {
    word: usize,
    /// Tables of segments and of sections: where the file says their place, the length of an entry, and how many there are.
    segments: [usize; 3],
    sections: [usize; 3],
    /// Of an entry of the table of sections: flags, place and length.
    section: [usize; 3],
}

const BITS_32: Layout = Layout {
    word: 4,
    segments: [0x1c, 0x2a, 0x2c],
    sections: [0x20, 0x2e, 0x30],
    section: [0x08, 0x10, 0x14],
};

const BITS_64: Layout = Layout {
    word: 8,
    segments: [0x20, 0x36, 0x38],
    sections: [0x28, 0x3a, 0x3c],
    section: [0x08, 0x18, 0x20],
};

impl Layout {
    /// That of a file; `None` if it is no little-endian ELF file.
    fn of(file: &[u8]) -> Option<&'static Self> {
        match file.get(..6)? {
            b"\x7fELF\x01\x01" => Some(&BITS_32),
            b"\x7fELF\x02\x01" => Some(&BITS_64),
            _ => None,
        }
    }

    /// Where the entries of a table begin.
    fn entries(&self, file: &[u8], table: [usize; 3]) -> Option<Vec<usize>> {
        let [place, len, count] = table;
        let start = self.number(file, place)?;
        let len = usize::try_from(number(file, len, 2)?).ok()?;
        let entry = |index: u64| start.checked_add(usize::try_from(index).ok()?.checked_mul(len)?);
        (0..number(file, count, 2)?).map(entry).collect()
    }

    /// A number of the system's length.
    fn number(&self, file: &[u8], at: usize) -> Option<usize> {
        usize::try_from(number(file, at, self.word)?).ok()
    }
}

/// What a little-endian ELF file needs.
pub(crate) fn needs(file: &[u8]) -> Needs {
    match has_loader(file) {
        None => Needs::Unknown,
        Some(false) => Needs::Nothing,
        Some(true) => {
            glibc(file).map_or(Needs::Unknown, |(major, minor)| Needs::Glibc(major, minor))
        }
    }
}

fn has_loader(file: &[u8]) -> Option<bool> {
    let layout = Layout::of(file)?;
    for entry in layout.entries(file, layout.segments)? {
        if number(file, entry, 4)? == LOADER {
            return Some(true);
        }
    }
    Some(false)
}

/// The newest version of glibc that a symbol asks for: versions are names such as `GLIBC_2.17`.
fn glibc(file: &[u8]) -> Option<(u32, u32)> {
    let layout = Layout::of(file)?;
    let [_, place, len] = layout.section;
    let mut newest = None;
    for entry in layout.entries(file, layout.sections)? {
        if number(file, entry.checked_add(0x04)?, 4)? != NAMES {
            continue;
        }
        let start = layout.number(file, entry.checked_add(place)?)?;
        let len = layout.number(file, entry.checked_add(len)?)?;
        let names = file.get(start..start.checked_add(len)?)?;
        let versions = names.split(|&byte| byte == 0).filter_map(|name| {
            let version = core::str::from_utf8(name.strip_prefix(b"GLIBC_")?).ok()?;
            crate::workspace::version(version)
        });
        newest = newest.max(versions.max());
    }
    newest
}

/// Bytes of machine code in a little-endian ELF file; `None` if it is not one, or is cut short.
pub(crate) fn text_len_bytes(file: &[u8]) -> Option<u64> {
    let layout = Layout::of(file)?;
    let [flags, _, len] = layout.section;
    let mut total = 0_u64;
    for entry in layout.entries(file, layout.sections)? {
        if number(file, entry.checked_add(flags)?, layout.word)? & EXECUTABLE != 0 {
            total = total.checked_add(number(file, entry.checked_add(len)?, layout.word)?)?;
        }
    }
    Some(total)
}

/// The little-endian number of `len` bytes at `at`.
fn number(file: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = file.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_needs_a_glibc_or_nothing() {
        assert_eq!(needs(b"\x7fELF\x02\x01"), Needs::Unknown);
        assert_eq!(needs(&made_up()), Needs::Nothing);
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        if cfg!(all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static"))) {
            assert!(matches!(needs(&own), Needs::Glibc(2, 17..)), "{}", needs(&own));
        }
    }

    /// A file with one data section and two code sections, of 7, 100 and 23 bytes.
    fn made_up() -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01".to_vec();
        file.resize(0x40, 0);
        file[0x28] = 0x40;
        file[0x3a] = 0x40;
        file[0x3c] = 3;
        for (flags, len) in [(3, 7), (6, 100), (6, 23)] {
            let mut section = [0; 0x40];
            section[0x08] = flags;
            section[0x20] = len;
            file.extend(section);
        }
        file
    }

    /// The same in 32 bits, with a segment that names a loader, and a section of names.
    fn made_up_32() -> Vec<u8> {
        let mut file = b"\x7fELF\x01\x01".to_vec();
        file.resize(0x40, 0);
        for (at, value) in
            [(0x1c, 0x40), (0x2a, 0x20), (0x2c, 1), (0x20, 0x60), (0x2e, 0x28), (0x30, 3)]
        {
            file[at] = value;
        }
        let mut segment = [0; 0x20];
        segment[0] = 3;
        file.extend(segment);
        let names = 0x60 + 3 * 0x28;
        for (kind, flags, place, len) in [(3, 0, names, 22), (1, 6, 0, 100), (1, 3, 0, 7)] {
            let mut section = [0; 0x28];
            (section[0x04], section[0x08], section[0x10], section[0x14]) =
                (kind, flags, place, len);
            file.extend(section);
        }
        file.extend(b"\0GLIBC_2.4\0GLIBC_2.28\0");
        file
    }

    #[test]
    fn sums_the_sections_with_code() {
        assert_eq!(text_len_bytes(&made_up()), Some(123));
        assert_eq!(text_len_bytes(&made_up_32()), Some(100));
        assert_eq!(needs(&made_up_32()), Needs::Glibc(2, 28));
    }

    #[test]
    fn other_and_cut_files_have_no_answer() {
        let file = made_up();
        for len in 0..file.len() {
            // What follows the last size field of the last section is not read.
            if len < 0x40 * 3 + 0x28 {
                assert_eq!(text_len_bytes(&file[..len]), None, "cut to {len} bytes");
            }
        }
        assert_eq!(text_len_bytes(b"MZ this is another format of programs"), None);
    }

    #[test]
    fn this_test_program_holds_code() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        if cfg!(target_os = "linux") {
            assert!(text_len_bytes(&own).unwrap() > 10_000);
        }
    }
}
