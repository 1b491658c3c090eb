//! Compiled graphs of NCSDK 2: the format 2.3 that `mvNCCompile` writes, read from untrusted bytes. It is not written here.
//!
//! Source: seven compiled graphs that third parties published. Offsets of constants count from behind the head of the section of
//! constants: in two of those graphs, the weights of the frozen network are there.

mod lower;

use core::fmt;

use super::read::BlobError;
use super::stage::{Params, StageKind};
use super::{ALIGNMENT, MAX_GRAPH_BYTES};

/// In bytes 34 to 38 of a file.
const MAGIC: u32 = 8708;
/// The version that is read.
const VERSION: [u32; 2] = [2, 3];
/// Where the magic number is.
const MAGIC_AT: usize = 0x22;
/// Both headers, to the first section.
const HEADERS_LEN: usize = 0x50;
/// The head of the section of constants.
const CONSTANTS_HEAD: usize = 16;
/// More stages have not been seen in a file.
const MAX_STAGES: u32 = 4096;
/// Words of a tensor.
const TENSOR_WORDS: usize = 10;

/// A compiled graph of NCSDK 2, with one input and one output.
#[derive(Clone, Debug, PartialEq)]
pub struct NcsdkGraph<'a> {
    /// Cores that the graph wants.
    pub shaves: u32,
    /// Elements of the input, each of 16 bits.
    pub input_elements: u32,
    /// Elements of the output.
    pub output_elements: u32,
    /// What is computed, in this order.
    pub stages: Vec<NcsdkStage>,
    /// Weights.
    pub constants: &'a [u8],
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct NcsdkStage {
    /// What is computed. Numbers are those of version 5.0.
    pub kind: StageKind,
    /// Attributes: words as they are in the file, of the kinds that are known.
    pub params: Vec<u32>,
    /// Tensors, none for kinds whose layout is not known.
    pub tensors: Vec<NcsdkTensor>,
    /// What is done to the result.
    pub then: StageKind,
}

/// A tensor: columns, rows, channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NcsdkTensor {
    /// Extents. Of biases they are 0.
    pub dims: [u32; 3],
    /// Bytes from one to the next.
    pub strides: [u32; 3],
    /// Which memory.
    pub place: Place,
}

/// Which memory a tensor is in, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// None.
    Absent,
    /// The host's input.
    Input,
    /// The host's output.
    Output,
    /// Constants, at this byte.
    Constants(u32),
    /// Intermediate tensors, at this byte.
    Work(u32),
}

impl<'a> NcsdkGraph<'a> {
    /// Whether a file says that it is one.
    #[must_use]
    pub fn is(bytes: &[u8]) -> bool {
        bytes.get(MAGIC_AT..MAGIC_AT + 4) == Some(&MAGIC.to_le_bytes())
    }

    /// Reads one. Whether its stages can be computed is up to [`Self::lower`].
    ///
    /// # Errors
    /// If it is none.
    pub fn read(bytes: &'a [u8]) -> Result<Self, BlobError> {
        if bytes.len() < HEADERS_LEN {
            return Err(BlobError::TooShort { len: bytes.len() });
        }
        let all = Words { bytes };
        let head = |at: usize| all.word("the header", MAGIC_AT + 4 * at);
        let found = head(0)?;
        if found != MAGIC {
            return Err(BlobError::Magic { found });
        }
        let version = [head(2)?, head(3)?];
        if version != VERSION {
            return Err(BlobError::Version { found: version });
        }
        let (len, stated) = (bytes.len(), head(1)?);
        if stated as usize != len {
            return Err(BlobError::Length { len, stated });
        }
        if len > MAX_GRAPH_BYTES {
            let (what, allowed) = ("a graph", MAX_GRAPH_BYTES);
            return Err(BlobError::TooLarge { what, found: len, allowed });
        }
        let [stages, constants, relocations] = [head(5)?, head(6)?, head(7)?].map(|at| at as usize);
        let places =
            Places { constants: all.table(relocations + 4)?, work: all.table(relocations + 12)? };
        let constants_len = all.word("the length of the constants", constants)? as usize;
        let constants = constants_len
            .checked_sub(CONSTANTS_HEAD)
            .and_then(|len| bytes.get(constants + CONSTANTS_HEAD..)?.get(..len))
            .ok_or(BlobError::Truncated { what: "the constants", at: constants })?;
        Ok(Self {
            shaves: head(4)?,
            input_elements: head(8)?,
            output_elements: all.word("the section of stages", stages + 8)?,
            stages: read_stages(&all, stages, &places)?,
            constants,
        })
    }

