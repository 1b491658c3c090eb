//! Instructions as the interpreter runs them: operands are places in two banks of registers, immediates among them.

/// A register of up to 32 bits, by its number. Predicates are 0 or 1; 16 bits stand in the lower half, the upper one zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) usize);

/// A register of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Long(pub(crate) usize);

/// A register of either bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    /// Of up to 32 bits, of which so many count.
    Word(Word, u8),
    /// Of 64 bits.
    Long(Long),
}

/// One instruction, and when it is run.
#[derive(Clone, Debug)]
pub(crate) struct Instruction {
    pub(crate) operation: Operation,
    /// The predicate, and the value that it needs.
    pub(crate) guard: Option<(Word, bool)>,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// What an instruction does; results come first.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Word1(Word1, Word, Word),
    Word2(Word2, Word, [Word; 2]),
    Word3(Word3, Word, [Word; 3]),
    Long1(Long1, Long, Long),
    Long2(Long2, Long, [Long; 2]),
    /// Shifts a long by a word.
    Shift(Shift, Long, Long, Word),
    /// A long from the product of two words.
    Wide(Wide, Long, [Word; 2]),
    /// The same and a sum.
    WideAdd(Wide, Long, [Word; 2], Long),
    CompareWords(Number, Compare, Word, [Word; 2]),
    CompareLongs(bool, Compare, Word, [Long; 2]),
    SelectLong(Long, [Long; 2], Word),
    Convert(Convert, Register, Register),
    /// Two halves become a word.
    Pack(Word, [Word; 2]),
    /// A word becomes two halves.
    Unpack([Word; 2], Word),
    Load(Access, Place),
    Store(Access, Place),
    /// Values of the thread of the same warp whose number differs by these bits.
    ShuffleXor(Word, Word, Word),
    Barrier,
    Branch(usize),
    Return,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word1 {
    Move,
    Not,
    NotPredicate,
    Negate,
    Absolute,
    NegateF32,
    AbsoluteF32,
    SquareRootF32,
    ReciprocalF32,
    Exp2F32,
    Log2F32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word2 {
    Add,
    Subtract,
    Multiply,
    DivideU32,
    DivideS32,
    RemainderU32,
    RemainderS32,
    MinU32,
    MaxU32,
    MinS32,
    MaxS32,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRightU32,
    ShiftRightS32,
    /// Products of 16 bits in 32.
    MultiplyU16,
    MultiplyS16,
    AddF32,
    SubtractF32,
    MultiplyF32,
    DivideF32,
    MinF32,
    MaxF32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word3 {
    MultiplyAdd,
    FusedF32,
    FusedF16x2,
    ExtractU32,
    ExtractS32,
    Permute,
    Select,
    /// Four products of bytes and a sum; whether the bytes of either side are signed.
    Dot(bool, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Long1 {
    Move,
    Not,
    Negate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Long2 {
    Add,
    Subtract,
    Multiply,
    And,
    Or,
    Xor,
    MinS64,
    MaxS64,
    MinU64,
    MaxU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shift {
    Left,
    RightU64,
    RightS64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wide {
    U32,
    S32,
}

/// How a word is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    U16,
    S16,
    U32,
    S32,
    F32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// These are also true where one is no number.
    EqualUnordered,
    NotEqualUnordered,
    LessUnordered,
    LessOrEqualUnordered,
    GreaterUnordered,
    GreaterOrEqualUnordered,
}

/// Types that values are converted from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// So many bits.
    Unsigned(u8),
    Signed(u8),
    F16,
    F32,
}

/// A conversion: to the nearest float, or towards zero to an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Convert {
    pub(crate) from: Kind,
    pub(crate) to: Kind,
}

/// One to four elements that are loaded or stored together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) space: Space,
    /// Bytes of an element: 1, 2, 4 or 8.
    pub(crate) bytes: usize,
    pub(crate) is_signed: bool,
    pub(crate) registers: [Register; 4],
    pub(crate) count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Params,
    Shared,
    Global,
    /// Global memory that does not change while the kernel runs.
    Fixed,
}

/// Where memory is accessed: a register and bytes beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) base: Register,
    pub(crate) offset: i64,
}
