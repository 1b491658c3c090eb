//! Whether there is a job to join, and how many have joined it: one word, so that neither is ever seen without the other.

use core::sync::atomic::{AtomicU64, Ordering};

/// Bit 16: a job is open. Above it the number of jobs so far, below it the workers that are in the job.
#[derive(Debug, Default)]
pub(crate) struct State(AtomicU64);

const JOB: u64 = 1 << 17;
const OPEN: u64 = 1 << 16;
const WORKERS: u64 = OPEN - 1;

/// An open job that has not been joined yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl State {
    /// Opens the next job. What was written before is seen by those who join.
    pub(crate) fn open(&self) {
        // Sequentially consistent, as is the count of sleepers: either they see the job, or we see them.
        let state = self.0.load(Ordering::Relaxed);
        debug_assert!(state & (OPEN | WORKERS) == 0, "a job within a job");
        self.0.store(state + JOB + OPEN, Ordering::SeqCst);
    }

    /// The job that is open, unless it is the one of `last`.
    pub(crate) fn ticket(&self, last: Option<Ticket>) -> Option<Ticket> {
        let state = self.0.load(Ordering::SeqCst);
        let ticket = Ticket(state & !WORKERS);
        (state & OPEN != 0 && Some(ticket) != last).then_some(ticket)
    }

    /// Joins a job; false if it has been closed meanwhile.
    pub(crate) fn join(&self, ticket: Ticket) -> bool {
        let mut state = self.0.load(Ordering::Relaxed);
        while state & !WORKERS == ticket.0 {
            match self.0.compare_exchange_weak(
                state,
                state + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Leaves the job that was joined. What was written before is seen by the one who waits in `close`.
    pub(crate) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Release);
    }

    /// Lets nobody join any more, and waits until all have left, calling `wait` in between.
    pub(crate) fn close(&self, mut wait: impl FnMut()) {
        let mut state = self.0.fetch_and(!OPEN, Ordering::Acquire);
        while state & WORKERS != 0 {
            wait();
            state = self.0.load(Ordering::Acquire);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_joined_while_it_is_open_and_each_is_another() {
        let state = State::default();
        assert_eq!(state.ticket(None), None);
        state.open();
        let first = state.ticket(None).unwrap();
        assert!(state.join(first) && state.join(first));
        assert_eq!(state.ticket(Some(first)), None);
        state.leave();
        let mut waits = 0;
        state.close(|| {
            waits += 1;
            assert!(!state.join(first), "a closed job was joined");
            state.leave();
        });
        assert_eq!(waits, 1);
        assert_eq!(state.ticket(None), None);
        state.open();
        let second = state.ticket(Some(first)).unwrap();
        assert!(second != first && !state.join(first) && state.join(second));
        state.leave();
        state.close(|| panic!("nobody is in the job"));
    }
}