    /// Bytes of the intermediate tensors.
    #[must_use]
    pub fn work_bytes(&self) -> usize {
        let tensors = self.stages.iter().flat_map(|stage| &stage.tensors);
        let end = |tensor: &NcsdkTensor| match tensor.place {
            Place::Work(at) => (at as usize).saturating_add(tensor.extent_bytes()),
            _ => 0,
        };
        tensors.map(end).max().unwrap_or(0).next_multiple_of(ALIGNMENT)
    }
}

impl NcsdkTensor {
    /// Bytes from the first element to the end of the last.
    #[must_use]
    pub fn extent_bytes(&self) -> usize {
        let reach =
            self.dims.iter().zip(&self.strides).try_fold(2_usize, |sum, (&dim, &stride)| {
                sum.checked_add((dim as usize).checked_sub(1)?.checked_mul(stride as usize)?)
            });
        reach.unwrap_or(if self.dims.contains(&0) { 0 } else { usize::MAX / 4 })
    }
}

/// Where offsets in tensors lead to.
struct Places {
    constants: Vec<u32>,
    work: Vec<u32>,
}

impl Places {
    fn of(&self, [index, memory]: [u32; 2], at: usize) -> Result<Place, BlobError> {
        let listed = |table: &[u32]| {
            let found = table.get(index as usize).copied();
            let reason = "there is no such entry among the relocations";
            found.ok_or(BlobError::Field { what: "a tensor's offset", at, found: index, reason })
        };
        Ok(match memory {
            0 => Place::Absent,
            1 => Place::Input,
            2 => Place::Output,
            3 => Place::Constants(listed(&self.constants)?),
            _ => Place::Work(listed(&self.work)?),
        })
    }
}

struct Words<'a> {
    bytes: &'a [u8],
}

impl Words<'_> {
    fn word(&self, what: &'static str, at: usize) -> Result<u32, BlobError> {
        let field = at.checked_add(4).and_then(|end| self.bytes.get(at..end));
        let field = field.ok_or(BlobError::Truncated { what, at })?;
        Ok(u32::from_le_bytes([field[0], field[1], field[2], field[3]]))
    }

    fn words<const N: usize>(&self, what: &'static str, at: usize) -> Result<[u32; N], BlobError> {
        let mut words = [0; N];
        for (index, word) in words.iter_mut().enumerate() {
            *word = self.word(what, at + 4 * index)?;
        }
        Ok(words)
    }

    /// The offsets of a table of relocations, whose own place and length are at `at`.
    fn table(&self, at: usize) -> Result<Vec<u32>, BlobError> {
        let what = "the relocations";
        let [start, len] = self.words(what, at)?;
        let entries = self.bytes.get(start as usize..).and_then(|rest| rest.get(..len as usize));
        let entries = entries.ok_or(BlobError::Truncated { what, at: start as usize })?;
        let (pairs, _) = entries.as_chunks::<8>();
        Ok(pairs
            .iter()
            .map(|pair| u32::from_le_bytes([pair[0], pair[1], pair[2], pair[3]]))
            .collect())
    }
}

