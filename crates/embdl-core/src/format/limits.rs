//! What a file may ask for.

/// Bounds on what reading a file accepts, so that loading it cannot take more memory than the device has to give.
///
/// Independently of these, reading allocates at most 512 bytes for each byte of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub max_file_bytes: u64,
    /// Activations, inputs included.
    pub max_values: u64,
    /// Operators.
    pub max_nodes: u64,
    /// Weights and biases.
    pub max_tensors: u64,
    /// Elements of one weight or bias.
    pub max_elements_per_tensor: u64,
    /// Elements of all weights and biases together.
    pub max_total_elements: u64,
    /// Elements of all activations together, for a batch of one.
    pub max_activation_elements: u64,
    /// Bytes of all names together.
    pub max_name_bytes: u64,
    /// Labels of classes.
    pub max_labels: u64,
    /// Bytes of all labels together.
    pub max_label_bytes: u64,
}

impl Default for Limits {
    /// Room for VGG-16 in f32 and half as much again.
    fn default() -> Self {
        Self {
            max_file_bytes: 1 << 30,
            max_values: 4096,
            max_nodes: 4096,
            max_tensors: 8192,
            max_elements_per_tensor: 1 << 27,
            max_total_elements: 1 << 28,
            max_activation_elements: 1 << 26,
            max_name_bytes: 1 << 20,
            max_labels: 1 << 16,
            max_label_bytes: 1 << 21,
        }
    }
}

impl Limits {
    /// For microcontrollers: a file of 1 MiB, a million weights.
    #[must_use]
    pub const fn tiny() -> Self {
        Self {
            max_file_bytes: 1 << 20,
            max_values: 256,
            max_nodes: 256,
            max_tensors: 512,
            max_elements_per_tensor: 1 << 20,
            max_total_elements: 1 << 21,
            max_activation_elements: 1 << 18,
            max_name_bytes: 1 << 14,
            max_labels: 1 << 10,
            max_label_bytes: 1 << 14,
        }
    }

    /// Everything that the format can express; for files one has just written.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            max_file_bytes: u32::MAX as u64,
            max_values: u32::MAX as u64,
            max_nodes: u32::MAX as u64,
            max_tensors: u32::MAX as u64,
            max_elements_per_tensor: u32::MAX as u64,
            max_total_elements: u64::MAX,
            max_activation_elements: u64::MAX,
            max_name_bytes: u32::MAX as u64,
            max_labels: u32::MAX as u64,
            max_label_bytes: u32::MAX as u64,
        }
    }
}

/// Which of the [`Limits`] a file exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// `max_file_bytes`.
    FileBytes,
    /// `max_values`.
    Values,
    /// `max_nodes`.
    Nodes,
    /// `max_tensors`.
    Tensors,
    /// `max_elements_per_tensor`.
    ElementsPerTensor,
    /// `max_total_elements`.
    TotalElements,
    /// `max_activation_elements`.
    ActivationElements,
    /// `max_name_bytes`.
    NameBytes,
    /// `max_labels`.
    Labels,
    /// `max_label_bytes`.
    LabelBytes,
}

impl core::fmt::Display for Limit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::FileBytes => "bytes of the file",
            Self::Values => "values",
            Self::Nodes => "nodes",
            Self::Tensors => "tensors",
            Self::ElementsPerTensor => "elements of a tensor",
            Self::TotalElements => "elements of all tensors",
            Self::ActivationElements => "elements of all activations",
            Self::NameBytes => "bytes of names",
            Self::Labels => "labels",
            Self::LabelBytes => "bytes of labels",
        })
    }
}
