//! Writes the archive that Linux unpacks as its first file system. Source: Linux, Documentation/driver-api/early-userspace,
//! buffer format "newc".

/// An archive under construction; everything in it belongs to root.
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

/// The type bits of a mode.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

impl Archive {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), entries: 0 }
    }

    /// Adds a folder; its parents have to be there already.
    pub(super) fn folder(&mut self, path: &str, permissions: u32) {
        self.entry(path, FOLDER | permissions, &[]);
    }

    /// Adds a file; its folder has to be there already.
    pub(super) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.entry(path, FILE | permissions, content);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let name_len = path.len() + 1;
        let [inode, len] = [self.entries as usize, content.len()];
        let links = if mode & FOLDER == FOLDER { 2 } else { 1 };
        // inode, mode, user, group, links, time, length, four numbers of devices, length of the name, checksum
        let numbers = [inode, mode as usize, 0, 0, links, 0, len, 0, 0, 0, 0, name_len, 0];
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Names and contents end at a multiple of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_headers_names_contents_and_an_end() {
        let mut archive = Archive::new();
        archive.folder("bin", 0o755);
        archive.file("bin/a", 0o644, b"hello");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let headers: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(headers, [0, 116, 240]);
        // Header and name are 110 + 6 bytes, so the content of `bin/a` begins at 116 + 116.
        assert_eq!(&text[14..22], "000041ed");
        assert_eq!(&text[232..240], "hello\0\0\0");
        assert!(text[240..].contains("TRAILER!!!"));
    }
}
