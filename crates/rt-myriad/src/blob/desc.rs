//! Tensors of a blob: element type, order of dimensions, strides, place.

use core::fmt;

/// Type of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// 16-bit floats.
    F16,
    /// Bytes.
    U8,
    /// 32-bit integers.
    I32,
    /// 32-bit floats.
    F32,
    /// Signed bytes.
    I8,
}

impl ElementType {
    const ALL: [Self; 5] = [Self::F16, Self::U8, Self::I32, Self::F32, Self::I8];

    /// Its number in a file.
    #[must_use]
    pub fn code(self) -> u32 {
        (0..).zip(Self::ALL).find(|&(_, of)| of == self).map_or(0, |(code, _)| code)
    }

    /// The type with this number.
    #[must_use]
    pub fn of(code: u32) -> Option<Self> {
        usize::try_from(code).ok().and_then(|code| Self::ALL.get(code).copied())
    }

    /// Bytes of an element.
    #[must_use]
    pub const fn size_bytes(self) -> u32 {
        match self {
            Self::F16 => 2,
            Self::U8 | Self::I8 => 1,
            Self::I32 | Self::F32 => 4,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::U8 => "u8",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::I8 => "i8",
        })
    }
}

/// Which dimension is the innermost, and so on outwards: one hexadecimal digit each, the innermost in the lowest. Width
/// is 1, height 2, channels 3, samples 4, depth 5.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Order(pub u32);

impl Order {
    /// A vector.
    pub const C: Self = Self(0x3);
    /// A matrix of rows.
    pub const NC: Self = Self(0x43);
    /// Weights.
    pub const CHW: Self = Self(0x321);
    /// A map, channels innermost.
    pub const NHWC: Self = Self(0x4213);
    /// A map, width innermost.
    pub const NCHW: Self = Self(0x4321);

    /// Number of dimensions; `None` if the digits are no order.
    #[must_use]
    pub fn rank(self) -> Option<usize> {
        let mut seen = 0_u32;
        let mut rest = self.0;
        let mut rank = 0;
        while rest != 0 {
            let digit = rest & 0xf;
            if !(1..=5).contains(&digit) || seen & (1 << digit) != 0 {
                return None;
            }
            seen |= 1 << digit;
            rest >>= 4;
            rank += 1;
        }
        (rank > 0).then_some(rank)
    }

    /// Where a dimension is, counted from the innermost.
    #[must_use]
    pub fn position(self, digit: u32) -> Option<usize> {
        (0..8).find(|at| (self.0 >> (4 * at)) & 0xf == digit)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rank = self.rank().unwrap_or(0);
        for at in (0..rank).rev() {
            let digit = (self.0 >> (4 * at)) & 0xf;
            f.write_str(["?", "W", "H", "C", "N", "D"][digit as usize])?;
        }
        Ok(())
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Order({:#x})", self.0)
    }
}

/// Elements with their order and strides. All lists start with the innermost dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desc {
    /// Type of elements.
    pub element: ElementType,
    /// What the dimensions are.
    pub order: Order,
    /// Extents.
    pub dims: Vec<u32>,
    /// Bytes from one element to the next of a dimension.
    pub strides: Vec<u32>,
}

impl Desc {
    /// Dimensions that a tensor may have.
    pub const MAX_RANK: usize = 5;

    /// A tensor without gaps, or `None` if its bytes do not fit 32 bits.
    #[must_use]
    pub fn compact(element: ElementType, order: Order, dims: &[u32]) -> Option<Self> {
        let mut strides = Vec::with_capacity(dims.len());
        let mut stride = element.size_bytes();
        for &dim in dims {
            strides.push(stride);
            stride = stride.checked_mul(dim)?;
        }
        Some(Self { element, order, dims: dims.to_vec(), strides })
    }

    /// What stands where a stage takes no tensor.
    #[must_use]
    pub fn absent() -> Self {
        Self { element: ElementType::F16, order: Order::C, dims: vec![1], strides: vec![2] }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> Option<usize> {
        let each = |total: usize, &dim: &u32| total.checked_mul(usize::try_from(dim).ok()?);
        self.dims.iter().try_fold(1, each)
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dims.contains(&0)
    }

    /// Bytes from the first element to the end of the last.
    #[must_use]
    pub fn extent_bytes(&self) -> Option<usize> {
        let mut last = 0_usize;
        for (&dim, &stride) in self.dims.iter().zip(&self.strides) {
            let reach = usize::try_from(dim.checked_sub(1)?).ok()?.checked_mul(stride as usize)?;
            last = last.checked_add(reach)?;
        }
        last.checked_add(self.element.size_bytes() as usize)
    }

    /// Whether there are no gaps.
    #[must_use]
    pub fn is_compact(&self) -> bool {
        Self::compact(self.element, self.order, &self.dims)
            .is_some_and(|compact| compact.strides == self.strides)
    }

    /// Extent of a dimension by its digit of the order, 1 where the tensor does not have it.
    #[must_use]
    pub fn dim(&self, digit: u32) -> u32 {
        self.order.position(digit).and_then(|at| self.dims.get(at)).copied().unwrap_or(1)
    }

    /// Stride of a dimension by its digit of the order, in bytes; 0 where the tensor does not have it.
    #[must_use]
    pub fn stride(&self, digit: u32) -> u32 {
        self.order.position(digit).and_then(|at| self.strides.get(at)).copied().unwrap_or(0)
    }
}

impl fmt::Display for Desc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.element, self.order)?;
        for (at, dim) in self.dims.iter().rev().enumerate() {
            write!(f, "{}{dim}", if at == 0 { "" } else { "x" })?;
        }
        if !self.is_compact() {
            let strides: Vec<u32> = self.strides.iter().rev().copied().collect();
            write!(f, " strides {strides:?}")?;
        }
        Ok(())
    }
}

/// Which memory a tensor is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// None: the stage takes no tensor here.
    None,
    /// The host's input of this number.
    Input(u32),
    /// The host's output of this number.
    Output(u32),
    /// Constants of the file.
    Constants,
    /// Intermediate tensors in the chip's memory.
    Bss,
    /// The scratchpad.
    Cmx,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Input(index) => write!(f, "input{index}"),
            Self::Output(index) => write!(f, "output{index}"),
            Self::Constants => f.write_str("const"),
            Self::Bss => f.write_str("bss"),
            Self::Cmx => f.write_str("cmx"),
        }
    }
}

/// A tensor that a stage reads or writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorRef {
    /// What it is.
    pub desc: Desc,
    /// Which memory.
    pub location: Location,
    /// Where it starts in that memory; for inputs and outputs from the start of the one named.
    pub offset: u32,
}

impl TensorRef {
    /// What stands where a stage takes no tensor.
    #[must_use]
    pub fn absent() -> Self {
        Self { desc: Desc::absent(), location: Location::None, offset: 0 }
    }
}

impl fmt::Display for TensorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.location == Location::None {
            f.write_str("-")
        } else {
            write!(f, "{}+{} {}", self.location, self.offset, self.desc)
        }
    }
}
