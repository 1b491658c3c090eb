//! Why encoded tensors do not decode, and values do not encode.

use crate::tensor::Shape;

/// Why a tensor does not decode or encode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// A stream ends before all symbols are read.
    #[error("a stream of {bytes} bytes ends before its last symbol")]
    Truncated {
        /// Bytes of the stream.
        bytes: usize,
    },
    /// A stream has bytes after its last symbol.
    #[error("a stream of {bytes} bytes has its last symbol in byte {used}")]
    TrailingBytes {
        /// Bytes of the stream.
        bytes: usize,
        /// Bytes that hold symbols.
        used: usize,
    },
    /// The bits after the last symbol are not zero.
    #[error("the last of {bytes} bytes is not filled up with zeros")]
    PaddingNotZero {
        /// Bytes of the stream.
        bytes: usize,
    },
    /// The shape has more elements than can be numbered.
    #[error("a tensor of shape {shape} has too many elements")]
    TooManyElements {
        /// The shape.
        shape: Shape,
    },
    /// Integers of a width that there is not.
    #[error("integers of {bits} bits, not of 1 to 32")]
    IntWidth {
        /// Width in bits.
        bits: u8,
    },
    /// A codebook of a size that there is not.
    #[error("a codebook of {entries} entries, not of 1 to 256")]
    CodebookSize {
        /// Entries.
        entries: usize,
    },
    /// The fixed width of symbols is not that of their alphabet.
    #[error("symbols of {found} bits where the alphabet needs {expected}")]
    RawWidth {
        /// Bits that tell the alphabet's symbols apart.
        expected: u8,
        /// Bits that the stream claims.
        found: u8,
    },
    /// A symbol is beyond the alphabet.
    #[error("symbol {symbol} of an alphabet of {alphabet}")]
    SymbolOutOfRange {
        /// The symbol.
        symbol: u32,
        /// Size of the alphabet.
        alphabet: u64,
    },
    /// An entropy coder is used where there are no symbols, or on an alphabet that is too large for it.
    #[error("{symbols} symbols of an alphabet of {alphabet} cannot be Huffman coded")]
    NotHuffman {
        /// Number of symbols.
        symbols: usize,
        /// Size of the alphabet.
        alphabet: u64,
    },
    /// A Huffman code has more lengths than the alphabet has symbols.
    #[error("{found} code lengths for an alphabet of {allowed}")]
    AlphabetTooLarge {
        /// Number of code lengths.
        found: usize,
        /// Size of the alphabet.
        allowed: usize,
    },
    /// A code length is not 1 to 15.
    #[error("code length {len} of symbol {symbol} is not 1 to 15")]
    CodeLength {
        /// The symbol.
        symbol: usize,
        /// Its length.
        len: u8,
    },
    /// Code lengths are written in another than the shortest form.
    #[error("the code length of symbol {symbol} has a shorter form")]
    CodeLengthsNotCanonical {
        /// The symbol.
        symbol: usize,
    },
    /// A run of unused symbols is longer than any alphabet.
    #[error("a run of unused symbols of more than {width} bits")]
    ZeroRun {
        /// Bits of its length.
        width: u32,
    },
    /// A Huffman code has more code words than fit.
    #[error("the code is overfull: {sum} of {full}")]
    CodeOverfull {
        /// Kraft's sum in units of 2^-15.
        sum: u32,
        /// That of a complete code.
        full: u32,
    },
    /// A Huffman code leaves words without a symbol.
    #[error("the code is incomplete: {sum} of {full}")]
    CodeIncomplete {
        /// Kraft's sum in units of 2^-15.
        sum: u32,
        /// That of a complete code.
        full: u32,
    },
    /// Gaps of a width that there is not.
    #[error("gaps of {bits} bits, not of 1 to 12")]
    GapWidth {
        /// Width in bits.
        bits: u8,
    },
    /// A sparse tensor has no gaps, or a dense one has.
    #[error("gaps are {}", if *.needed { "missing" } else { "given for a dense tensor" })]
    GapPresence {
        /// Whether the layout needs them.
        needed: bool,
    },
    /// A tensor of whole floats is entropy coded.
    #[error("whole floats are not entropy coded")]
    FloatsNotRaw,
    /// Gaps lead to another number of symbols than there are.
    #[error("gaps lead to {found} symbols, not to {expected}")]
    SymbolCount {
        /// Number of symbols.
        expected: usize,
        /// Number of positions.
        found: usize,
    },
    /// Gaps lead beyond the last element.
    #[error("a gap leads to position {position} of {elements}")]
    PositionOutOfRange {
        /// Where it leads.
        position: u64,
        /// Number of elements.
        elements: usize,
    },
    /// The last gap has no symbol.
    #[error("the last gap leads to no symbol")]
    TrailingGap,
    /// A sparse tensor has a symbol that stands for zero.
    #[error("position {position} of a sparse tensor has a symbol for zero")]
    ZeroSymbol {
        /// The position.
        position: u32,
    },
    /// The tensor's values are of another kind than was asked for.
    #[error("the tensor does not hold {asked}")]
    ValueKind {
        /// What was asked for.
        asked: &'static str,
    },
    /// The tensor has another layout than was asked for.
    #[error("the tensor is not {asked}")]
    LayoutKind {
        /// What was asked for.
        asked: &'static str,
    },
    /// The number of scales does not fit.
    #[error("{found} scales where {expected} are needed")]
    ScaleCount {
        /// How many are needed.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A scale is not positive and finite.
    #[error("scale {channel} is not positive and finite")]
    BadScale {
        /// Its index.
        channel: usize,
    },
    /// A stream is longer than the file format can say.
    #[error("a stream of {len} bytes is too long")]
    StreamTooLong {
        /// Its length.
        len: usize,
    },
    /// A value is infinite or not a number.
    #[error("the value at position {position} is not finite")]
    NotFinite {
        /// Its position.
        position: usize,
    },
    /// A bias is so large that accumulators could overflow.
    #[error("bias {value} exceeds {limit}")]
    BiasTooLarge {
        /// The bias.
        value: i32,
        /// Largest magnitude.
        limit: i32,
    },
    /// The number of values given is not that of the shape.
    #[error("{found} values for a tensor of {expected} elements")]
    ValueCount {
        /// Elements of the shape.
        expected: usize,
        /// Values given.
        found: usize,
    },
}
