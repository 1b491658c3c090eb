//! The shaders: which pieces of WGSL make each kernel, and the parameters of a dispatch.

use embdl_core::runtime::RuntimeError;

/// How a kernel sees the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arena {
    /// As words that no two invocations write.
    Plain,
    /// As words of which several invocations write bytes, atomically.
    Shared,
}

/// A kernel, put together from pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shader {
    name: &'static str,
    pieces: &'static [&'static str],
    arena: Arena,
}

impl Shader {
    /// The same with invocations that share words of the arena, if `is_shared`.
    pub(crate) const fn sharing(mut self, is_shared: bool) -> Self {
        if is_shared {
            self.arena = Arena::Shared;
        }
        self
    }

    /// What tells it from all others.
    pub(crate) fn key(&self) -> String {
        format!("{} {:?}", self.name, self.arena)
    }

    /// All of its WGSL.
    pub(crate) fn source(&self) -> String {
        let arena = match self.arena {
            Arena::Plain => include_str!("shaders/arena_plain.wgsl"),
            Arena::Shared => include_str!("shaders/arena_shared.wgsl"),
        };
        let mut source = arena.to_owned() + include_str!("shaders/common.wgsl");
        self.pieces.iter().for_each(|piece| source.push_str(piece));
        source
    }
}

