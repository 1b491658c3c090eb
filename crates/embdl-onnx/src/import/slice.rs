//! Parts of activations. Slice and Split become depthwise convolutions whose kernels have one 1: a window slides over the
//! elements that are taken, and its 1 picks the first of them. The results are exact, in levels too.

use embdl_core::op::{Activation, Conv2d, Op, Window};
use embdl_core::tensor::Shape;
use embdl_graph::{Form, ParamRole};
use tract_onnx::pb::NodeProto;

use super::arrange::arranged_order;
use super::importer::{Binding, Importer, Pending, Source};
use super::pool::axis_of;
use crate::attributes::{Attributes, invalid};
use crate::error::NodeError;

/// Bits and scale of kernels of levels: the 1 is level 64, which times the scale is 1 to the last bit.
const ONE: (u8, f32) = (8, 1.0 / 64.0);

/// Elements `first`, `first + step` and so on of one dimension after the batch, `count` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    axis: usize,
    first: usize,
    step: usize,
    count: usize,
}

impl<'a> Importer<'a> {
    /// Bounds are attributes before opset 10 and inputs since then.
    pub(crate) fn slice(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["starts", "ends", "axes"])?;
        Self::inputs(node, 1..=5, "1 to 5")?;
        let mut bounds = |name, index| -> Result<Option<Vec<i64>>, NodeError> {
            match attributes.ints(name)? {
                Some(given) => Ok(Some(given.to_vec())),
                None if Self::has_input(node, index) => Ok(Some(self.ints(node, index)?.values)),
                None => Ok(None),
            }
        };
        let missing = |name| NodeError::NoAttribute { name };
        let starts = bounds("starts", 1)?.ok_or(missing("starts"))?;
        let ends = bounds("ends", 2)?.ok_or(missing("ends"))?;
        let natural = || (0..).take(starts.len()).collect();
        let axes = bounds("axes", 3)?.unwrap_or_else(natural);
        let steps = bounds("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err(invalid("starts", starts, "as many as ends, axes and steps"));
        }
        let mut source = self.source(node, 0)?;
        for (((&axis, &start), &end), &step) in axes.iter().zip(&starts).zip(&ends).zip(&steps) {
            let dims = source.order.dims();
            let own = axis_of(axis, dims.len() + 1);
            let own = own.ok_or_else(|| invalid("axes", axis, "a dimension of the input"))?;
            if step < 1 {
                return Err(invalid("steps", step, "activations are not turned around"));
            }
            let Some(own) = own.checked_sub(1) else {
                // What is beyond any batch takes all of it.
                let all = if self.batch > 1 { self.batch } else { i32::MAX as usize };
                let all = i64::try_from(all).unwrap_or(i64::MAX);
                if start == 0 && step == 1 && end >= all {
                    continue;
                }
                return Err(invalid("axes", axis, "the batch stays whole"));
            };
            let place = |bound| super::shapes::place(bound, dims[own]);
            let (first, end) = (place(start), place(end));
            let step = usize::try_from(step).unwrap_or(usize::MAX);
            let count = end.saturating_sub(first).div_ceil(step);
            if count == 0 {
                return Err(invalid("ends", end, "nothing is left"));
            }
            source = self.part(node, source, Part { axis: own, first, step, count })?;
        }
        self.bind_part(node, 0, source)
    }

    /// Sizes are an attribute before opset 13, an input since then, and equal where neither is there.
    pub(crate) fn split(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["axis", "split", "num_outputs"])?;
        Self::inputs(node, 1..=2, "1 or 2")?;
        let source = self.source(node, 0)?;
        let dims = source.order.dims();
        let given = attributes.int("axis")?.unwrap_or(0);
        let axis = axis_of(given, dims.len() + 1)
            .and_then(|axis| axis.checked_sub(1))
            .ok_or_else(|| invalid("axis", given, "an axis after the batch"))?;
        let outputs = node.output.len();
        if attributes.int("num_outputs")?.is_some_and(|count| usize::try_from(count) != Ok(outputs))
        {
            let found = attributes.int("num_outputs")?;
            return Err(invalid("num_outputs", found, "as many as the node has"));
        }
        let sizes = match attributes.ints("split")? {
            Some(sizes) => Some(sizes.to_vec()),
            None if Self::has_input(node, 1) => Some(self.ints(node, 1)?.values),
            None => None,
        };
        let sizes: Option<Vec<usize>> = match &sizes {
            Some(sizes) => sizes.iter().map(|&size| usize::try_from(size).ok()).collect(),
            None => {
                let size = dims[axis].div_ceil(outputs);
                let part = |at| dims[axis].saturating_sub(at * size).min(size);
                Some((0..outputs).map(part).collect())
            }
        };
        let fits = |sizes: &Vec<usize>| {
            let sum = sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size));
            sizes.len() == outputs && !sizes.contains(&0) && sum == Some(dims[axis])
        };
        let sizes = sizes.filter(fits).ok_or_else(|| {
            invalid("split", attributes.ints("split"), "sizes above 0 that sum up to the dimension")
        })?;
        let mut first = 0;
        for (index, count) in sizes.into_iter().enumerate() {
            let name = node.output[index].as_str();
            // A part that nobody reads is not made.
            if self.readers.contains_key(name) || self.outputs.contains(name) {
                let own = self.part(node, source.clone(), Part { axis, first, step: 1, count })?;
                self.bind_part(node, index, own)?;
            }
            first += count;
        }
        Ok(())
    }

    /// Lets output `index` of the node be `source`.
    fn bind_part(
        &mut self,
        node: &'a NodeProto,
        index: usize,
        source: Source,
    ) -> Result<(), NodeError> {
        let name = node.output[index].as_str();
        let read_once = source.read_once && self.read_once(name);
        match self.bindings.insert(name.into(), Binding::Value(Source { read_once, ..source })) {
            None => Ok(()),
            Some(_) => Err(NodeError::WrittenTwice { value: name.into() }),
        }
    }

    /// The part of `source`, itself where the part is all of it.
    fn part(&mut self, node: &NodeProto, source: Source, part: Part) -> Result<Source, NodeError> {
        let mut dims = source.order.dims();
        if part.count == dims[part.axis] {
            return Ok(source);
        }
        let axes = self.memory_axes(&source);
        let place = axes.iter().position(|&axis| axis == part.axis).unwrap_or(0);
        let sizes: Vec<usize> = axes.iter().map(|&axis| dims[axis]).collect();
        let (map, window, first) = over(&sizes, place, part);
        let value = self.arrange(node, &source, &axes, &map)?;
        let [kh, kw] = window.kernel.map(|taps| taps as usize);
        let channels = map[2];
        self.spend(channels.saturating_mul(kh * kw))?;
        let groups = u32::try_from(channels).map_err(|_| NodeError::Amplified)?;
        let shape = Shape::new(&[channels, kh, kw, 1]).ok_or(NodeError::Amplified)?;
        let kernel = (0..kh * kw).map(|tap| if tap == first { 1.0 } else { 0.0 });
        let kernel: Vec<f32> = kernel.collect();
        let name = self.fresh_name(&format!("{}.picks", node.output[0]));
        let weight = self.param(&name, ParamRole::Weight, shape, kernel.repeat(channels));
        if self.graph.values[source.value].quant.is_some() {
            let (bits, scale) = ONE;
            self.graph.params[weight].form = Form::Integer { bits, scales: vec![scale] };
        }
        let op = Op::Conv2d(Conv2d { window, groups, activation: Activation::None });
        let mut value = self.emit_inner_layer(node, "part", op, value, [Some(weight), None])?;
        dims[part.axis] = part.count;
        if dims.len() <= 3 {
            let target: Vec<usize> = axes.iter().map(|&axis| dims[axis]).collect();
            value = self.reshape_to(node, value, &target)?;
        }
        let order = arranged_order(&dims, &axes);
        Ok(Source { value, order, read_once: true, pending: Pending::NONE })
    }
}

