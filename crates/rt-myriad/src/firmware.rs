//! The vendor's firmware: found where the user or the vendor's installers put it, and recognized. It is never shipped with this
//! crate: its licence does not allow that.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::protocol::Dialect;

/// Environment variable with the path of a firmware file.
const VARIABLE: &str = "EMBDL_MYRIAD_FIRMWARE";
/// No firmware is larger.
const MAX_BYTES: u64 = 64 << 20;
/// What the vendor calls the files for this chip, the newest line first.
const NAMES: [&str; 2] = ["usb-ma2450.mvcmd", "MvNCAPI-ma2450.mvcmd"];
/// Folders of NCSDK.
const FOLDERS: [&str; 2] = ["/usr/local/lib/mvnc", "/usr/lib/mvnc"];
/// Where `OpenVINO` is installed, and where in it the firmware is.
const OPENVINO: &str = "/opt/intel";
const IN_OPENVINO: &str = "deployment_tools/inference_engine/lib/intel64";
/// Variable in which `OpenVINO`'s own scripts say where it is.
const OPENVINO_VARIABLE: &str = "INTEL_OPENVINO_DIR";

/// Files that are known by their bytes.
const KNOWN: [Known; 3] = [
    Known {
        label: "NCSDK 1.12",
        len: 865_724,
        sha256: "bd0ef7bed794379d4c77f4d2434dfa0da905acdd2abbf8df64a23d69cc5a49c0",
        line: Line::Ncsdk1,
    },
    Known {
        label: "NCSDK 2.05",
        len: 1_349_876,
        sha256: "18fe737aff6f976ed497032cf50754b06d87d0f5964d3b1383f290d1fcbd885b",
        line: Line::Ncsdk2,
    },
    Known {
        label: "NCSDK 2.05 for the NCS 2",
        len: 1_446_880,
        sha256: "059c17ff714e2f21fd8034301aa4884431467cefa57efad50ba0052234526b10",
        line: Line::OtherChip,
    },
];

struct Known {
    label: &'static str,
    len: usize,
    sha256: &'static str,
    line: Line,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Ncsdk1,
    Ncsdk2,
    OtherChip,
}

/// A firmware image and what it speaks.
#[derive(Clone)]
pub struct Firmware {
    bytes: Arc<Vec<u8>>,
    dialect: Dialect,
}

impl core::fmt::Debug for Firmware {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let len = self.bytes.len();
        f.debug_struct("Firmware").field("len", &len).field("dialect", &self.dialect).finish()
    }
}

/// Why there is no firmware to send.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirmwareError {
    /// None was found.
    #[error(
        "no firmware for the MA2450: set {VARIABLE} to the file usb-ma2450.mvcmd of OpenVINO 2020.1 to 2020.3 (the vendor offered \
         it as firmware_usb-ma2450_1119.zip at download.01.org/opencv/2020/openvinotoolkit/2020.3/inference_engine; its licence \
         forbids us to ship it). Looked in {searched:?}"
    )]
    NotFound {
        /// Folders that were looked in.
        searched: Vec<PathBuf>,
    },
    /// It cannot be read.
    #[error("the firmware {} cannot be read: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// It is no firmware.
    #[error("{} has {len} bytes: no firmware", .path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        len: u64,
    },
    /// It is for the chip of the NCS 2.
    #[error("{} is firmware for another chip ({label})", .path.display())]
    OtherChip {
        /// The file.
        path: PathBuf,
        /// What it is.
        label: &'static str,
    },
    /// It speaks what this crate does not.
    #[error(
        "{} is firmware of {label}, whose protocol is not spoken here: take usb-ma2450.mvcmd of OpenVINO 2020.1 to 2020.3",
        .path.display()
    )]
    OtherLine {
        /// The file.
        path: PathBuf,
        /// What it is.
        label: &'static str,
    },
    /// Neither name nor bytes say what it speaks: a wrong guess would hang the stick.
    #[error("{} is no firmware that is known (sha256 {sha256}): is it of OpenVINO 2020.1 to 2020.3, as usb-ma2450.mvcmd?", .path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Its checksum.
        sha256: String,
    },
}

