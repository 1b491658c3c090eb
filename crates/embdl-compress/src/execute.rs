//! Runs graphs on a runtime that the caller brings, several samples at a time.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use embdl_core::model::Model;
use embdl_core::quant::Quant;
use embdl_core::runtime::{LoadOptions, Runtime, Session, TensorSpec};
use embdl_core::tensor::{DType, TensorMut, TensorRef};
use embdl_graph::Graph;

use crate::error::CompressError;
use crate::lower::{EncodeOptions, lower};

/// Weights above which one session has to do: each has a copy.
const SHARED_BYTES: usize = 256 << 20;
/// Nothing is written, so the simplest encoding will do.
pub(crate) const PLAIN: EncodeOptions =
    EncodeOptions { sparse: false, huffman: false, names: true };

/// Elements of one value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Buffer {
    F32(Vec<f32>),
    U8(Vec<u8>),
    I32(Vec<i32>),
}

impl Buffer {
    /// Room for a value of a session.
    fn zeros(spec: &TensorSpec) -> Self {
        let len = spec.kind.shape.len();
        match spec.kind.dtype {
            DType::F32 => Self::F32(vec![0.0; len]),
            DType::I32 => Self::I32(vec![0; len]),
            DType::U8 | DType::I8 => Self::U8(vec![0; len]),
        }
    }

    pub(crate) fn view(&self) -> TensorRef<'_> {
        match self {
            Self::F32(data) => TensorRef::F32(data),
            Self::U8(data) => TensorRef::U8(data),
            Self::I32(data) => TensorRef::I32(data),
        }
    }

    fn view_mut(&mut self) -> TensorMut<'_> {
        match self {
            Self::F32(data) => TensorMut::F32(data),
            Self::U8(data) => TensorMut::U8(data),
            Self::I32(data) => TensorMut::I32(data),
        }
    }

    /// As floats, integers by `quant`.
    pub(crate) fn floats(self, quant: Option<Quant>) -> Vec<f32> {
        let scale = quant.map_or(1.0, |quant| quant.scale);
        match (self, quant) {
            (Self::F32(data), _) => data,
            (Self::U8(data), Some(quant)) => data.iter().map(|&q| quant.dequantize(q)).collect(),
            (Self::U8(data), None) => data.iter().map(|&q| f32::from(q)).collect(),
            #[expect(
                clippy::cast_precision_loss,
                reason = "accumulators as the runtimes give them"
            )]
            (Self::I32(data), _) => data.iter().map(|&sum| sum as f32 * scale).collect(),
        }
    }

    /// As what `spec` asks for.
    pub(crate) fn fitting(self, spec: &TensorSpec) -> Self {
        match (self, spec.kind.dtype, spec.kind.quant) {
            (Self::F32(data), DType::U8, Some(quant)) => {
                Self::U8(data.iter().map(|&x| quant.quantize(x)).collect())
            }
            (other, ..) => other,
        }
    }
}

/// Runs graphs, spread over the cores of this machine.
#[derive(Clone, Copy)]
pub(crate) struct Executor<'a> {
    pub(crate) runtime: &'a dyn Runtime,
}

impl Executor<'_> {
    /// Sessions to run `model` with, at least one, at most `most`.
    fn load(&self, model: &Model<'_>, most: usize) -> Result<Vec<Box<dyn Session>>, CompressError> {
        let bytes: usize = model.tensors.iter().map(|tensor| tensor.symbols.bytes.len()).sum();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if bytes > SHARED_BYTES { 1 } else { cores.min(most) };
        (0..count.max(1)).map(|_| Ok(self.runtime.load(model, &LoadOptions::default())?)).collect()
    }

    /// The outputs of `graph` for samples `0..count`, whose inputs `input` gives; `take` gets them in any order.
    pub(crate) fn run<T: Send>(
        &self,
        graph: &Graph,
        count: usize,
        input: impl Fn(usize, usize) -> Buffer + Sync,
        take: impl Fn(usize, Vec<Buffer>, &[TensorSpec]) -> T + Sync,
    ) -> Result<Vec<T>, CompressError> {
        // A session has its own form of the weights: what it was loaded from goes before it runs.
        let sessions = self.load(&lower(graph, PLAIN)?.model(), count.min(8))?;
        Self::run_sessions(sessions, count, input, take)
    }

    /// The same for a model.
    pub(crate) fn run_model<T: Send>(
        &self,
        model: &Model<'_>,
        count: usize,
        input: impl Fn(usize, usize) -> Buffer + Sync,
        take: impl Fn(usize, Vec<Buffer>, &[TensorSpec]) -> T + Sync,
    ) -> Result<Vec<T>, CompressError> {
        Self::run_sessions(self.load(model, count.min(8))?, count, input, take)
    }

    fn run_sessions<T: Send>(
        sessions: Vec<Box<dyn Session>>,
        count: usize,
        input: impl Fn(usize, usize) -> Buffer + Sync,
        take: impl Fn(usize, Vec<Buffer>, &[TensorSpec]) -> T + Sync,
    ) -> Result<Vec<T>, CompressError> {
        let next = AtomicUsize::new(0);
        let results: Mutex<Vec<Option<T>>> = Mutex::new((0..count).map(|_| None).collect());
        let work = |mut session: Box<dyn Session>| -> Result<(), CompressError> {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return Ok(());
                }
                let specs = session.inputs().to_vec();
                let inputs: Vec<Buffer> = specs
                    .iter()
                    .enumerate()
                    .map(|(index, spec)| input(at, index).fitting(spec))
                    .collect();
                let mut outputs: Vec<Buffer> =
                    session.outputs().iter().map(Buffer::zeros).collect();
                let views: Vec<TensorRef<'_>> = inputs.iter().map(Buffer::view).collect();
                let mut rooms: Vec<TensorMut<'_>> =
                    outputs.iter_mut().map(Buffer::view_mut).collect();
                session.run(&views, &mut rooms)?;
                let result = take(at, outputs, session.outputs());
                results.lock().expect("no worker panics while it holds the lock")[at] =
                    Some(result);
            }
        };
        std::thread::scope(|scope| {
            let work = &work;
            let workers: Vec<_> =
                sessions.into_iter().map(|session| scope.spawn(move || work(session))).collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().expect("workers return their errors"))
        })?;
        let results = results.into_inner().expect("no worker panics while it holds the lock");
        Ok(results.into_iter().map(|result| result.expect("every sample was run")).collect())
    }
}
