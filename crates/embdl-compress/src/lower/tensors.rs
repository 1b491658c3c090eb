//! How weights and biases are written: floats, integers, or codebook indices, in the smallest allowed encoding.

use embdl_core::encoding::OwnedTensor;
use embdl_core::encoding::encode::{
    Book, Candidate, EncodeOptions as Allowed, WeightData, bias_f32, bias_i32, candidates, encode,
    smallest,
};
use embdl_core::model::{Scales, TensorId};
use embdl_core::quant::{Quant, quantize_symmetric};
use embdl_graph::{Form, Node, Param, ParamId};

use super::Lowering;
use crate::error::CompressError;

/// Largest absolute bias in accumulator steps: leaves room for the products.
const BIAS_LIMIT: i32 = 1 << 30;

impl Lowering<'_> {
    /// The weight tensor of a layer that computes in integers or in floats.
    pub(super) fn weight(&mut self, id: ParamId, integer: bool) -> Result<TensorId, CompressError> {
        let param = &self.graph.params[id];
        let tensor = if integer { self.integer_weight(param)? } else { self.float_weight(param)? };
        Ok(self.tensor(tensor))
    }

    /// The bias of an integer layer, at the step of its accumulators.
    pub(super) fn integer_bias(
        &mut self,
        node: &Node,
        id: ParamId,
        input: Quant,
    ) -> Result<TensorId, CompressError> {
        let param = &self.graph.params[id];
        let scales =
            node.weight.and_then(|weight| self.graph.params[weight].scales()).unwrap_or_default();
        let effective = param.effective();
        let levels: Vec<i32> = effective
            .iter()
            .enumerate()
            .map(|(channel, &bias)| {
                let scale = scales[if scales.len() == 1 { 0 } else { channel }];
                quantize_symmetric(bias, scale * input.scale, BIAS_LIMIT)
            })
            .collect();
        let tensor = bias_i32(&levels, self.allowed())?;
        Ok(self.tensor(tensor))
    }

    /// The bias of a float layer.
    pub(super) fn float_bias(&mut self, id: ParamId) -> Result<TensorId, CompressError> {
        let param = &self.graph.params[id];
        let tensor = bias_f32(&param.effective())?;
        Ok(self.tensor(tensor))
    }

    fn integer_weight(&self, param: &Param) -> Result<OwnedTensor, CompressError> {
        let levels = param.levels().expect("integer layers have levels");
        let scales = match param.scales().unwrap_or_default()[..] {
            [scale] => Scales::PerTensor(scale),
            ref many => Scales::PerChannel(many.to_vec()),
        };
        let plain = WeightData::Int(&levels);
        let book = codebook(&levels);
        let shared =
            book.as_ref().map(|(codes, book)| WeightData::Codebook { codes, book: Book::I8(book) });
        let mut best: Option<(usize, Candidate, WeightData<'_>)> = None;
        for data in [Some(plain), shared].into_iter().flatten() {
            for candidate in candidates(param.shape, &scales, data, self.allowed())? {
                let bytes = candidate.total_bytes();
                if best.as_ref().is_none_or(|(least, ..)| bytes < *least) {
                    best = Some((bytes, candidate, data));
                }
            }
        }
        let (_, candidate, data) = best.expect("dense raw is always a candidate");
        Ok(encode(param.shape, scales, data, &candidate)?)
    }

    fn float_weight(&self, param: &Param) -> Result<OwnedTensor, CompressError> {
        if param.form == Form::Free && param.mask.is_none() {
            let data = WeightData::F32(param.values());
            return Ok(smallest(param.shape, Scales::None, data, self.allowed())?);
        }
        let values = param.effective();
        if let Form::Shared { .. } = param.form {
            let mut book: Vec<f32> = values.clone();
            book.sort_unstable_by(f32::total_cmp);
            book.dedup();
            if book.len() <= 256 {
                let codes = codes(&values, |value| {
                    book.partition_point(|entry| entry.total_cmp(value).is_lt())
                });
                let data = WeightData::Codebook { codes: &codes, book: Book::F32(&book) };
                return Ok(smallest(param.shape, Scales::None, data, self.allowed())?);
            }
        }
        Ok(smallest(param.shape, Scales::None, WeightData::F32(&values), self.allowed())?)
    }

    fn allowed(&self) -> Allowed {
        Allowed { allow_sparse: self.options.sparse, allow_huffman: self.options.huffman }
    }
}

/// Indices into the ascending list of distinct levels.
fn codebook(levels: &[i32]) -> Option<(Vec<u8>, Vec<i8>)> {
    let mut used = [false; 256];
    for &level in levels {
        used[usize::from(i8::try_from(level).ok()?.to_le_bytes()[0])] = true;
    }
    let book: Vec<i8> =
        (i8::MIN..=i8::MAX).filter(|level| used[usize::from(level.to_le_bytes()[0])]).collect();
    let codes = codes(levels, |&level| book.partition_point(|&entry| i32::from(entry) < level));
    Some((codes, book))
}

fn codes<T>(values: &[T], index: impl Fn(&T) -> usize) -> Vec<u8> {
    values.iter().map(|value| u8::try_from(index(value)).expect("at most 256 entries")).collect()
}
