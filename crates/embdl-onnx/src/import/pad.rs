//! Padding as a node of its own, which the next layer usually takes in, and resizing.

use embdl_core::op::{Coordinates, Op, Resize, ResizeMode};
use tract_onnx::pb::NodeProto;

use super::importer::{Importer, Pending, Source};
use super::pool::axis_of;
use crate::attributes::{Attributes, invalid};
use crate::error::NodeError;
use crate::layout::Order;
use crate::tensor::Data;

impl<'a> Importer<'a> {
    /// Zeros around height and width. Pads are attributes before opset 11 and inputs since then.
    pub(crate) fn pad(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let attributes = Attributes::new(node, &["mode", "pads", "value"])?;
        let count = Self::inputs(node, 1..=4, "1 to 4")?;
        let mode = attributes.string("mode")?.unwrap_or("constant");
        if mode != "constant" {
            return Err(invalid("mode", mode, "only constant is supported"));
        }
        let mut value = attributes.float("value")?.unwrap_or(0.0);
        if Self::has_input(node, 2) {
            value = self.scalar(node, 2)?;
        }
        let pads = match attributes.ints("pads")? {
            Some(pads) => pads.to_vec(),
            None if count > 1 => self.ints(node, 1)?.values,
            None => return Err(NodeError::NoAttribute { name: "pads" }),
        };
        let source = self.pending(node, 0)?;
        let source = if source.pending != Pending::NONE { self.source(node, 0)? } else { source };
        let rank = source.order.dims().len() + 1;
        let axes: Option<Vec<usize>> = if Self::has_input(node, 3) {
            let axes = self.ints(node, 3)?.values;
            axes.iter().map(|&axis| axis_of(axis, rank)).collect()
        } else {
            Some((0..rank).collect())
        };
        let fail = |reason| invalid("pads", &pads, reason);
        let axes = axes.filter(|axes| pads.len() == 2 * axes.len());
        let axes = axes.ok_or_else(|| fail("two for each dimension"))?;
        if pads.iter().all(|&pad| pad == 0) {
            return self.alias(node, source);
        }
        if value != 0.0 {
            return Err(invalid("value", value, "only pads of zero are supported"));
        }
        // Which dimensions of the file are height and width.
        let is_nhwc = self.memory_axes(&source) == [0, 1, 2] && rank == 4;
        let spatial = if is_nhwc { [1, 2] } else { [2, 3] };
        let mut own = [0_u32; 4];
        for (at, &axis) in axes.iter().enumerate() {
            for (side, &pad) in [pads[at], pads[at + axes.len()]].iter().enumerate() {
                let place = spatial.iter().position(|&own| own == axis && rank == 4);
                match (u32::try_from(pad), place) {
                    (Ok(0), _) => {}
                    (Ok(pad), Some(place)) => own[place + 2 * side] = pad,
                    (Ok(_), None) => return Err(fail("only height and width are padded")),
                    (Err(_), _) => return Err(fail("nothing is cut off")),
                }
            }
        }
        let [h, w] = [0, 1].map(|at| own[at] as usize + own[at + 2] as usize);
        let dims = source.order.dims();
        if is_nhwc {
            // Seen as a map while the pads wait, and as the file has it again behind them.
            let value = self.arrange(node, &source, &[0, 1, 2], &dims)?;
            let order = Order::nchw([dims[0], dims[1], dims[2]]);
            let pending = Pending { pads: own, ..Pending::NONE };
            let source = self.settle(node, Source { value, order, pending, ..source })?;
            let dims = [dims[0] + h, dims[1] + w, dims[2]];
            return self.bind_value(node, source.value, Order::plain(&dims));
        }
        let pending = Pending { pads: own, ..Pending::NONE };
        self.alias(node, Source { pending, ..source })
    }

    /// Another height and width, by factors or as given. Upsample is the Resize of old, with its own coordinates.
    pub(crate) fn resize(&mut self, node: &'a NodeProto) -> Result<(), NodeError> {
        let is_old = node.op_type == "Upsample" || self.opset < 11;
        let known: &[&str] = if is_old {
            &["mode", "scales"]
        } else {
            &[
                "antialias",
                "axes",
                "coordinate_transformation_mode",
                "cubic_coeff_a",
                "exclude_outside",
                "extrapolation_value",
                "keep_aspect_ratio_policy",
                "mode",
                "nearest_mode",
            ]
        };
        let attributes = Attributes::new(node, known)?;
        Self::inputs(node, 1..=4, "1 to 4")?;
        for flag in ["antialias", "exclude_outside"] {
            if attributes.flag(flag, false)? {
                return Err(invalid(flag, 1, "only 0 is supported"));
            }
        }
        let policy = attributes.string("keep_aspect_ratio_policy")?.unwrap_or("stretch");
        if policy != "stretch" {
            return Err(invalid("keep_aspect_ratio_policy", policy, "only stretch is supported"));
        }
        let source = self.source(node, 0)?;
        let dims = source.order.dims();
        let rank = dims.len() + 1;
        let axes = match attributes.ints("axes")? {
            Some(axes) => axes.iter().map(|&axis| axis_of(axis, rank)).collect(),
            None => Some((0..rank).collect::<Vec<usize>>()),
        };
        let axes =
            axes.ok_or_else(|| invalid("axes", attributes.ints("axes"), "each dimension once"))?;
        let to = self.resized(node, attributes, is_old, &axes, &dims)?;
        let changed: Vec<usize> = (0..dims.len()).filter(|&axis| to[axis] != dims[axis]).collect();
        let layout = match dims.len() {
            3 if !changed.contains(&0) => [1, 2, 0],
            3 if !changed.contains(&2) => [0, 1, 2],
            _ => {
                let (value, reason) = (node.input[0].clone(), "only height and width are resized");
                return Err(NodeError::Layout { value, reason });
            }
        };
        let [h, w, c] = layout;
        let sizes = [[to[h], to[w]], [dims[h], dims[w]]];
        let (mode, coordinates) = how(attributes, is_old, sizes[0], sizes[1])?;
        let value = self.arrange(node, &source, &layout, &[dims[h], dims[w], dims[c]])?;
        let op = Op::Resize(Resize { height: to[h], width: to[w], mode, coordinates });
        self.emit(node, op, &[value], super::arrange::arranged_order(&to, &layout))
    }

