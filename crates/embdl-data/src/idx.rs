//! The idx file format (unsigned bytes), plain or gzipped; what is read is not trusted.
//!
//! Layout: two zero bytes, the element type (8 = unsigned byte), the rank, then one big-endian u32 per dimension, then
//! the elements in row-major order and nothing after them. Source: the description at the foot of Y. LeCun's MNIST page.
//!
//! ```
//! use embdl_data::idx::{Idx, Limits};
//!
//! let labels = Idx::new(vec![3], vec![7, 0, 9])?;
//! let bytes = labels.to_bytes();
//! assert_eq!(bytes, [0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9]);
//! assert_eq!(Idx::decode(&bytes, &Limits::default())?, labels);
//! assert_eq!(Idx::decode(&labels.to_gzip(), &Limits::default())?, labels);
//! # Ok::<(), embdl_data::idx::IdxError>(())
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::{GzEncoder, MultiGzDecoder};
use sha2::{Digest, Sha256};

use crate::atomic;

/// Element type byte of unsigned bytes, the only one read here.
const UNSIGNED_BYTE: u8 = 8;
const MAX_RANK: usize = 4;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Deflate cannot do better than 1032:1, so a larger claim is a lie. Source: zlib's technical details page.
const DEFLATE_MAX_RATIO: u64 = 1032;

/// An array of unsigned bytes with 1 to 4 dimensions, the outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    shape: Vec<usize>,
    data: Vec<u8>,
}

/// How much a file may claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest size of the elements, unpacked. Unit: bytes.
    pub max_data_bytes: u64,
}

impl Limits {
    /// Largest file that is read. Gzip lengthens what it cannot pack by 5 bytes in 16 KiB, and adds a frame.
    pub fn most_file_bytes(&self) -> u64 {
        self.max_data_bytes.saturating_add(self.max_data_bytes / 1024).saturating_add(4096)
    }
}

impl Default for Limits {
    /// 256 MiB: five times the largest file of the catalog.
    fn default() -> Self {
        Self { max_data_bytes: 256 << 20 }
    }
}

/// Why bytes are not an idx array.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdxError {
    /// The first two bytes are neither an idx header nor gzip.
    #[error("not an idx file: starts with {found:02x?}")]
    BadMagic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// The elements are not unsigned bytes.
    #[error("idx element type 0x{found:02x} is not read, only 0x08 (unsigned byte)")]
    ElementType {
        /// The type byte.
        found: u8,
    },
    /// The rank is not 1 to 4.
    #[error("idx rank {found} is not in 1..=4")]
    Rank {
        /// The rank.
        found: usize,
    },
    /// A dimension is larger than the format's 32 bits can say.
    #[error("idx dimension {found} does not fit 32 bits")]
    Dimension {
        /// The dimension.
        found: usize,
    },
    /// The header claims more than the limit allows.
    #[error("idx shape {shape:?} claims more than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The claimed shape.
        shape: Vec<usize>,
        /// The limit.
        limit_bytes: u64,
    },
    /// The file as it lies there is larger than the limit allows.
    #[error("idx file is larger than {limit_bytes} bytes")]
    FileTooLarge {
        /// [`Limits::most_file_bytes`].
        limit_bytes: u64,
    },
    /// The file ends before its header or its elements do.
    #[error("idx file is truncated: {expected_bytes} bytes claimed, {found_bytes} found")]
    Truncated {
        /// Bytes that the header (or the format) claims.
        expected_bytes: u64,
        /// Bytes that are there; for a gzip file that cannot hold the claim, the most that it can unpack to.
        found_bytes: u64,
    },
    /// Bytes follow the elements.
    #[error("idx file has bytes after its {expected_bytes} claimed bytes")]
    TrailingBytes {
        /// Bytes that the header claims, itself included.
        expected_bytes: u64,
    },
    /// The gzip stream is damaged.
    #[error("gzip: {source}")]
    Gzip {
        /// What the decoder said.
        source: io::Error,
    },
    /// Shape and data given to [`Idx::new`] do not fit each other.
    #[error("shape {shape:?} does not describe {data_len} bytes")]
    ShapeMismatch {
        /// The shape.
        shape: Vec<usize>,
        /// Length of the data.
        data_len: usize,
    },
}

/// Why a file could not be read as an idx array.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}", path = .path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub reason: ReadErrorReason,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadErrorReason {
    /// The system does not open or read it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its content is not an idx array.
    #[error(transparent)]
    Idx(#[from] IdxError),
}

impl Idx {
    /// An array of this shape.
    ///
    /// # Errors
    /// [`IdxError::Rank`], [`IdxError::Dimension`], or [`IdxError::ShapeMismatch`] when the dimensions' product is not
    /// `data.len()`.
    pub fn new(shape: Vec<usize>, data: Vec<u8>) -> Result<Self, IdxError> {
        if !(1..=MAX_RANK).contains(&shape.len()) {
            return Err(IdxError::Rank { found: shape.len() });
        }
        if let Some(&found) = shape.iter().find(|&&dim| u32::try_from(dim).is_err()) {
            return Err(IdxError::Dimension { found });
        }
        if product(&shape) != Some(data.len() as u64) {
            return Err(IdxError::ShapeMismatch { shape, data_len: data.len() });
        }
        Ok(Self { shape, data })
    }

    /// Dimensions, the outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements, row-major.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Elements, row-major, without a copy.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    /// Reads a file, plain or gzipped (told apart by content, not by name).
    ///
    /// Memory stays within the limit plus the file's own size, which may itself not exceed the limit.
    ///
    /// # Errors
    /// [`ReadError`], which names the file.
    pub fn read(path: &Path, limits: &Limits) -> Result<Self, ReadError> {
        Self::read_unnamed(path, limits)
            .map_err(|reason| ReadError { path: path.to_owned(), reason })
    }

