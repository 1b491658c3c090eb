//! Pooling, and the sliding window that it shares with convolution.

use embdl_core::op::{Op, Pool, PoolKind, Window};
use embdl_core::tensor::Shape;
use tract_onnx::pb::NodeProto;

use super::importer::{Importer, Source};
use crate::attributes::{Attributes, invalid};
use crate::error::NodeError;
use crate::layout::Order;

impl<'a> Importer<'a> {
    pub(super) fn pool(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let known = [
            "auto_pad",
            "ceil_mode",
            "count_include_pad",
            "dilations",
            "kernel_shape",
            "pads",
            "storage_order",
            "strides",
        ];
        let attributes = Attributes::new(node, &known)?;
        Self::inputs(node, 1..=1, "1")?;
        let source = self.map(node, 0)?;
        let shape = self.graph.values[source.value].shape;
        let window = window(attributes, None, [shape.dim(1), shape.dim(2)])?;
        // With automatic padding the number of windows does not depend on ceil_mode.
        let ceil = attributes.flag("ceil_mode", false)? && !is_automatic(attributes)?;
        let include_pads = attributes.flag("count_include_pad", false)?;
        let kind = match node.op_type.as_str() {
            "MaxPool" => PoolKind::Max,
            _ => PoolKind::Average { include_pads },
        };
        self.emit(node, Op::Pool(Pool { kind, window, ceil }), &[source.value], Order::Nchw)
    }

    pub(super) fn global_average_pool(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &[])?;
        Self::inputs(node, 1..=1, "1")?;
        let source = self.map(node, 0)?;
        self.emit(node, Op::GlobalAveragePool, &[source.value], Order::Nchw)
    }

    /// The mean over height and width is global average pooling.
    pub(super) fn reduce_mean(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["axes", "keepdims", "noop_with_empty_axes"])?;
        let count = Self::inputs(node, 1..=2, "1 or 2")?;
        let axes = match (attributes.ints("axes")?, count) {
            (Some(axes), _) => axes.to_vec(),
            (None, 2) => self.ints(node, 1)?.values,
            (None, _) => Vec::new(),
        };
        let Source { value, order, .. } = self.source(node, 0)?;
        let rank = self.graph.values[value].shape.rank();
        let mut reduced = axes
            .iter()
            .map(|&axis| axis_of(axis, rank).map(|axis| order.graph_axis(axis)))
            .collect::<Option<Vec<usize>>>()
            .unwrap_or_default();
        reduced.sort_unstable();
        if rank != 4 || reduced != [1, 2] {
            return Err(invalid("axes", axes, "only the mean over height and width is supported"));
        }
        if attributes.flag("keepdims", true)? {
            return self.emit(node, Op::GlobalAveragePool, &[value], order);
        }
        let pooled = self.emit_inner(node, "pooled", Op::GlobalAveragePool, value)?;
        let blocks = order.flatten(self.graph.values[pooled].shape);
        self.emit(node, Op::Flatten, &[pooled], Order::Blocks(blocks))
    }
}

/// The window that attributes describe, over an input of `size` height and width. The kernel is that of the weight
/// where there is one.
pub(super) fn window(
    attributes: Attributes<'_>,
    weight: Option<[usize; 2]>,
    size: [usize; 2],
) -> Result<Window, NodeError> {
    let kernel = match (attributes.ints("kernel_shape")?, weight) {
        (None, None) => return Err(NodeError::NoAttribute { name: "kernel_shape" }),
        (None, Some([kh, kw])) => {
            let taps = |taps: usize| {
                u32::try_from(taps).map_err(|_| invalid("kernel_shape", taps, "it is too large"))
            };
            [taps(kh)?, taps(kw)?]
        }
        (Some(given), _) => {
            let kernel = extents("kernel_shape", Some(given), 1, [0, 0])?;
            if weight.is_some_and(|weight| weight != kernel.map(|taps| taps as usize)) {
                return Err(invalid("kernel_shape", given, "it differs from the weight's"));
            }
            kernel
        }
    };
    let stride = extents("strides", attributes.ints("strides")?, 1, [1; 2])?;
    let dilation = extents("dilations", attributes.ints("dilations")?, 1, [1; 2])?;
    let mut pads = extents("pads", attributes.ints("pads")?, 0, [0; 4])?;
    if is_automatic(attributes)? {
        if pads != [0; 4] {
            return Err(invalid("pads", pads, "there are automatic pads already"));
        }
        let mode = attributes.string("auto_pad")?;
        for axis in 0..2 {
            let missing = match mode {
                Some("VALID") => 0,
                _ => missing(size[axis], kernel[axis], stride[axis], dilation[axis])?,
            };
            let before = if mode == Some("SAME_LOWER") { missing.div_ceil(2) } else { missing / 2 };
            pads[axis] = before;
            pads[axis + 2] = missing - before;
        }
    }
    Ok(Window { kernel, stride, dilation, pads })
}

/// ONNX counts negative axes from the end.
pub(super) fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    let from_end = if axis < 0 { i64::try_from(rank).ok()? } else { 0 };
    usize::try_from(axis.checked_add(from_end)?).ok().filter(|&axis| axis < rank)
}

/// Whether pads follow from the sizes.
fn is_automatic(attributes: Attributes<'_>) -> Result<bool, NodeError> {
    match attributes.string("auto_pad")? {
        None | Some("" | "NOTSET") => Ok(false),
        Some("VALID" | "SAME_UPPER" | "SAME_LOWER") => Ok(true),
        Some(other) => {
            let reason = "it has to be NOTSET, VALID, SAME_UPPER or SAME_LOWER";
            Err(invalid("auto_pad", other, reason))
        }
    }
}

/// Pads that are needed for `ceil(size / stride)` windows.
fn missing(size: usize, kernel: u32, stride: u32, dilation: u32) -> Result<u32, NodeError> {
    let [size, kernel, stride, dilation] =
        [size as u64, u64::from(kernel), u64::from(stride), u64::from(dilation)];
    let covered = (size.div_ceil(stride) - 1) * stride + dilation * (kernel - 1) + 1;
    let missing = covered.saturating_sub(size);
    u32::try_from(missing).map_err(|_| invalid("auto_pad", missing, "it asks for too many pads"))
}

/// An attribute with a number for each axis or side.
fn extents<const N: usize>(
    name: &'static str,
    given: Option<&[i64]>,
    minimum: u32,
    default: [u32; N],
) -> Result<[u32; N], NodeError> {
    let Some(given) = given else { return Ok(default) };
    let fail = || invalid(name, given, "two dimensions, no zero and no negative number, expected");
    let mut out = default;
    if given.len() != N {
        return Err(fail());
    }
    for (out, &value) in out.iter_mut().zip(given) {
        *out = u32::try_from(value).ok().filter(|&value| value >= minimum).ok_or_else(fail)?;
    }
    Ok(out)
}

/// Whether height and width of `shape` are both one.
pub(super) fn is_pixel(shape: Shape) -> bool {
    shape.rank() == 4 && shape.dim(1) == 1 && shape.dim(2) == 1
}
