//! A handle of one stream: packets out and in, each with a deadline.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use super::LinkError;
use super::shared::Shared;
use crate::protocol::streams::StreamId;

/// A stream of a link.
#[derive(Clone)]
pub struct Stream {
    pub(super) shared: Arc<Shared>,
    pub(super) id: StreamId,
}

impl Stream {
    /// Its number.
    #[must_use]
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// Sends a packet, once there is credit for it.
    ///
    /// # Errors
    /// If there is no credit in time, the packet is larger than the buffer, or the link has failed.
    pub fn write(&self, packet: Arc<Vec<u8>>, wait: Duration) -> Result<(), LinkError> {
        let (id, len) = (self.id, packet.len());
        let mut packet = Some(packet);
        self.shared.wait_for("credit for a packet", wait, |state| {
            match state.streams.begin_write(id, len) {
                Ok(None) => None,
                Ok(Some(header)) => {
                    state.queue.push_back((header, packet.take()));
                    Some(Ok(()))
                }
                Err(error) => Some(Err(error)),
            }
        })??;
        self.shared.changed.notify_all();
        Ok(())
    }

    /// The next packet.
    ///
    /// # Errors
    /// If none comes in time, or the link has failed.
    pub fn read(&self, wait: Duration) -> Result<Vec<u8>, LinkError> {
        let shared = &self.shared;
        let (_, packet) =
            shared.wait_for("packet", wait, |state| shared.take(state, self.id).transpose())??;
        Ok(packet)
    }

    /// Closes the direction that this end writes, once the other end has consumed everything.
    ///
    /// # Errors
    /// If it does not in time, or the link has failed.
    pub fn close(&self, wait: Duration) -> Result<(), LinkError> {
        self.shared.wait_for("end of what is under way", wait, |state| {
            match state.streams.under_way(self.id) {
                Ok((_, packets)) => (packets == 0).then_some(()),
                Err(_) => Some(()),
            }
        })?;
        let header = self.shared.request(|streams| streams.close(self.id))?;
        // A no means that the other end closes later.
        self.shared.answer(header.id, "answer to the end of a stream", wait)?;
        Ok(())
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id).finish_non_exhaustive()
    }
}
