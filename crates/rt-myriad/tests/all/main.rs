//! What the crate promises, seen from outside: blobs, streams, sticks, faults.

mod blob;
mod bonnet;
mod credits;
mod faults;
mod ncsdk;
mod processes;
mod stick;
mod support;
