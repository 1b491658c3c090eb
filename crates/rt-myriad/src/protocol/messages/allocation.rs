//! What becomes of an allocated graph, in the line of `OpenVINO`.

/// What becomes of an allocated graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllocationStatus {
    /// A pointer is null.
    #[error("null parameter")]
    NullParameter,
    /// The cores do not follow each other.
    #[error("cores that do not follow each other")]
    MaskNotContinuous,
    /// A stage that the firmware does not know.
    #[error("unsupported network element")]
    UnsupportedElement,
    /// No such graph.
    #[error("invalid handle")]
    InvalidHandle,
    /// Cores or slices are taken.
    #[error("out of resources")]
    OutOfResources,
    /// Not in this firmware.
    #[error("not implemented")]
    NotImplemented,
    /// More cores than slices.
    #[error("number of cores and slices do not fit")]
    ShavesSlicesMismatch,
    /// It took too long.
    #[error("timeout on the device")]
    Timeout,
    /// Something else.
    #[error("internal error")]
    Internal,
    /// The memory of the chip does not suffice.
    #[error("out of memory")]
    OutOfMemory,
    /// A number that is not listed.
    #[error("unknown status {0}")]
    Unknown(u32),
}

impl AllocationStatus {
    /// The status with this number; `None` for success.
    #[must_use]
    pub const fn of(code: u32) -> Option<Self> {
        Some(match code {
            0 => return None,
            1 => Self::NullParameter,
            2 => Self::MaskNotContinuous,
            3 => Self::UnsupportedElement,
            4 => Self::InvalidHandle,
            5 => Self::OutOfResources,
            6 => Self::NotImplemented,
            7 => Self::ShavesSlicesMismatch,
            8 => Self::Timeout,
            9 => Self::Internal,
            10 => Self::OutOfMemory,
            other => Self::Unknown(other),
        })
    }

    /// Its number.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::NullParameter => 1,
            Self::MaskNotContinuous => 2,
            Self::UnsupportedElement => 3,
            Self::InvalidHandle => 4,
            Self::OutOfResources => 5,
            Self::NotImplemented => 6,
            Self::ShavesSlicesMismatch => 7,
            Self::Timeout => 8,
            Self::Internal => 9,
            Self::OutOfMemory => 10,
            Self::Unknown(code) => code,
        }
    }
}