    /// The new dimensions after the batch.
    fn resized(
        &mut self,
        node: &'a NodeProto,
        attributes: Attributes<'_>,
        is_old: bool,
        axes: &[usize],
        dims: &[usize],
    ) -> Result<Vec<usize>, NodeError> {
        let mut to = dims.to_vec();
        let scales = match (attributes_floats(attributes, is_old)?, is_old) {
            (Some(scales), _) => scales,
            (None, _) if !is_old && Self::has_input(node, 3) => {
                let sizes = self.ints(node, 3)?.values;
                for (&axis, &size) in axes.iter().zip(&sizes) {
                    let size = usize::try_from(size).ok().filter(|&size| size > 0);
                    let size = size.ok_or_else(|| invalid("sizes", &sizes, "at least 1"))?;
                    match axis.checked_sub(1) {
                        Some(axis) => to[axis] = size,
                        None if size == self.batch => {}
                        None => return Err(invalid("sizes", &sizes, "the batch stays")),
                    }
                }
                if sizes.len() != axes.len() {
                    return Err(invalid("sizes", &sizes, "one for each dimension"));
                }
                return Ok(to);
            }
            (None, _) => {
                let index = if is_old { 1 } else { 2 };
                if !Self::has_input(node, index) {
                    return Err(NodeError::NoAttribute { name: "scales" });
                }
                let constant = self.constant(node, index)?;
                match &constant.data {
                    Data::Floats(values) => values.clone(),
                    _ => return Err(invalid("scales", "integers", "floats")),
                }
            }
        };
        if scales.len() != axes.len() {
            return Err(invalid("scales", scales, "one for each dimension"));
        }
        for (&axis, &scale) in axes.iter().zip(&scales) {
            let Some(axis) = axis.checked_sub(1) else {
                if scale != 1.0 {
                    return Err(invalid("scales", scales, "the batch stays"));
                }
                continue;
            };
            #[expect(clippy::cast_precision_loss, reason = "extents are below 2^24")]
            let exact = f64::from(dims[axis] as f32) * f64::from(scale);
            // A factor that is rounded to f32 may miss the whole number that it stands for.
            let nearest = (exact + 0.5).floor();
            let size = if (exact - nearest).abs() < 1e-4 { nearest } else { exact.floor() };
            if !(1.0..=65_536.0).contains(&size) {
                return Err(invalid("scales", scales, "results of 1 to 65,536 elements"));
            }
            if size != nearest || (exact - nearest).abs() >= 1e-4 {
                let reason = "only factors that give whole numbers, or sizes, are supported";
                return Err(invalid("scales", scales, reason));
            }
            #[expect(clippy::cast_possible_truncation, reason = "1 to 65,536")]
            #[expect(clippy::cast_sign_loss, reason = "1 to 65,536")]
            let size = size as usize;
            to[axis] = size;
        }
        Ok(to)
    }
}

fn attributes_floats(
    attributes: Attributes<'_>,
    is_old: bool,
) -> Result<Option<Vec<f32>>, NodeError> {
    if !is_old {
        return Ok(None);
    }
    Ok(attributes.floats("scales")?.map(<[f32]>::to_vec))
}

/// Interpolation and coordinates, as far as they are those of a graph.
fn how(
    attributes: Attributes<'_>,
    is_old: bool,
    to: [usize; 2],
    from: [usize; 2],
) -> Result<(ResizeMode, Coordinates), NodeError> {
    let mode = match attributes.string("mode")?.unwrap_or("nearest") {
        "nearest" => ResizeMode::Nearest,
        // The name of opset 7.
        "linear" | "bilinear" => ResizeMode::Linear,
        other => return Err(invalid("mode", other, "nearest or linear")),
    };
    let name = if is_old { None } else { attributes.string("coordinate_transformation_mode")? };
    let name = name.unwrap_or(if is_old { "asymmetric" } else { "half_pixel" });
    let coordinates = match name {
        "half_pixel" => Coordinates::HalfPixel,
        // They differ from half a pixel where the result is a single one.
        "pytorch_half_pixel" if to.iter().zip(from).all(|(&to, from)| to > 1 || from == 1) => {
            Coordinates::HalfPixel
        }
        // Both mean the same where factors give whole numbers.
        "half_pixel_symmetric" => Coordinates::HalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        other => {
            let reason = "half_pixel, align_corners or asymmetric";
            return Err(invalid("coordinate_transformation_mode", other, reason));
        }
    };
    if mode == ResizeMode::Linear {
        return Ok((mode, coordinates));
    }
    let rounding = if is_old { None } else { attributes.string("nearest_mode")? };
    let rounding = rounding.unwrap_or(if is_old { "floor" } else { "round_prefer_floor" });
    // Whole factors at asymmetric coordinates: rounding down is what every new file asks for.
    match (coordinates, rounding) {
        (Coordinates::Asymmetric, "floor")
        | (Coordinates::HalfPixel | Coordinates::AlignCorners, "round_prefer_floor") => {
            Ok((mode, coordinates))
        }
        _ => {
            let reason = "floor for asymmetric coordinates, round_prefer_floor for others";
            Err(invalid("nearest_mode", rounding, reason))
        }
    }
}
