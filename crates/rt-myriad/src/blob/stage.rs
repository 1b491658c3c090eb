//! Stages of a blob: what is computed, with which parameters, in which layout the weights are.

use core::fmt;

use super::desc::TensorRef;

/// Beyond this, a stage of any kind has no more tensors.
pub const BUFFERS_LAST: usize = 64;

/// One step of a compiled graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// What is computed.
    pub kind: StageKind,
    /// Cores.
    pub shaves: u32,
    /// Attributes.
    pub params: Params,
    /// Tensors, in the order of the kind: most often input, output, constants.
    pub buffers: Vec<TensorRef>,
}

/// What a stage computes; its number in a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageKind(pub i32);

macro_rules! kinds {
    ($($name:ident = $code:literal),* $(,)?) => {
        #[expect(missing_docs, reason = "the names are the vendor's")]
        impl StageKind {
            $(pub const $name: Self = Self($code);)*

            const NAMES: &[(i32, &str)] = &[$(($code, stringify!($name))),*];
        }
    };
}

kinds! {
    EMPTY = -1, CONV = 0, MAX_POOL = 1, AVG_POOL = 2, SOFTMAX = 3, FC = 4, NONE = 5, RELU = 6, DEPTH_CONV = 8, BIAS = 9,
    PRELU = 10, LRN = 11, SUM = 12, PROD = 13, MAX = 14, SCALE = 15, INNER_LRN = 18, COPY = 19, SIGMOID = 20, TANH = 21,
    DECONVOLUTION = 22, ELU = 23, POWER = 26, TILE = 28, REGION_YOLO = 29, REORG_YOLO = 30, PERMUTE = 34, NORMALIZE = 35,
    DETECTION_OUTPUT = 37, MYRIAD_X_HW_OP = 38, CTC_DECODER = 43, LEAKY_RELU = 44, BIAS_RELU = 45, BIAS_LEAKY_RELU = 46,
    SCALE_SHIFT = 47, IM2COL_CONVOLUTION = 49, HW_FC_RELAYOUT = 56, CLAMP = 57, REF_CONVOLUTION = 58, GLOBAL_AVG_POOL = 59,
    GLOBAL_MAX_POOL = 60, GRN = 61, MVN = 62, DEPTH_DECONV = 63, PROPOSAL = 64, ROI_POOLING = 65, PSROI_POOLING = 66,
    INTERP = 67, MTCNN = 69, LSTM_CELL = 70, PAD = 71, RESAMPLE = 72, UPSAMPLING = 73, ARG_MAX = 74, DIV = 75, MIN = 76,
    SQUARED_DIFF = 77, EQUAL = 78, NOT_EQUAL = 79, GREATER = 80, GREATER_EQUAL = 81, LESS = 82, LESS_EQUAL = 83,
    LOGICAL_NOT = 84, LOGICAL_AND = 85, LOGICAL_OR = 86, LOGICAL_XOR = 87, POW = 88, FLOOR_MOD = 89, SELECT = 90, GEMM = 91,
    LOG = 92, REDUCE_AND = 93, REVERSE_SEQUENCE = 94, GATHER = 100, EXP = 101, FLOOR = 102, TOP_K = 104, REDUCE_MIN = 105,
    EXP_DETECTION_OUTPUT = 106, NON_MAX_SUPPRESSION = 107, ROI_FEATURE_EXTRACTOR = 108, SC_RELU = 109, ERF = 110,
    CONVERT = 111, REDUCE_MAX = 112, REDUCE_SUM = 113, REDUCE_MEAN = 114, CUSTOM = 115, CONV_ND = 116, ONE_HOT = 117,
    POOL_ND = 118, LOOP_START = 119, LOOP_END = 120, EXP_PRIOR_GRID_GENERATOR = 121, EXP_GENERATE_PROPOSALS = 124,
}

impl StageKind {
    /// The vendor's name in lower case; `None` for a number without one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES.iter().find(|&&(code, _)| code == self.0).map(|&(_, name)| name)
    }

    /// Whether it moves elements without a core: the file's flag for the copying engine.
    #[must_use]
    pub fn is_dma(self) -> bool {
        [Self::COPY, Self::LOOP_START, Self::LOOP_END].contains(&self)
    }

    /// Whether it combines two tensors element by element.
    #[must_use]
    pub fn is_eltwise(self) -> bool {
        (12..=14).contains(&self.0) || (75..=90).contains(&self.0) && self != Self::LOGICAL_NOT
    }
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(&name.to_ascii_lowercase().replace('_', "-")),
            None => write!(f, "stage-{}", self.0),
        }
    }
}

impl fmt::Debug for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A window that slides over a map. Only the leading pads are written down; the others follow from the result's extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slide {
    /// Width and height.
    pub kernel: [u32; 2],
    /// Steps in width and height.
    pub stride: [u32; 2],
    /// Columns on the left, rows at the top.
    pub pad: [u32; 2],
}

/// Attributes of the combination of two tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Eltwise {
    /// Factors of the two.
    pub factors: [f32; 2],
    /// A stage kind that is applied to the result: -1 for none, or that of relu, leaky relu, clamp.
    pub post: i32,
    /// Slope below zero of that.
    pub slope: f32,
    /// Bounds of that.
    pub bounds: [f32; 2],
}