/// A map with the elements of `sizes`, the window that slides over dimension `place` of them, and which of its taps is 1.
fn over(sizes: &[usize], place: usize, part: Part) -> ([usize; 3], Window, usize) {
    let size = sizes[place];
    let after: usize = sizes[place + 1..].iter().product();
    // Neighbours that stay together are channels, so that the window is short.
    let unit = if after == 1 && part.step == 1 {
        [part.count, size].iter().fold(part.first, |unit, &other| divisor(unit, other))
    } else {
        1
    };
    let (size, first, count) = (size / unit, part.first / unit, part.count / unit);
    let taps = size - part.step.min(size) * (count - 1).min(size);
    let tall = place == 0 && after > 1;
    let map = if tall {
        let last = sizes[sizes.len() - 1];
        [size, after / last, last]
    } else {
        [sizes[..place].iter().product(), size, after * unit]
    };
    let along = |length: usize| {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if tall { [length, 1] } else { [1, length] }
    };
    let (kernel, stride) = (along(taps), along(if count > 1 { part.step } else { 1 }));
    (map, Window { kernel, stride, dilation: [1; 2], pads: [0; 4] }, first)
}

/// Greatest common divisor.
const fn divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_short_where_they_can_be() {
        let part = |first, step, count| Part { axis: 0, first, step, count };
        // The second half of 8 channels: two blocks of four.
        let (map, window, first) = over(&[5, 7, 8], 2, part(4, 1, 4));
        assert_eq!((map, window.kernel, first), ([35, 2, 4], [1, 2], 1));
        // Channels 3 to 5 of 8 have no common block.
        let (map, window, first) = over(&[5, 7, 8], 2, part(3, 1, 2));
        assert_eq!((map, window.kernel, first), ([35, 8, 1], [1, 7], 3));
        // Every other row, and all columns but the last.
        let (map, window, first) = over(&[5, 7, 8], 0, part(1, 2, 2));
        assert_eq!((map, window.kernel, window.stride, first), ([5, 7, 8], [3, 1], [2, 1], 1));
        let (map, window, first) = over(&[5, 7, 8], 1, part(0, 1, 6));
        assert_eq!((map, window.kernel, first), ([5, 7, 8], [1, 2], 0));
        // A row of features.
        let (map, window, first) = over(&[12], 0, part(8, 1, 4));
        assert_eq!((map, window.kernel, first), ([1, 3, 4], [1, 3], 2));
    }
}
