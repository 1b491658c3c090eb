//! A graph of version 2.3 as one of version 5.0, which the emulated device runs. The kinds of stages are the same; layouts of weights
//! and the way that biases and activations are said differ.

use std::borrow::Cow;

use super::{NcsdkGraph, NcsdkStage, NcsdkTensor, Place};
use crate::blob::read::BlobError;
use crate::blob::stage::{Params, Slide, Stage, StageKind, WeightLayout};
use crate::blob::{
    ALIGNMENT, Blob, Desc, ElementType, Io, Location, MAX_DDR_BYTES, MAX_GRAPH_BYTES, Order,
    SHAVES, TensorRef,
};

/// Pads that make the result as large as the input divided by the stride.
const SAME: u32 = 3;

impl NcsdkStage {
    /// Attributes as version 5.0 has them, without pads that depend on extents; `None` for kinds that are not known.
    pub(super) fn known_params(&self) -> Option<Params> {
        let slide = |at: usize| {
            let pair = |at: usize| Some([*self.params.get(at)?, *self.params.get(at + 1)?]);
            Some(Slide { kernel: pair(at)?, stride: pair(at + 2)?, pad: pair(at + 4)? })
        };
        match self.kind {
            StageKind::CONV => {
                let dilation = *self.params.get(7)?;
                Some(Params::Conv(slide(0)?, [dilation; 2]))
            }
            StageKind::FC | StageKind::SIGMOID => Some(Params::None),
            _ => None,
        }
    }
}

impl NcsdkGraph<'_> {
    /// The same graph as version 5.0 says it, to be run.
    ///
    /// # Errors
    /// If a stage is of a kind whose attributes are not known, or a tensor lies outside of its memory.
    pub fn lower(&self) -> Result<Blob<'static>, BlobError> {
        let bss = self.work_bytes();
        let too_large = BlobError::TooLarge {
            what: "intermediate tensors",
            found: bss,
            allowed: MAX_DDR_BYTES,
        };
        let bss_bytes = u32::try_from(bss).ok().filter(|_| bss <= MAX_DDR_BYTES);
        let bss_bytes = bss_bytes.ok_or(too_large)?;
        let mut lowering = Lowering { graph: self, constants: Vec::new(), stages: Vec::new() };
        for (index, stage) in self.stages.iter().enumerate() {
            let error = |reason| BlobError::Stage { stage: index, kind: stage.kind, reason };
            lowering.stage(stage).map_err(error)?;
        }
        let memories = [2 * self.input_elements as usize, 2 * self.output_elements as usize, bss];
        check(&lowering.stages, memories)?;
        let io = |name: &str, elements: u32| Io {
            name: name.into(),
            offset: 0,
            desc: Desc {
                element: ElementType::F16,
                order: Order::C,
                dims: vec![elements],
                strides: vec![2],
            },
        };
        Ok(Blob {
            inputs: vec![io("input", self.input_elements)],
            outputs: vec![io("output", self.output_elements)],
            inputs_bytes: self.input_elements.saturating_mul(2),
            outputs_bytes: self.output_elements.saturating_mul(2),
            batch: 1,
            bss_bytes,
            cmx_slices: self.shaves,
            shaves: self.shaves.clamp(1, SHAVES),
            stages: lowering.stages,
            constants: Cow::Owned(lowering.constants),
        })
    }
}

/// Tensors of stages lie within their memories: input, output, intermediate tensors. Constants were made to fit.
fn check(stages: &[Stage], [input, output, bss]: [usize; 3]) -> Result<(), BlobError> {
    for (stage, of) in stages.iter().enumerate() {
        for (buffer, tensor) in of.buffers.iter().enumerate() {
            let available = match tensor.location {
                Location::Input(_) => input,
                Location::Output(_) => output,
                Location::Bss => bss,
                _ => continue,
            };
            let extent = tensor.desc.extent_bytes().unwrap_or(usize::MAX);
            let end = (tensor.offset as usize).saturating_add(extent);
            if end > available {
                return Err(BlobError::TensorOutside { stage, buffer, end, available });
            }
        }
    }
    Ok(())
}

struct Lowering<'g> {
    graph: &'g NcsdkGraph<'g>,
    constants: Vec<u8>,
    stages: Vec<Stage>,
}