    fn read_unnamed(path: &Path, limits: &Limits) -> Result<Self, ReadErrorReason> {
        let most = limits.most_file_bytes();
        let mut bytes = Vec::new();
        File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(IdxError::FileTooLarge { limit_bytes: most }.into());
        }
        Ok(Self::decode(&bytes, limits)?)
    }

    /// Reads the bytes of a file, plain or gzipped. A gzip stream is unpacked no further than one byte past the claim.
    ///
    /// # Errors
    /// All that is not exactly one idx array of unsigned bytes within `limits`.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, IdxError> {
        if bytes.starts_with(&GZIP_MAGIC) {
            let most = (bytes.len() as u64).saturating_mul(DEFLATE_MAX_RATIO);
            decode_stream(MultiGzDecoder::new(bytes), most, limits)
        } else {
            decode_stream(bytes, bytes.len() as u64, limits)
        }
    }

    /// The bytes of a plain file. [`Idx::decode`] accepts no other bytes for this array, so they are its identity.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.extend_from_slice(&self.data);
        bytes
    }

    /// The bytes of a gzipped file.
    #[expect(clippy::missing_panics_doc, reason = "reading from memory does not fail")]
    pub fn to_gzip(&self) -> Vec<u8> {
        let mut packed = Vec::new();
        let header = self.header();
        GzEncoder::new(header.as_slice().chain(self.data.as_slice()), Compression::default())
            .read_to_end(&mut packed)
            .expect("reading from memory does not fail");
        packed
    }

    /// Writes a file that appears whole or not at all; gzipped where the name ends in `.gz`.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let gzipped = path.extension().is_some_and(|extension| extension == "gz");
        let bytes = if gzipped { self.to_gzip() } else { self.to_bytes() };
        atomic::write(path, &bytes)
    }

    /// SHA-256 of [`Idx::to_bytes`]: the same however the file was packed.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::new().chain_update(self.header()).chain_update(&self.data).finalize().into()
    }

    /// [`Idx::sha256`] in hexadecimal, lower case.
    pub fn sha256_hex(&self) -> String {
        self.sha256().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn header(&self) -> Vec<u8> {
        let rank = u8::try_from(self.shape.len()).expect("rank is at most 4");
        let mut bytes = vec![0, 0, UNSIGNED_BYTE, rank];
        for &dim in &self.shape {
            let dim = u32::try_from(dim).expect("checked by `new` and by the format");
            bytes.extend_from_slice(&dim.to_be_bytes());
        }
        bytes
    }
}

/// `most_bytes` is what the stream can yield at the very most; a claim beyond it is refused before it is allocated.
fn decode_stream(mut stream: impl Read, most_bytes: u64, limits: &Limits) -> Result<Idx, IdxError> {
    let mut magic = [0; 4];
    read_exactly(&mut stream, &mut magic, 0)?;
    let [zero0, zero1, element_type, rank] = magic;
    if [zero0, zero1] != [0, 0] {
        return Err(IdxError::BadMagic { found: magic });
    }
    if element_type != UNSIGNED_BYTE {
        return Err(IdxError::ElementType { found: element_type });
    }
    let rank = usize::from(rank);
    if !(1..=MAX_RANK).contains(&rank) {
        return Err(IdxError::Rank { found: rank });
    }
    let mut dims = [0; 4 * MAX_RANK];
    let dims = &mut dims[..4 * rank];
    read_exactly(&mut stream, dims, 4)?;
    let shape: Vec<usize> = dims
        .chunks_exact(4)
        .map(|dim| u32::from_be_bytes([dim[0], dim[1], dim[2], dim[3]]) as usize)
        .collect();

    let header_bytes = 4 + 4 * rank as u64;
    let claimed = product(&shape).filter(|&claimed| claimed <= limits.max_data_bytes);
    let Some(claimed) = claimed else {
        return Err(IdxError::TooLarge { shape, limit_bytes: limits.max_data_bytes });
    };
    let expected_bytes = header_bytes + claimed;
    if expected_bytes > most_bytes {
        return Err(IdxError::Truncated { expected_bytes, found_bytes: most_bytes });
    }
    let capacity = usize::try_from(claimed)
        .map_err(|_| IdxError::TooLarge { shape: shape.clone(), limit_bytes: usize::MAX as u64 })?;
    let mut data = vec![0; capacity];
    read_exactly(&mut stream, &mut data, header_bytes)?;
    // One byte more must be the end; for gzip this also checks the stream's own checksum.
    match read_some(&mut stream, &mut [0])? {
        0 => Ok(Idx { shape, data }),
        _ => Err(IdxError::TrailingBytes { expected_bytes }),
    }
}

/// Fills `buffer`; `before_bytes` have been read already.
fn read_exactly(
    stream: &mut impl Read,
    buffer: &mut [u8],
    before_bytes: u64,
) -> Result<(), IdxError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read_some(stream, &mut buffer[filled..])? {
            0 => {
                return Err(IdxError::Truncated {
                    expected_bytes: before_bytes + buffer.len() as u64,
                    found_bytes: before_bytes + filled as u64,
                });
            }
            n => filled += n,
        }
    }
    Ok(())
}

fn read_some(stream: &mut impl Read, buffer: &mut [u8]) -> Result<usize, IdxError> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Only gzip fails here: a slice in memory cannot.
            result => return result.map_err(|source| IdxError::Gzip { source }),
        }
    }
}

fn product(shape: &[usize]) -> Option<u64> {
    shape.iter().try_fold(1_u64, |size, &dim| size.checked_mul(dim as u64))
}
