//! What the driver reports, as the errors of all runtimes.

use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex, PoisonError};

use embdl_core::runtime::RuntimeError;
use wgpu::{Device, Error, ErrorFilter};

/// What is known of the device's end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loss(Arc<Mutex<Option<String>>>);

impl Loss {
    /// Listens to the device: that it is lost, and errors that no call is left to take.
    pub(crate) fn of(device: &Device) -> Self {
        let loss = Self::default();
        let lost = loss.clone();
        device.set_device_lost_callback(move |reason, message| {
            lost.note(format!("{reason:?} {message}").trim_end().to_owned());
        });
        let stray = loss.clone();
        device.on_uncaptured_error(Arc::new(move |error: Error| stray.note(error.to_string())));
        loss
    }

    fn note(&self, reason: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }

    /// Why nothing can be computed any more, if that is so.
    pub(crate) fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Does something on the device, and gives what went wrong with it.
///
/// # Errors
/// If the device refuses, has no memory left, or fails.
pub(crate) fn guarded<T>(
    device: &Device,
    name: &str,
    doing: &'static str,
    action: impl FnOnce() -> T,
) -> Result<T, RuntimeError> {
    // The innermost scope sees an error first, and each takes its own kind.
    let filters = [ErrorFilter::OutOfMemory, ErrorFilter::Validation, ErrorFilter::Internal];
    let scopes = filters.map(|filter| device.push_error_scope(filter));
    let result = action();
    let [memory, validation, internal] = scopes;
    let internal = ready(internal.pop()).flatten();
    let validation = ready(validation.pop()).flatten();
    let memory = ready(memory.pop()).flatten();
    match memory.or(validation).or(internal) {
        None => Ok(result),
        Some(error) => Err(failure(name, doing, &error)),
    }
}

fn failure(name: &str, doing: &'static str, error: &Error) -> RuntimeError {
    let device = name.to_owned();
    match error {
        Error::OutOfMemory { .. } => RuntimeError::DeviceMemory { device, doing },
        _ => RuntimeError::Device { device, doing, reason: error.to_string() },
    }
}

/// The result of a future that has nothing to wait for, as all of wgpu's are outside of browsers.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_everything_else_are_different_errors() {
        let source = || Box::new(std::io::Error::other("cause"));
        let name = "llvmpipe";
        let memory = failure(name, "loading", &Error::OutOfMemory { source: source() });
        assert_eq!(
            memory,
            RuntimeError::DeviceMemory { device: name.to_owned(), doing: "loading" }
        );
        let description = "too many buffers".to_owned();
        let other = failure(name, "loading", &Error::Validation { source: source(), description });
        assert_eq!(other.to_string(), "llvmpipe failed at loading: too many buffers");
    }

    #[test]
    fn the_first_reason_stays() {
        let loss = Loss::default();
        assert_eq!(loss.reason(), None);
        loss.note("unplugged".to_owned());
        loss.clone().note("destroyed".to_owned());
        assert_eq!(loss.reason().as_deref(), Some("unplugged"));
    }
}