/// Attributes of a stage.
#[derive(Clone, Debug, PartialEq)]
pub enum Params {
    /// None.
    None,
    /// Of convolutions, with the distance of taps in width and height.
    Conv(Slide, [u32; 2]),
    /// Of pools, with whether pads do not count for the mean.
    Pool(Slide, bool),
    /// Of relu with or without a bias.
    Relu {
        /// Whether there is a bias.
        has_bias: bool,
        /// Slope below zero.
        slope: f32,
    },
    /// Of elu.
    Elu {
        /// Negative of the limit towards minus infinity.
        alpha: f32,
    },
    /// Of a clamp.
    Clamp {
        /// Lower bound.
        min: f32,
        /// Upper bound.
        max: f32,
    },
    /// Of `(bias + scale * x) ^ power`.
    Power {
        /// Added.
        bias: f32,
        /// Factor.
        scale: f32,
        /// Exponent.
        power: f32,
    },
    /// Of softmax: which dimension, counted from the innermost.
    Softmax {
        /// The dimension.
        axis: i32,
    },
    /// Of local response normalization; the last three are 16-bit floats in a file.
    Lrn {
        /// Channels summed over.
        size: u32,
        /// Added to the mean square.
        k: f32,
        /// Factor of the mean square.
        alpha: f32,
        /// Exponent.
        beta: f32,
    },
    /// Of the combination of two tensors.
    Eltwise(Eltwise),
    /// Of another order of dimensions: from where each dimension comes, both counted from the innermost; -1 for none.
    Permute([i32; 8]),
    /// Of a change of element type: `x * scale + bias`.
    Convert {
        /// Factor.
        scale: f32,
        /// Added.
        bias: f32,
        /// Two flags for other networks than these.
        flags: [u32; 2],
    },
    /// Of a kind that is not looked into.
    Other(Vec<u8>),
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slide = |f: &mut fmt::Formatter<'_>, slide: &Slide| {
            let Slide { kernel: [kw, kh], stride: [sw, sh], pad: [left, top] } = slide;
            write!(f, "{kh}x{kw} stride {sh}x{sw} pad {top},{left}")
        };
        match self {
            Self::None => Ok(()),
            Self::Conv(window, dilation) => {
                slide(f, window)?;
                if *dilation == [1, 1] {
                    Ok(())
                } else {
                    write!(f, " dilation {}x{}", dilation[1], dilation[0])
                }
            }
            Self::Pool(window, exclude_pads) => {
                slide(f, window)?;
                if *exclude_pads { f.write_str(" without pads") } else { Ok(()) }
            }
            Self::Relu { slope, .. } => write!(f, "slope {slope}"),
            Self::Elu { alpha } => write!(f, "alpha {alpha}"),
            Self::Clamp { min, max } => write!(f, "{min} to {max}"),
            Self::Power { bias, scale, power } => write!(f, "({bias} + {scale} x)^{power}"),
            Self::Softmax { axis } => write!(f, "axis {axis}"),
            Self::Lrn { size, k, alpha, beta } => {
                write!(f, "size {size} k {k} alpha {alpha} beta {beta}")
            }
            Self::Eltwise(Eltwise { factors, post, bounds, .. }) => {
                write!(f, "factors {factors:?}")?;
                match post {
                    -1 => Ok(()),
                    kind if *kind == StageKind::CLAMP.0 => write!(f, ", then clamp {bounds:?}"),
                    kind => write!(f, ", then {}", StageKind(*kind)),
                }
            }
            Self::Permute(order) => {
                let used: Vec<i32> = order.iter().copied().filter(|&at| at >= 0).collect();
                write!(f, "order {used:?}")
            }
            Self::Convert { scale, bias, .. } => write!(f, "x * {scale} + {bias}"),
            Self::Other(bytes) => write!(f, "{} bytes of parameters", bytes.len()),
        }
    }
}

/// In which order the weights of a convolution are. A file does not say it: it follows from kind and shape.
///
/// The weights' dimensions are taps `t` (rows of columns), input channels `c`, output channels `k`; each variant says
/// which is the innermost, last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightLayout {
    /// `[t][c][k]`.
    Hwck,
    /// `[k][t][c]`.
    Khwc,
    /// `[t][k][c]`.
    Hwkc,
    /// `[k][c]`, as a framework has them, of a single tap.
    Kc,
}

impl WeightLayout {
    /// The layout that firmware expects for a convolution of maps with innermost channels, and the kind of stage that
    /// computes it. For one tap on a map of one element, a fully connected stage is taken instead.
    #[must_use]
    pub const fn of(
        kernel: [u32; 2],
        input_channels: u32,
        output_channels: u32,
    ) -> (Self, StageKind) {
        let [kw, kh] = kernel;
        let products = input_channels.saturating_mul(output_channels);
        if kw % 2 == 1 && kw >= 3 && kw <= 11 && kh != 1 && products <= 256 {
            (Self::Hwck, StageKind::CONV)
        } else if kw == 1 && kh == 1 {
            (Self::Kc, StageKind::CONV)
        } else if kw == 3 && kh == 3 && input_channels > 3 && products > 256 {
            (Self::Hwkc, StageKind::CONV)
        } else {
            (Self::Khwc, StageKind::IM2COL_CONVOLUTION)
        }
    }

    /// Where the weight of tap `t`, input channel `c` and output channel `k` is, in elements; `taps`, `input_channels` and
    /// `output_channels` are how many there are.
    #[must_use]
    #[inline]
    pub const fn at(
        self,
        [t, c, k]: [usize; 3],
        [taps, input_channels, output_channels]: [usize; 3],
    ) -> usize {
        match self {
            Self::Hwck => k + output_channels * (c + input_channels * t),
            Self::Khwc => c + input_channels * (t + taps * k),
            Self::Hwkc => c + input_channels * (k + output_channels * t),
            Self::Kc => c + input_channels * k,
        }
    }
}