impl Firmware {
    /// The firmware in a file that is given, or that the environment names, or where the vendor's installers put it.
    ///
    /// # Errors
    /// If there is none, or it is not one that this crate can talk to.
    pub fn find(path: Option<&Path>) -> Result<Self, FirmwareError> {
        let named = path.map(Path::to_owned).or_else(|| {
            std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from)
        });
        if let Some(path) = named {
            return Self::read(&path);
        }
        let searched = folders();
        for name in NAMES {
            for folder in &searched {
                let path = folder.join(name);
                if path.is_file() {
                    return Self::read(&path);
                }
            }
        }
        Err(FirmwareError::NotFound { searched })
    }

    /// The firmware in a file.
    ///
    /// # Errors
    /// If it cannot be read, or is not one that this crate can talk to.
    pub fn read(path: &Path) -> Result<Self, FirmwareError> {
        let failed =
            |source| FirmwareError::Read { path: path.to_owned(), source: Arc::new(source) };
        let len = std::fs::metadata(path).map_err(failed)?.len();
        if len == 0 || len > MAX_BYTES {
            return Err(FirmwareError::Length { path: path.to_owned(), len });
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let sha256 = hex(&Sha256::digest(&bytes));
        let known = KNOWN.iter().find(|known| known.len == bytes.len() && known.sha256 == sha256);
        let path = || path.to_owned();
        match known.map(|known| (known.line, known.label)) {
            Some((Line::OtherChip, label)) => {
                return Err(FirmwareError::OtherChip { path: path(), label });
            }
            Some((Line::Ncsdk1, label)) => {
                return Err(FirmwareError::OtherLine { path: path(), label });
            }
            Some((Line::Ncsdk2, _)) => return Ok(Self::of_bytes(bytes, Dialect::Ncsdk2)),
            None => {}
        }
        let name = path().file_name().map(|name| name.to_string_lossy().into_owned());
        match name.as_deref() {
            Some("usb-ma2450.mvcmd") => Ok(Self::of_bytes(bytes, Dialect::OpenVino2020)),
            Some("usb-ma2x8x.mvcmd" | "MvNCAPI-ma2480.mvcmd" | "MvNCAPI-ma2x8x.mvcmd") => {
                let label = "by its name for the NCS 2";
                Err(FirmwareError::OtherChip { path: path(), label })
            }
            _ => Err(FirmwareError::Unknown { path: path(), sha256 }),
        }
    }

    /// An image in memory, such as what an emulated stick takes for firmware.
    #[must_use]
    pub fn of_bytes(bytes: Vec<u8>, dialect: Dialect) -> Self {
        Self { bytes: Arc::new(bytes), dialect }
    }

    /// What emulated sticks take: no firmware at all, but bytes to be sent.
    #[must_use]
    pub fn emulated() -> Self {
        Self::of_bytes(b"embdl emulated firmware".repeat(64), Dialect::OpenVino2020)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it speaks.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }
}

fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(PathBuf::from).collect();
    if let Some(folder) = std::env::var_os(OPENVINO_VARIABLE) {
        folders.push(Path::new(&folder).join(IN_OPENVINO));
    }
    let installed = std::fs::read_dir(OPENVINO).into_iter().flatten().flatten();
    let is_openvino = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("openvino"))
    };
    let mut installed: Vec<PathBuf> =
        installed.map(|entry| entry.path()).filter(is_openvino).collect();
    installed.sort();
    folders.extend(installed.iter().map(|folder| folder.join(IN_OPENVINO)));
    folders
}

fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("strings take everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_is_told_by_name_and_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            Firmware::read(&path)
        };
        let firmware = file("usb-ma2450.mvcmd", b"some image").unwrap();
        assert_eq!(firmware.dialect(), Dialect::OpenVino2020);
        assert_eq!(firmware.bytes(), b"some image");
        assert!(matches!(file("usb-ma2x8x.mvcmd", b"x"), Err(FirmwareError::OtherChip { .. })));
        let unknown = file("firmware.bin", b"abc").unwrap_err().to_string();
        assert!(unknown.contains("ba7816bf8f01cfea"), "{unknown}");
        assert!(matches!(file("empty", b""), Err(FirmwareError::Length { len: 0, .. })));
        let absent = Firmware::find(Some(&folder.path().join("absent")));
        assert!(matches!(absent, Err(FirmwareError::Read { .. })));
    }
}
