//! Stages under construction, over tensors that get their places in the end.

use std::borrow::Cow;

use embdl_core::model::{Model, Node, ValueId};
use embdl_core::op::Op;
use embdl_core::plan::{self, Buffer};
use embdl_core::tensor::{Shape, ValueType};

use super::values::{Home, homes};
use super::{CompileError, CompileOptions, Compiled, FIFO_ELEMENTS};
use crate::blob::{
    ALIGNMENT, Blob, Desc, ElementType, Io, Location, MAX_GRAPH_BYTES, MAX_TENSOR_BYTES, Order,
    Params, Stage, StageKind, TensorRef,
};

/// Bytes that are left free behind every intermediate tensor: convolutions of early firmware are known to write beyond theirs.
const GUARD: usize = 256;

/// A tensor that has a memory, and in it a place that may still be open.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) desc: Desc,
    memory: Memory,
    offset: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    None,
    Input(u32),
    Output(u32),
    Constants,
    /// An intermediate buffer.
    Buffer(usize),
}

impl Tensor {
    /// A part of the tensor: `len` from `start` along dimension `position`, which is counted from the innermost.
    pub(super) fn slice(&self, position: usize, start: u32, len: u32) -> Self {
        let mut part = self.clone();
        part.offset += start * part.desc.strides[position];
        part.desc.dims[position] = len;
        part
    }

    /// What stands where a stage takes no tensor beside this one: the same order, all dimensions 1.
    pub(super) fn absent_beside(&self) -> Self {
        let ones = vec![1; self.desc.dims.len()];
        let desc = Desc::compact(ElementType::F16, self.desc.order, &ones);
        Self { desc: desc.expect("a single element"), memory: Memory::None, offset: 0 }
    }

    /// The same bytes under other dimensions; the tensor has no gaps.
    fn reshaped(&self, shape: Shape) -> Self {
        Self { desc: desc_of(shape), ..self.clone() }
    }
}

struct Draft {
    kind: StageKind,
    params: Params,
    tensors: Vec<Tensor>,
    node: Option<usize>,
}

