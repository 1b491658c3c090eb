//! Times of nodes by the device's own clock, which keeps a profiled run one command buffer.

use embdl_core::runtime::{Profile, RuntimeError};
use wgpu::{
    Buffer, BufferDescriptor, BufferUsages, CommandEncoder, ComputePassTimestampWrites, Features,
    QUERY_SET_MAX_QUERIES, QuerySet, QuerySetDescriptor, QueryType,
};

use crate::gpu::Gpu;
use crate::session::{Step, encode};

/// Bytes of a time.
const TIME_BYTES: u64 = 8;

/// Two times for each node that has dispatches.
pub(crate) struct Timer {
    queries: QuerySet,
    resolved: Buffer,
    readback: Buffer,
    nodes: Vec<usize>,
}

impl Timer {
    /// For the nodes of these steps; `None` where the device has no clock, or there are too many nodes for it.
    ///
    /// # Errors
    /// If the device has no memory left.
    pub(crate) fn new(gpu: &Gpu, steps: &[Step]) -> Result<Option<Self>, RuntimeError> {
        let nodes: Vec<usize> =
            steps.chunk_by(|a, b| a.node == b.node).map(|chunk| chunk[0].node).collect();
        let count = match u32::try_from(nodes.len() * 2) {
            Ok(count @ 1..=QUERY_SET_MAX_QUERIES) => count,
            _ => return Ok(None),
        };
        if !gpu.device.features().contains(Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        gpu.guarded("allocating times", || {
            let buffer = |usage| {
                gpu.device.create_buffer(&BufferDescriptor {
                    label: Some("times"),
                    size: u64::from(count) * TIME_BYTES,
                    usage,
                    mapped_at_creation: false,
                })
            };
            let queries = gpu.device.create_query_set(&QuerySetDescriptor {
                label: Some("times"),
                ty: QueryType::Timestamp,
                count,
            });
            let resolved = buffer(BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC);
            let readback = buffer(BufferUsages::MAP_READ | BufferUsages::COPY_DST);
            Some(Self { queries, resolved, readback, nodes })
        })
    }

    /// A compute pass for each node, and its times.
    pub(crate) fn encode(&self, encoder: &mut CommandEncoder, steps: &[Step]) {
        for (steps, first) in steps.chunk_by(|a, b| a.node == b.node).zip((0..).step_by(2)) {
            let writes = ComputePassTimestampWrites {
                query_set: &self.queries,
                beginning_of_pass_write_index: Some(first),
                end_of_pass_write_index: Some(first + 1),
            };
            encode(encoder, steps, Some(writes));
        }
        encoder.resolve_query_set(&self.queries, 0..self.queries.count(), &self.resolved, 0);
        let len = self.readback.size();
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.readback, 0, len);
    }

    /// The times of the last run, as nanoseconds of each node.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn read(&self, gpu: &Gpu, profile: &mut Profile) -> Result<(), RuntimeError> {
        let period = f64::from(gpu.queue.get_timestamp_period());
        gpu.read(&self.readback, |view| {
            let (times, _) = view.as_chunks::<8>();
            for (pair, &node) in times.chunks_exact(2).zip(&self.nodes) {
                let [start, end] = [pair[0], pair[1]].map(u64::from_le_bytes);
                #[expect(clippy::cast_precision_loss, reason = "ticks of one node")]
                let nanoseconds = end.saturating_sub(start) as f64 * period;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "`as` saturates, and it is not negative"
                )]
                {
                    profile.nodes[node].nanoseconds = nanoseconds as u64;
                }
            }
        })
    }
}