impl Lowering<'_> {
    fn stage(&mut self, stage: &NcsdkStage) -> Result<(), &'static str> {
        if stage.kind == StageKind::NONE {
            return Ok(());
        }
        let params = stage.known_params().ok_or("what its attributes mean is not known")?;
        let [input, output, ..] = &stage.tensors[..] else { return Err("a tensor is missing") };
        let [from, to] = [map(input)?, map(output)?];
        let channels = output.dims[2];
        let (params, weights) = match (params, stage.kind) {
            (Params::Conv(slide, dilation), _) => {
                let slide = padded(slide, stage.params[6], input, output)?;
                let dims =
                    [slide.kernel[0].saturating_mul(slide.kernel[1]), input.dims[2], channels];
                let (layout, kind) = WeightLayout::of(slide.kernel, input.dims[2], channels);
                // Its scratch is the emulator's own affair.
                let weights = self.weights(&stage.tensors[2], dims, layout)?;
                (Params::Conv(slide, dilation), Some((kind, weights)))
            }
            (params, StageKind::FC) => {
                let taps = input.dims[0].saturating_mul(input.dims[1]);
                let dims = [taps, input.dims[2], channels];
                let weights = self.weights(&stage.tensors[2], dims, WeightLayout::Hwck)?;
                (params, Some((StageKind::FC, weights)))
            }
            (params, _) => (params, None),
        };
        let mut buffers = vec![from, to.clone()];
        let kind = match weights {
            Some((kind, weights)) => {
                buffers.push(weights);
                kind
            }
            None => stage.kind,
        };
        let shaves = self.graph.shaves.clamp(1, SHAVES);
        self.stages.push(Stage { kind, shaves, params, buffers });
        self.epilogue(stage, &to)
    }

    /// Bias and activation, in place.
    fn epilogue(&mut self, stage: &NcsdkStage, to: &TensorRef) -> Result<(), &'static str> {
        let bias = match stage.tensors.get(3).map(|tensor| tensor.place) {
            Some(Place::Constants(at)) => Some(self.vector(at, to.desc.dim(3))?),
            _ => None,
        };
        let is_relu = match stage.then {
            StageKind::NONE | StageKind::BIAS => false,
            StageKind::RELU => true,
            _ => return Err("what is done to its result is not known"),
        };
        let relu = Params::Relu { has_bias: bias.is_some(), slope: 0.0 };
        let (kind, params) = match (&bias, is_relu) {
            (None, false) => return Ok(()),
            (None, true) => (StageKind::RELU, relu),
            (Some(_), false) => (StageKind::BIAS, Params::None),
            (Some(_), true) => (StageKind::BIAS_RELU, relu),
        };
        let buffers = [to.clone(), to.clone()].into_iter().chain(bias).collect();
        let shaves = self.graph.shaves.clamp(1, SHAVES);
        self.stages.push(Stage { kind, shaves, params, buffers });
        Ok(())
    }

    /// Weights of `[taps, input channels, output channels]`, in another layout.
    fn weights(
        &mut self,
        tensor: &NcsdkTensor,
        dims: [u32; 3],
        layout: WeightLayout,
    ) -> Result<TensorRef, &'static str> {
        let outside = "its weights are not in the constants";
        let Place::Constants(at) = tensor.place else { return Err(outside) };
        let desc = Desc::compact(ElementType::F16, Order::CHW, &dims).ok_or(outside)?;
        let len = desc.len().and_then(|len| len.checked_mul(2)).ok_or(outside)?;
        let from = self.graph.constants.get(at as usize..).and_then(|rest| rest.get(..len));
        let from = from.ok_or(outside)?;
        let of = dims.map(|dim| dim as usize);
        let place = self.reserve(len)?;
        let into = &mut self.constants[place as usize..];
        for t in 0..of[0] {
            for c in 0..of[1] {
                for k in 0..of[2] {
                    let source = 2 * WeightLayout::Hwck.at([t, c, k], of);
                    let target = 2 * layout.at([t, c, k], of);
                    into[target..target + 2].copy_from_slice(&from[source..source + 2]);
                }
            }
        }
        Ok(TensorRef { desc, location: Location::Constants, offset: place })
    }

    fn vector(&mut self, at: u32, count: u32) -> Result<TensorRef, &'static str> {
        let outside = "its bias is not in the constants";
        let desc = Desc::compact(ElementType::F16, Order::C, &[count]).ok_or(outside)?;
        let len = 2 * count as usize;
        let from = self.graph.constants.get(at as usize..).and_then(|rest| rest.get(..len));
        let from = from.ok_or(outside)?;
        let place = self.reserve(len)?;
        self.constants[place as usize..][..len].copy_from_slice(from);
        Ok(TensorRef { desc, location: Location::Constants, offset: place })
    }

    /// Room for so many bytes. Stages may share constants, and a file that has many do so is not for this chip.
    fn reserve(&mut self, len: usize) -> Result<u32, &'static str> {
        let start = self.constants.len().next_multiple_of(ALIGNMENT);
        if start.saturating_add(len) > MAX_GRAPH_BYTES {
            return Err("there are more weights than the chip takes");
        }
        self.constants.resize(start + len, 0);
        u32::try_from(start).map_err(|_| "there are more weights than the chip takes")
    }
}

/// A map with innermost channels.
fn map(tensor: &NcsdkTensor) -> Result<TensorRef, &'static str> {
    let [x, y, z] = tensor.dims;
    let [sx, sy, sz] = tensor.strides;
    let (location, offset) = match tensor.place {
        Place::Input => (Location::Input(0), 0),
        Place::Output => (Location::Output(0), 0),
        Place::Work(at) => (Location::Bss, at),
        Place::Absent | Place::Constants(_) => return Err("it does not read or write a map"),
    };
    if tensor.dims.contains(&0) {
        return Err("a map has no elements");
    }
    let whole = sy.max(sx).max(sz);
    let desc = Desc {
        element: ElementType::F16,
        order: Order::NHWC,
        dims: vec![z, x, y, 1],
        strides: vec![sz, sx, sy, whole],
    };
    Ok(TensorRef { desc, location, offset })
}

/// The window with the pads that its style means.
fn padded(
    slide: Slide,
    style: u32,
    input: &NcsdkTensor,
    output: &NcsdkTensor,
) -> Result<Slide, &'static str> {
    let pad = match style {
        1 => [0, 0],
        2 => slide.pad,
        SAME => [0, 1].map(|axis: usize| {
            let reach = output.dims[axis].saturating_sub(1).saturating_mul(slide.stride[axis]);
            let all = reach.saturating_add(slide.kernel[axis]).saturating_sub(input.dims[axis]);
            all / 2
        }),
        _ => return Err("its style of pads is not known"),
    };
    Ok(Slide { pad, ..slide })
}
