//! The watchdog: tells the firmware that the host is there.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use super::lock;
use crate::boot::Deadlines;
use crate::error::MyriadError;
use crate::protocol::messages::DeviceRequest;
use crate::protocol::{Dialect, Stream};

/// Tells the firmware that the host is there.
#[derive(Debug)]
pub(super) struct Watchdog {
    shared: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(super) fn start(
        monitor: &Arc<Mutex<Stream>>,
        deadlines: &Deadlines,
    ) -> Result<Self, MyriadError> {
        let shared: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let (period, wait) = (deadlines.watchdog, deadlines.link.request);
        let (monitor, ends) = (monitor.clone(), shared.clone());
        let ping = DeviceRequest::WatchdogPing.encode(Dialect::OpenVino2020)?;
        let thread = thread::Builder::new()
            .name("myriad watchdog".into())
            .spawn(move || {
                let (ended, changed) = &*ends;
                let mut guard = lock(ended);
                while !*guard {
                    guard = match changed.wait_timeout(guard, period) {
                        Ok((guard, _)) => guard,
                        Err(poisoned) => poisoned.into_inner().0,
                    };
                    if *guard {
                        return;
                    }
                    let ping = Arc::new(ping.clone());
                    // A stick that does not take it shows that to whoever uses it next.
                    if let Err(error) = lock(&monitor).write(ping, wait) {
                        tracing::debug!(%error, "the watchdog is not heard");
                        return;
                    }
                }
            })
            .map_err(|_| MyriadError::Thread)?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *lock(&self.shared.0) = true;
        self.shared.1.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watchdog has panicked");
        }
    }
}