/// Collects stages.
pub(super) struct Builder<'a> {
    pub(super) model: &'a Model<'a>,
    types: Vec<ValueType>,
    options: CompileOptions,
    homes: Vec<Home>,
    /// Intermediate buffer of each value that has one.
    buffer_of: Vec<Option<usize>>,
    buffers: Vec<usize>,
    drafts: Vec<Draft>,
    pub(super) constants: Vec<u8>,
    inputs: Vec<Io>,
    outputs: Vec<Io>,
    io_bytes: [u32; 2],
    node: Option<usize>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        model: &'a Model<'a>,
        types: Vec<ValueType>,
        options: &CompileOptions,
    ) -> Result<Self, CompileError> {
        for kind in &types {
            let needed = kind.shape.checked_len().and_then(|len| len.checked_mul(2));
            let needed = needed.unwrap_or(usize::MAX);
            if needed > MAX_TENSOR_BYTES {
                let what = "an activation";
                return Err(CompileError::TooLarge { what, needed, allowed: MAX_TENSOR_BYTES });
            }
        }
        let io = |what: &str, values: &[ValueId]| {
            let mut list = Vec::new();
            let mut end = 0_usize;
            for (index, &value) in values.iter().enumerate() {
                let offset = end.next_multiple_of(ALIGNMENT);
                let desc = desc_of(types[value].shape);
                end = offset + bytes_of(&desc);
                let name = match &model.values[value].name {
                    name if name.is_empty() => format!("{what}{index}"),
                    name => name.clone(),
                };
                let allowed = super::MAX_DDR_BYTES;
                let too_large =
                    |_| CompileError::TooLarge { what: "inputs or outputs", needed: end, allowed };
                list.push(Io { name, offset: u32::try_from(offset).map_err(too_large)?, desc });
            }
            let needed = end;
            let allowed = super::MAX_DDR_BYTES;
            let error = CompileError::TooLarge { what: "inputs or outputs", needed, allowed };
            let end = u32::try_from(end).ok().filter(|&end| end as usize <= allowed);
            Ok::<_, CompileError>((list, end.ok_or(error)?))
        };
        let (inputs, inputs_bytes) = io("input", &model.inputs)?;
        let (outputs, outputs_bytes) = io("output", &model.outputs)?;
        Ok(Self {
            model,
            homes: homes(model),
            buffer_of: vec![None; types.len()],
            types,
            options: *options,
            buffers: Vec::new(),
            drafts: Vec::new(),
            constants: Vec::new(),
            inputs,
            outputs,
            io_bytes: [inputs_bytes, outputs_bytes],
            node: None,
        })
    }

    /// Says which node the next stages are a part of.
    pub(super) const fn start(&mut self, node: usize) {
        self.node = Some(node);
    }

    /// Shape of a value.
    pub(super) fn shape(&self, value: ValueId) -> Shape {
        self.types[value].shape
    }

    /// The tensor of a value, to be read or written.
    pub(super) fn tensor(&mut self, value: ValueId) -> Tensor {
        let shape = self.shape(value);
        let desc = desc_of(shape);
        match self.homes[value] {
            Home::Input(index) => Tensor { desc, memory: Memory::Input(small(index)), offset: 0 },
            Home::Output(index) => Tensor { desc, memory: Memory::Output(small(index)), offset: 0 },
            Home::Same(of) => self.tensor(of).reshaped(shape),
            Home::Part { whole, start, axis } => {
                let position = shape.rank() - 1 - axis;
                self.tensor(whole).slice(position, small(start), small(shape.dim(axis)))
            }
            Home::Own => {
                let buffer = match self.buffer_of[value] {
                    Some(buffer) => buffer,
                    None => {
                        let buffer = self.buffer(bytes_of(&desc));
                        self.buffer_of[value] = Some(buffer);
                        buffer
                    }
                };
                Tensor { desc, memory: Memory::Buffer(buffer), offset: 0 }
            }
        }
    }

    /// The map that a flat value is another name of, where it is one: fully connected layers take it as it is.
    pub(super) fn map_of(&mut self, value: ValueId) -> Tensor {
        let mut from = value;
        while let Home::Same(of) = self.homes[from] {
            from = of;
            if self.shape(from).rank() == 4 {
                return self.tensor(from);
            }
        }
        self.tensor(value)
    }

    /// A tensor without gaps for something between two stages.
    pub(super) fn temporary(&mut self, desc: &Desc) -> Tensor {
        let desc = Desc::compact(desc.element, desc.order, &desc.dims).expect("it is no larger");
        let buffer = self.buffer(bytes_of(&desc));
        Tensor { desc, memory: Memory::Buffer(buffer), offset: 0 }
    }

    /// Scratch of so many elements for a stage.
    pub(super) fn scratch(&mut self, elements: usize) -> Result<Tensor, CompileError> {
        let too_large = CompileError::TooLarge {
            what: "scratch of a convolution",
            needed: elements.saturating_mul(2),
            allowed: MAX_TENSOR_BYTES,
        };
        let elements = u32::try_from(elements).ok();
        let elements = elements.filter(|&elements| elements as usize <= MAX_TENSOR_BYTES / 2);
        let elements = elements.ok_or(too_large)?;
        let desc = Desc::compact(ElementType::F16, Order::C, &[elements]).expect("it is small");
        Ok(self.temporary(&desc))
    }

    /// A constant of floats, at the next multiple of 64 bytes.
    pub(super) fn constant(&mut self, desc: Desc, fill: impl FnOnce(&mut [u8])) -> Tensor {
        let start = self.constants.len().next_multiple_of(ALIGNMENT);
        self.constants.resize(start + bytes_of(&desc), 0);
        fill(&mut self.constants[start..]);
        Tensor { desc, memory: Memory::Constants, offset: small(start) }
    }

    pub(super) fn stage(&mut self, kind: StageKind, params: Params, tensors: Vec<Tensor>) {
        self.drafts.push(Draft { kind, params, tensors, node: self.node });
    }

    pub(super) fn copy(&mut self, from: Tensor, to: Tensor) {
        self.stage(StageKind::COPY, Params::None, vec![from, to]);
    }

    /// Puts the parts of a concatenation into it that are not written there anyway.
    pub(super) fn join(&mut self, node: &Node) {
        let Op::Concat(concat) = &node.op else { return };
        let axis = concat.axis as usize;
        let whole = self.tensor(node.output);
        let position = self.shape(node.output).rank() - 1 - axis;
        let mut start = 0;
        for &input in &node.inputs {
            let len = small(self.shape(input).dim(axis));
            let is_there = matches!(
                self.homes[input],
                Home::Part { whole, start: at, .. } if whole == node.output && small(at) == start
            );
            if !is_there {
                let from = self.tensor(input);
                self.copy(from, whole.slice(position, start, len));
            }
            start += len;
        }
    }

    /// Copies what is not in its output yet, and gives every tensor its place.
    pub(super) fn finish(mut self) -> Result<Compiled, CompileError> {
        self.node = None;
        for index in 0..self.model.outputs.len() {
            let value = self.model.outputs[index];
            if self.homes[value] != Home::Output(index) {
                let from = self.tensor(value);
                let desc = desc_of(self.shape(value));
                self.copy(from, Tensor { desc, memory: Memory::Output(small(index)), offset: 0 });
            }
        }
        let (offsets, bss_bytes) = self.place()?;
        let resolve = |tensor: &Tensor| {
            let (location, base) = match tensor.memory {
                Memory::None => (Location::None, 0),
                Memory::Input(index) => (Location::Input(index), 0),
                Memory::Output(index) => (Location::Output(index), 0),
                Memory::Constants => (Location::Constants, 0),
                Memory::Buffer(buffer) => (Location::Bss, offsets[buffer]),
            };
            TensorRef { desc: tensor.desc.clone(), location, offset: base + tensor.offset }
        };
        let stage = |draft: &Draft| Stage {
            kind: draft.kind,
            shaves: self.options.shaves,
            params: draft.params.clone(),
            buffers: draft.tensors.iter().map(resolve).collect(),
        };
        let [inputs_bytes, outputs_bytes] = self.io_bytes;
        let compiled = Compiled {
            blob: Blob {
                stages: self.drafts.iter().map(stage).collect(),
                inputs: self.inputs,
                outputs: self.outputs,
                inputs_bytes,
                outputs_bytes,
                batch: 1,
                bss_bytes,
                cmx_slices: self.options.shaves,
                shaves: self.options.shaves,
                constants: Cow::Owned(self.constants),
            },
            nodes: self.drafts.iter().map(|draft| draft.node).collect(),
        };
        for (what, needed, allowed) in [
            ("weights in 16-bit floats", compiled.blob.constants.len(), MAX_GRAPH_BYTES),
            (
                "weights and activations in 16-bit floats",
                compiled.blob.ddr_bytes(FIFO_ELEMENTS),
                self.options.ddr_bytes,
            ),
        ] {
            if needed > allowed {
                return Err(CompileError::TooLarge { what, needed, allowed });
            }
        }
        Ok(compiled)
    }

    fn buffer(&mut self, len_bytes: usize) -> usize {
        self.buffers.push(len_bytes);
        self.buffers.len() - 1
    }

    /// Offsets of the intermediate buffers, and the bytes of all.
    fn place(&self) -> Result<(Vec<u32>, u32), CompileError> {
        let mut life = vec![None::<(usize, usize)>; self.buffers.len()];
        for (index, draft) in self.drafts.iter().enumerate() {
            for tensor in &draft.tensors {
                if let Memory::Buffer(buffer) = tensor.memory {
                    let first = life[buffer].map_or(index, |(first, _)| first);
                    life[buffer] = Some((first, index));
                }
            }
        }
        let lists: Vec<Buffer> = (self.buffers.iter().zip(&life).enumerate())
            .map(|(group, (&len, life))| {
                let (first, last) = life.unwrap_or((0, 0));
                Buffer { group, len: (len + GUARD).next_multiple_of(ALIGNMENT), first, last }
            })
            .collect();
        let (offsets, total) = plan::place(&lists).unwrap_or((Vec::new(), usize::MAX));
        let allowed = self.options.ddr_bytes;
        let error = CompileError::TooLarge { what: "activations", needed: total, allowed };
        let total = u32::try_from(total).ok().filter(|&total| total as usize <= allowed);
        Ok((offsets.into_iter().map(small).collect(), total.ok_or(error)?))
    }
}

/// The desc of a value without gaps: innermost dimension first.
fn desc_of(shape: Shape) -> Desc {
    let mut dims: Vec<u32> = shape.iter().map(small).collect();
    dims.reverse();
    let order = match dims.len() {
        1 => Order::C,
        2 => Order::NC,
        // Samples, a row of pixels, channels.
        3 => Order(0x413),
        _ => Order::NHWC,
    };
    Desc::compact(ElementType::F16, order, &dims).expect("activations are checked to be small")
}

fn bytes_of(desc: &Desc) -> usize {
    desc.extent_bytes().expect("activations are checked to be small")
}

/// Dimensions, offsets and counts, all of which are bounded by the chip's memory.
pub(super) fn small(value: usize) -> u32 {
    u32::try_from(value).expect("bounded by the memory of the chip")
}
