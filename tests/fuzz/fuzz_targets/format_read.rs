//! The file reader: an error, or a model of which the input is the only file, whose tensors decode or say why not.
#![no_main]

use embdl_core::format::{HEADER_LEN, Limits, WriteOptions, layout, read, verify, write_with};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // The input is flags and body; length and checksum are made right, or nothing would get past them.
    let Some((&flags, body)) = input.split_first() else { return };
    let mut file = b"EMBD\x01\x00".to_vec();
    file.extend([flags, 0]);
    file.extend(u32::try_from(HEADER_LEN + body.len()).expect("inputs are small").to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file);
    hasher.update(body);
    file.extend(hasher.finalize().to_le_bytes());
    file.extend(body);

    let limits = Limits { max_elements_per_tensor: 1 << 16, ..Limits::tiny() };
    let Ok(model) = read(&file, &limits) else { return };
    let _ = verify(&model);
    let layout = layout(&file, &limits).expect("it was read");
    assert_eq!(layout.total_bytes(), file.len());
    let again = write_with(&model, WriteOptions { names: flags & 1 == 1 }).expect("it was read");
    assert_eq!(again, file);
});