/// Declares shaders by the files that they are made of, and the list of all.
macro_rules! shaders {
    ($($(#[$doc:meta])* $shader:ident: $($piece:ident)+;)+) => {
        $($(#[$doc])* pub(crate) const $shader: Shader = Shader {
            name: stringify!($shader),
            pieces: &[$(include_str!(concat!("shaders/", stringify!($piece), ".wgsl"))),+],
            arena: Arena::Plain,
        };)+

        #[cfg(test)]
        pub(crate) const ALL: &[Shader] = &[$($shader),+];
    };
}

shaders! {
    /// Convolution, and dense layers of several samples.
    CONV_F32: weights_f32 conv_f32;
    /// The same with weights in 16 bits.
    CONV_F16: weights_f16 conv_f32;
    /// The same on levels.
    CONV_Q8: requant conv_q8;
    /// One filter a channel.
    DEPTHWISE_F32: depthwise_f32;
    /// The same on levels.
    DEPTHWISE_Q8: requant depthwise_q8;
    /// Dense layer, rows of floats.
    ROWS_F32: rows_params form_dense form_dense_f32 rows_f32;
    /// Rows of weights in 16 bits.
    ROWS_F16: rows_params form_dense form_half_f32 rows_f32;
    /// Rows of 8-bit codes of floats.
    ROWS_CODE8_F32: rows_params form_words form_code8_f32 rows_f32;
    /// Rows of 4-bit codes of floats.
    ROWS_CODE4_F32: rows_params form_words form_code4_f32 rows_f32;
    /// Sparse rows of floats.
    ROWS_SPARSE_F32: rows_params form_words form_sparse_f32 rows_f32;
    /// Rows of bytes.
    ROWS_Q8: requant rows_params form_dense form_dense_q8 rows_q8;
    /// Rows of 4-bit codes of bytes.
    ROWS_CODE4_Q8: requant rows_params form_words form_code4_q8 rows_q8;
    /// Sparse rows of bytes.
    ROWS_SPARSE_Q8: requant rows_params form_words form_sparse_q8 rows_q8;
    /// Functions of one word.
    MAP_WORDS: exp map_words;
    /// Tables of levels.
    MAP_LEVELS: table map_levels;
    /// Sums, products, slopes.
    PAIRS_F32: pairs_f32;
    /// The same on levels.
    PAIRS_Q8: requant pairs_q8;
    /// Floats to levels.
    QUANTIZE: quantize;
    /// Levels to floats.
    DEQUANTIZE: dequantize;
    /// Pooling.
    POOL_F32: pool_params pool_f32;
    /// The same on levels.
    POOL_Q8: requant table pool_params pool_q8;
    /// Local response normalization.
    LRN: lrn;
    /// Softmax.
    SOFTMAX: exp softmax;
    /// Another order of axes, words.
    TRANSPOSE_WORDS: source_transpose gather_words;
    /// Another order of axes, levels.
    TRANSPOSE_LEVELS: source_transpose gather_levels;
    /// A border, words.
    PAD_WORDS: source_pad gather_words;
    /// A border, levels.
    PAD_LEVELS: source_pad gather_levels;
    /// Another height and width by the nearest, words.
    NEAREST_WORDS: resize_params source_nearest gather_words;
    /// The same on levels.
    NEAREST_LEVELS: resize_params source_nearest gather_levels;
    /// Another height and width by interpolation.
    RESIZE_F32: resize_params resize_f32;
    /// The same on levels.
    RESIZE_Q8: resize_params resize_q8;
    /// A part of a concatenation, rows of whole words.
    CONCAT_WORDS: table concat_words;
    /// A part of a concatenation, rows of any length.
    CONCAT_LEVELS: table concat_levels;
}

/// Parameters of a dispatch, in the order of the kernel's struct.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params {
    words: Vec<u32>,
    /// The first number that does not fit.
    too_large: Option<usize>,
}

impl Params {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Counts, places, extents.
    pub(crate) fn counts<const N: usize>(mut self, counts: [usize; N]) -> Self {
        for count in counts {
            match u32::try_from(count) {
                Ok(word) => self.words.push(word),
                Err(_) => {
                    self.too_large.get_or_insert(count);
                }
            }
        }
        self
    }

    pub(crate) fn floats<const N: usize>(mut self, floats: [f32; N]) -> Self {
        self.words.extend(floats.map(f32::to_bits));
        self
    }

    pub(crate) fn integers<const N: usize>(mut self, integers: [i32; N]) -> Self {
        self.words.extend(integers.map(i32::cast_unsigned));
        self
    }

    /// All of them.
    ///
    /// # Errors
    /// If one does not fit 32 bits.
    pub(crate) fn words(&self) -> Result<&[u32], RuntimeError> {
        match self.too_large {
            None => Ok(&self.words),
            Some(needed) => Err(RuntimeError::TooLarge { needed, allowed: u32::MAX as usize }),
        }
    }
}

/// A byte each: zero point, smallest and largest level, as the kernels take them.
pub(crate) fn levels_word(zero_point: u8, min: u8, max: u8) -> usize {
    u32::from_le_bytes([zero_point, min, max, 0]) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::PARAMS_BYTES;

    /// What any driver is given: WGSL that validates without optional features, whose parameters fit.
    #[test]
    fn every_shader_is_valid_and_its_parameters_fit() {
        for shader in ALL.iter().flat_map(|shader| [*shader, shader.sharing(true)]) {
            let key = shader.key();
            let source = shader.source();
            let module = naga::front::wgsl::parse_str(&source)
                .unwrap_or_else(|error| panic!("{key}: {}", error.emit_to_string(&source)));
            let flags = naga::valid::ValidationFlags::all();
            // WGSL itself has `unpack2x16float`; naga asks for it because drivers of before WebGPU may lack it.
            let nothing_optional = naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32;
            let mut validator = naga::valid::Validator::new(flags, nothing_optional);
            validator.validate(&module).unwrap_or_else(|error| panic!("{key}: {error:?}"));
            let params = module.global_variables.iter().map(|(_, variable)| variable);
            let params = params.filter(|variable| variable.space == naga::AddressSpace::Uniform);
            for variable in params {
                let naga::TypeInner::Struct { span, .. } = module.types[variable.ty].inner else {
                    panic!("{key}: parameters are no struct");
                };
                assert!(span as usize <= PARAMS_BYTES, "{key}: {span} bytes of parameters");
            }
            let entry = &module.entry_points[0];
            assert_eq!((entry.name.as_str(), entry.workgroup_size), ("main", [64, 1, 1]), "{key}");
        }
    }

    #[test]
    fn parameters_keep_their_order_and_refuse_what_does_not_fit() {
        let params = Params::new().counts([7]).floats([1.0]).integers([-1]).counts([9]);
        assert_eq!(params.words(), Ok(&[7, 1.0_f32.to_bits(), u32::MAX, 9][..]));
        let needed = 1 << 40;
        let error = Params::new().counts([1, needed]).words().unwrap_err();
        assert_eq!(error, RuntimeError::TooLarge { needed, allowed: u32::MAX as usize });
    }

    #[test]
    fn shaders_that_share_words_are_other_ones() {
        assert_ne!(CONV_Q8.key(), CONV_Q8.sharing(true).key());
        assert!(CONV_Q8.sharing(true).source().contains("atomicOr"));
        assert!(!CONV_Q8.sharing(false).source().contains("atomicOr"));
    }
}
