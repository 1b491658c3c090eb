//! `XLink`, the protocol between host and firmware: headers, streams with credits, a link that carries them, and the messages
//! of the application on top. Host and emulated device are both ends of it.
//!
//! Source: the Apache-2.0 host sources of the vendor, NCSDK 2.10 and OpenVINO 2020.3.

mod header;
mod link;
pub mod messages;
mod streams;

pub use header::{Dialect, Header, HeaderError, MAX_NAME_LEN, MessageKind};
pub use link::{Link, LinkError, Role, Stream, Timing};
pub use streams::{MAX_PACKETS, MAX_STREAMS, Pending, StreamError, StreamId, Streams};
