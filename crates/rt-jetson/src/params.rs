//! Parameters of all kernels, one struct by value for each, as `kernels/params.h` has them, and the blocks that a launch takes.
//!
//! Pointers are addresses on the device. Those that may be 0 say so. Places, strides and counts are in elements, unless a name
//! says bytes, and below 2^31. Activations are NHWC; `rows` are output positions of all samples. All blocks have
//! [`Kernel::threads`](crate::kernels::Kernel) threads on the first axis; no kernel takes dynamic shared memory.

/// Blocks of a launch on three axes.
pub type Grid = [usize; 3];

/// An address on the device.
pub type Address = u64;

/// What a kernel takes as its only parameter.
pub trait Params: bytemuck::Pod {}

/// Declares structs without padding, in C's layout, and asserts their size, which the header asserts too.
macro_rules! params {
    ($($(#[$doc:meta])* $name:ident: $bytes:literal { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)+ })+) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, PartialEq)]
            pub struct $name { $($(#[$field_doc])* pub $field: $kind,)+ }

            const _: () = assert!(size_of::<$name>() == $bytes, "the header has another size");
            const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$kind>())+, "there is padding");

            // SAFETY: all fields are numbers, for which zero is a value.
            unsafe impl bytemuck::Zeroable for $name {}
            // SAFETY: C's layout, no padding by the assertion, and all fields take any bits.
            unsafe impl bytemuck::Pod for $name {}
            impl Params for $name {}
        )+
    };
}

// After the macro that they use.
mod moving;
mod pointwise;
mod products;
mod rows;
mod windows;

pub use moving::*;
pub use pointwise::*;
pub use products::*;
pub use rows::*;
pub use windows::*;

params! {
    /// A window that slides over height and width of NHWC values.
    Window: 60 {
        /// Height of the result.
        oh: u32,
        /// Width of the result.
        ow: u32,
        /// Height of the input.
        ih: u32,
        /// Width of the input.
        iw: u32,
        /// Elements from one pixel of the input to the next: its channels.
        ci: u32,
        /// Taps down.
        kh: u32,
        /// Taps across.
        kw: u32,
        /// Steps down.
        stride_y: u32,
        /// Steps across.
        stride_x: u32,
        /// Rows from one tap to the next.
        dilation_y: u32,
        /// Columns from one tap to the next.
        dilation_x: u32,
        /// Rows added on top.
        pad_y: u32,
        /// Columns added on the left.
        pad_x: u32,
        /// Rows added at the bottom; only means that count pads read it.
        pad_bottom: u32,
        /// Columns added on the right; likewise.
        pad_right: u32,
    }

    /// What integer kernels do with accumulators, by the rule of `embdl_core::quant`.
    Stage: 20 {
        /// One of [`LEVELS`], [`ACCUMULATORS`], [`RELU_ACCUMULATORS`].
        kind: u32,
        /// Right shift, 1 to 62.
        shift: u32,
        /// Zero point of the result.
        zero_point: i32,
        /// Smallest level.
        min: i32,
        /// Largest level.
        max: i32,
    }
}

/// Requantized levels, in [`Stage::kind`].
pub const LEVELS: u32 = 0;
/// Accumulators as they are.
pub const ACCUMULATORS: u32 = 1;
/// Accumulators, negative ones zero.
pub const RELU_ACCUMULATORS: u32 = 2;
