//! Pooling, and the sliding window that it shares with convolution.

use embdl_core::op::{Activation, Op, Pool, PoolKind, Window};
use embdl_core::tensor::Shape;
use tract_onnx::pb::NodeProto;

use super::importer::{Importer, Pending, Source};
use crate::attributes::{Attributes, invalid};
use crate::error::NodeError;
use crate::layout::Order;

impl<'a> Importer<'a> {
    pub(crate) fn pool(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
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
        let automatic = is_automatic(attributes)?;
        let mut include_pads = attributes.flag("count_include_pad", false)?;
        let is_max = node.op_type == "MaxPool";
        let source = self.pending(node, 0)?;
        let more = source.pending.pads;
        let own_pads =
            attributes.ints("pads")?.is_some_and(|pads| pads.iter().any(|&pad| pad != 0));
        // Zeros never win where nothing is below them, and count in a mean where its own pads do, or where it has none.
        let in_passing = source.pending.has_pads()
            && !source.pending.has_affine()
            && !automatic
            && if is_max { self.is_not_negative(&source) } else { include_pads || !own_pads };
        let (source, more) = if in_passing {
            let source = Source { pending: Pending::NONE, ..source };
            include_pads = true;
            (self.as_map(node, 0, source)?, more)
        } else {
            (self.map(node, 0)?, [0; 4])
        };
        let input = self.graph.values[source.value].shape;
        let mut window = window(attributes, None, [input.dim(1), input.dim(2)])?;
        for (pad, more) in window.pads.iter_mut().zip(more) {
            *pad = pad.saturating_add(more);
        }
        // With automatic padding the number of windows does not depend on ceil_mode.
        let ceil = attributes.flag("ceil_mode", false)? && !automatic;
        let kind = if is_max { PoolKind::Max } else { PoolKind::Average { include_pads } };
        let op = Op::Pool(Pool { kind, window, ceil });
        let order = map_order(op.infer(&[input], None)?);
        self.emit(node, op, &[source.value], order)
    }

    /// Whether no element of the value is below zero.
    fn is_not_negative(&self, source: &Source) -> bool {
        let writer = self.writers.get(&source.value).map(|&id| &self.graph.nodes[id].op);
        writer.is_some_and(|op| op.activation() != Activation::None)
    }

    pub(crate) fn global_pool(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        Attributes::new(node, &[])?;
        Self::inputs(node, 1..=1, "1")?;
        let source = self.map(node, 0)?;
        self.emit_global(node, source, node.op_type == "GlobalMaxPool")
    }

    fn emit_global(
        &mut self,
        node: &'a NodeProto,
        source: Source,
        is_max: bool,
    ) -> Result<(), NodeError> {
        let shape = self.graph.values[source.value].shape;
        let op = if is_max { whole_map(shape)? } else { Op::GlobalAveragePool };
        let order = map_order(op.infer(&[shape], None)?);
        self.emit(node, op, &[source.value], order)
    }

    /// The mean, the maximum or the sum over some dimensions is global pooling.
    pub(crate) fn reduce(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["axes", "keepdims", "noop_with_empty_axes"])?;
        let count = Self::inputs(node, 1..=2, "1 or 2")?;
        let given = match (attributes.ints("axes")?, count) {
            (Some(axes), _) => axes.to_vec(),
            (None, 2) => self.ints(node, 1)?.values,
            (None, _) => Vec::new(),
        };
        let source = self.source(node, 0)?;
        if given.is_empty() && attributes.flag("noop_with_empty_axes", false)? {
            return self.alias(node, source);
        }
        let dims = source.order.dims();
        let fail = || invalid("axes", &given, "dimensions after the batch, at least one");
        let mut reduced = given
            .iter()
            .map(|&axis| axis_of(axis, dims.len() + 1)?.checked_sub(1))
            .collect::<Option<Vec<usize>>>()
            .filter(|axes| !axes.is_empty())
            .ok_or_else(fail)?;
        reduced.sort_unstable();
        reduced.dedup();
        let is_max = node.op_type == "ReduceMax";
        let keep = attributes.flag("keepdims", true)?;
        let kept: Vec<usize> = (0..dims.len()).filter(|axis| !reduced.contains(axis)).collect();
        let axes: Vec<usize> = reduced.iter().chain(&kept).copied().collect();
        let product = |axes: &[usize]| axes.iter().map(|&axis| dims[axis]).product::<usize>();
        let channels = product(&kept);
        let target = match *reduced {
            [first, second] => [dims[first], dims[second], channels],
            _ => [product(&reduced), 1, channels],
        };
        let value = self.arrange(node, &source, &axes, &target)?;
        let shape = self.graph.values[value].shape;
        let op = if is_max { whole_map(shape)? } else { Op::GlobalAveragePool };
        let rest: Vec<usize> = (0..dims.len())
            .filter(|axis| keep || kept.contains(axis))
            .map(|axis| if kept.contains(&axis) { dims[axis] } else { 1 })
            .collect();
        // What is left stands in memory in the file's order.
        let order = Order::plain(&rest);
        if rest.len() == 3 && rest[1..] == [1, 1] {
            self.emit(node, op, &[value], map_order(Shape::nhwc(1, 1, 1, channels)))?;
        } else {
            let pooled = self.emit_inner(node, "pooled", op, value)?;
            if rest.len() == 1 {
                self.emit(node, Op::Flatten, &[pooled], order)?;
            } else {
                self.bind_value(node, pooled, order)?;
            }
        }
        if node.op_type == "ReduceSum" {
            #[expect(clippy::cast_precision_loss, reason = "elements of a sample")]
            let scale = product(&reduced) as f64;
            self.wait(node, Pending { scale, ..Pending::NONE });
        }
        Ok(())
    }
}

/// Max pooling over all of a map.
fn whole_map(shape: Shape) -> Result<Op, NodeError> {
    let extent = |axis: usize| {
        u32::try_from(shape.dim(axis)).map_err(|_| invalid("kernel_shape", shape, "too large"))
    };
    let window = Window { kernel: [extent(1)?, extent(2)?], ..Window::square(1, 1) };
    Ok(Op::Pool(Pool { kind: PoolKind::Max, window, ceil: false }))
}

/// The order of a map that is `[n, h, w, c]` in the graph and `[n, c, h, w]` in the file.
pub(super) fn map_order(shape: Shape) -> Order {
    Order::nchw([shape.dim(1), shape.dim(2), shape.dim(3)])
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
pub(super) fn is_automatic(attributes: Attributes<'_>) -> Result<bool, NodeError> {
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
