//! Weights and biases: their shapes and descriptors among the nodes, their streams at the end.

use super::{Reader, within};
use crate::format::error::FormatError;
use crate::format::limits::Limit;
use crate::format::opcode::Head;
use crate::format::tensor;
use crate::model::{TensorId, ValueId};
use crate::op::Op;
use crate::tensor::Shape;

impl Reader<'_, '_> {
    /// Weight and bias of the node; completes the attributes of a convolution by its weight's shape.
    pub(super) fn weights(
        &mut self,
        node: usize,
        head: &mut Head,
        inputs: &[ValueId],
    ) -> Result<(Option<TensorId>, Option<TensorId>), FormatError> {
        if !head.op.takes_weight() {
            return Ok((None, None));
        }
        let input = self.values[inputs[0]].kind.shape;
        let flags_at = self.cursor.at();
        let known = self.tensors.len();
        let weight = match self.shared(node, head)? {
            Some(id) => id,
            None => {
                let start = self.cursor.at();
                let shape = self.weight_shape(&head.op, input)?;
                self.tensor(shape, start)?
            }
        };
        let shape = self.tensors[weight].shape;
        if let Op::Conv2d(conv) = &mut head.op {
            if shape.rank() != 4 {
                let problem = "its weight belongs to another operator";
                return Err(FormatError::Types { node, op: "conv2d", problem });
            }
            let kernel = [shape.dim(1), shape.dim(2)];
            conv.window.kernel = kernel.map(|dim| u32::try_from(dim).expect("dimensions are u32"));
        }
        let mut bias = None;
        if head.has_bias {
            bias = Some(match self.shared(node, head)? {
                Some(id) => id,
                None => {
                    let start = self.cursor.at();
                    self.tensor(Shape::vector(shape.dim(0)), start)?
                }
            });
        }
        let new = 1 + usize::from(head.has_bias);
        if head.explicit_tensors && self.tensors.len() - known == new {
            return Err(FormatError::NotCanonical { at: flags_at, what: "operands of a node" });
        }
        Ok((Some(weight), bias))
    }

    /// An earlier tensor, if the node says so: 0 is a new one, `n` the n-th before.
    fn shared(&mut self, node: usize, head: &Head) -> Result<Option<TensorId>, FormatError> {
        if !head.explicit_tensors {
            return Ok(None);
        }
        let count = self.tensors.len();
        match self.cursor.varint()? as usize {
            0 => Ok(None),
            back => count.checked_sub(back).map(Some).ok_or(FormatError::IndexOutOfRange {
                node,
                what: "tensor",
                index: back,
                count,
            }),
        }
    }

    /// The shape of a weight, of which the file has only what the input does not tell.
    fn weight_shape(&mut self, op: &Op, input: Shape) -> Result<Shape, FormatError> {
        if *op == Op::PRelu {
            return Ok(Shape::vector(input.dim(input.rank() - 1)));
        }
        let mut dims = [self.cursor.varint()? as usize, 1, 1, 1];
        let rank = if let Op::Conv2d(conv) = op {
            dims[1] = self.cursor.varint()? as usize;
            dims[2] = self.cursor.varint()? as usize;
            if input.rank() == 4 {
                // A remainder is Op::infer's to refuse.
                dims[3] = input.dim(3) / (conv.groups as usize).max(1);
            }
            4
        } else {
            if input.rank() == 2 {
                dims[1] = input.dim(1);
            }
            2
        };
        let shape = Shape::new(&dims[..rank]).expect("dimensions are u32");
        if shape.is_empty() {
            return Err(FormatError::BadShape { what: "a weight", shape });
        }
        Ok(shape)
    }

    fn tensor(&mut self, shape: Shape, start: usize) -> Result<TensorId, FormatError> {
        let id = self.tensors.len();
        within(Limit::Tensors, id as u64 + 1, self.limits.max_tensors)?;
        let len = shape.checked_len();
        let len = len.ok_or(FormatError::BadShape { what: "a tensor", shape })? as u64;
        within(Limit::ElementsPerTensor, len, self.limits.max_elements_per_tensor)?;
        self.tensor_elements = self.tensor_elements.saturating_add(len);
        within(Limit::TotalElements, self.tensor_elements, self.limits.max_total_elements)?;
        let announced = tensor::read(&mut self.cursor, shape, start)?;
        self.tensors.push(announced.tensor);
        self.layouts.push(announced.layout);
        Ok(id)
    }

    /// Gives the streams their bytes, which fill the rest of the file.
    pub(super) fn payload(&mut self) -> Result<(), FormatError> {
        for (tensor, layout) in self.tensors.iter_mut().zip(&self.layouts) {
            if let Some(gaps) = &mut tensor.gaps {
                gaps.bytes = self.cursor.take(layout.gap_bytes)?;
            }
            tensor.symbols.bytes = self.cursor.take(layout.symbol_bytes)?;
        }
        let (at, left) = (self.cursor.at(), self.cursor.left());
        if left > 0 {
            return Err(FormatError::TrailingBytes { at, left });
        }
        for (index, tensor) in self.tensors.iter().enumerate() {
            tensor.check().map_err(|source| FormatError::Tensor { tensor: index, source })?;
        }
        Ok(())
    }
}
