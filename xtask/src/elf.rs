//! How much machine code an ELF file holds, read from its section table. Source: System V ABI, chapter 4.

/// The flag of a section that holds machine code.
const EXECUTABLE: u64 = 4;

/// Bytes of machine code in a 64-bit little-endian ELF file; `None` if it is not one, or is cut short.
pub(crate) fn text_len_bytes(file: &[u8]) -> Option<u64> {
    if file.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table = usize::try_from(number(file, 0x28, 8)?).ok()?;
    let entry_len = usize::try_from(number(file, 0x3a, 2)?).ok()?;
    let entries = usize::try_from(number(file, 0x3c, 2)?).ok()?;
    let mut total = 0_u64;
    for index in 0..entries {
        let entry = table.checked_add(index.checked_mul(entry_len)?)?;
        if number(file, entry.checked_add(0x08)?, 8)? & EXECUTABLE != 0 {
            total = total.checked_add(number(file, entry.checked_add(0x20)?, 8)?)?;
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

    #[test]
    fn sums_the_sections_with_code() {
        assert_eq!(text_len_bytes(&made_up()), Some(123));
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
