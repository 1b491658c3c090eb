//! What filters see: windows of a layer's inputs, as columns.

use embdl_core::op::{Conv2d, Op};
use embdl_core::tensor::Shape;

use crate::walk::Layer;

/// Positions that are looked at, over all samples.
const POSITIONS: usize = 4096;

/// Geometry of a layer, from inputs to the rows of its weight.
pub(crate) struct Patches {
    conv: Option<Conv2d>,
    input: Shape,
    output: Shape,
    depth: usize,
}

impl Patches {
    /// Of a layer whose filters have `depth` weights.
    pub(crate) fn new(op: &Op, input: Shape, output: Shape, depth: usize) -> Self {
        let conv = if let Op::Conv2d(conv) = op { Some(*conv) } else { None };
        Self { conv, input, output, depth }
    }

    /// Inputs of a group's filters, `depth × positions`, and the results wanted of them without the bias,
    /// `rows_a_group × positions`, at positions spread over all samples.
    pub(crate) fn gather(
        &self,
        layer: &Layer<'_>,
        group: usize,
        rows_a_group: usize,
        rows: usize,
        bias: Option<&[f32]>,
    ) -> (Vec<f32>, Vec<f32>) {
        let places = self.output.len() / rows;
        let all = places * layer.inputs.len();
        let count = all.min(POSITIONS);
        let (mut x, mut y) = (vec![0.0; self.depth * count], vec![0.0; rows_a_group * count]);
        let mut patch = vec![0.0; self.depth];
        for index in 0..count {
            // Spread evenly, and not always the same column of an image.
            let at = index * all / count;
            let (sample, place) = (at / places, at % places);
            self.patch(&layer.inputs[sample], group, place, &mut patch);
            patch.iter().enumerate().for_each(|(k, &value)| x[k * count + index] = value);
            let first = group * rows_a_group;
            for row in 0..rows_a_group {
                let own = bias.map_or(0.0, |bias| bias[first + row]);
                y[row * count + index] = layer.results[sample][place * rows + first + row] - own;
            }
        }
        (x, y)
    }

    fn patch(&self, input: &[f32], group: usize, place: usize, patch: &mut [f32]) {
        let Some(conv) = &self.conv else {
            patch.copy_from_slice(input);
            return;
        };
        let [height, width, channels] = [self.input.dim(1), self.input.dim(2), self.input.dim(3)];
        let own = channels / conv.groups as usize;
        let out_width = self.output.dim(2);
        let window = &conv.window;
        let [kernel, stride, dilation] =
            [window.kernel, window.stride, window.dilation].map(|pair| pair.map(|n| n as usize));
        let [top, left] = [window.pads[0] as usize, window.pads[1] as usize];
        let (row, column) = (place / out_width * stride[0], place % out_width * stride[1]);
        for (tap, part) in patch.chunks_exact_mut(own).enumerate() {
            let h = row + tap / kernel[1] * dilation[0];
            let w = column + tap % kernel[1] * dilation[1];
            if h < top || w < left || h - top >= height || w - left >= width {
                part.fill(0.0);
                continue;
            }
            let from = ((h - top) * width + w - left) * channels + group * own;
            part.copy_from_slice(&input[from..from + own]);
        }
    }
}