/// How many words of attributes and how many tensors a stage of this kind has; `None` where that is not known.
fn layout(kind: StageKind) -> Option<[usize; 2]> {
    match kind {
        StageKind::CONV | StageKind::DECONVOLUTION => Some([8, 4]),
        StageKind::MAX_POOL | StageKind::AVG_POOL => Some([7, 2]),
        StageKind::SOFTMAX => Some([1, 2]),
        StageKind::FC => Some([0, 4]),
        StageKind::SIGMOID => Some([0, 2]),
        _ => None,
    }
}

fn read_stages(
    all: &Words<'_>,
    section: usize,
    places: &Places,
) -> Result<Vec<NcsdkStage>, BlobError> {
    let [count, len] = all.words("the section of stages", section)?;
    if count > MAX_STAGES {
        let (what, reason) = ("the number of stages", "so many have not been seen");
        return Err(BlobError::Field { what, at: section, found: count, reason });
    }
    let mut stages = Vec::new();
    let mut at = section + 12;
    for index in 0..count {
        let what = "a stage";
        let [next, kind, _] = all.words(what, at)?;
        let kind = StageKind(kind.cast_signed());
        let start = at + 12;
        let mut stage =
            NcsdkStage { kind, params: Vec::new(), tensors: Vec::new(), then: StageKind::NONE };
        if let Some([params, tensors]) = layout(kind) {
            for word in 0..params {
                stage.params.push(all.word(what, start + 4 * word)?);
            }
            let mut from = start + 4 * params;
            for _ in 0..tensors {
                let [x, y, z, sx, sy, sz, offset, memory, element, _] =
                    all.words::<TENSOR_WORDS>("a tensor", from)?;
                if element != 0 {
                    let (what, reason) = ("a tensor's type", "only 16-bit floats, 0, are known");
                    return Err(BlobError::Field { what, at: from + 32, found: element, reason });
                }
                let place = places.of([offset, memory], from + 24)?;
                stage.tensors.push(NcsdkTensor { dims: [x, y, z], strides: [sx, sy, sz], place });
                from += 4 * TENSOR_WORDS;
            }
            // What comes before is always nothing.
            stage.then = StageKind(all.word(what, from + 4)?.cast_signed());
        }
        stages.push(stage);
        if next == 0 {
            break;
        }
        // Each stage says where the next one is, which is never back.
        let following = section.saturating_add(next as usize);
        if following <= at || next > len || index + 1 == count {
            let (what, reason) = ("the place of the next stage", "it is not behind this one");
            return Err(BlobError::Field { what, at, found: next, reason });
        }
        at = following;
    }
    Ok(stages)
}

impl fmt::Display for NcsdkGraph<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "graph 2.3 of NCSDK: {} stages, {} bytes of constants, {} bytes of intermediate tensors, {} shaves",
            self.stages.len(),
            self.constants.len(),
            self.work_bytes(),
            self.shaves
        )?;
        writeln!(
            f,
            "input {} elements, output {} elements",
            self.input_elements, self.output_elements
        )?;
        for (index, stage) in self.stages.iter().enumerate() {
            writeln!(f, "{index:>4} {stage}")?;
        }
        Ok(())
    }
}

impl fmt::Display for NcsdkStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match self.known_params() {
            Some(Params::None) => {}
            Some(params) => write!(f, " {params}")?,
            None if self.params.is_empty() => {}
            None => write!(f, " {:?}", self.params)?,
        }
        if self.then != StageKind::NONE {
            write!(f, ", then {}", self.then)?;
        }
        for tensor in &self.tensors {
            let [x, y, z] = tensor.dims;
            match tensor.place {
                Place::Absent => continue,
                Place::Input => write!(f, " | input")?,
                Place::Output => write!(f, " | output")?,
                Place::Constants(at) => write!(f, " | const+{at}")?,
                Place::Work(at) => write!(f, " | work+{at}")?,
            }
            if tensor.dims != [0; 3] {
                write!(f, " {x}x{y}x{z}")?;
            }
        }
        Ok(())
    }
}
