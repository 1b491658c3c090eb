//! Threads that wait for a job: they spin for a moment, because the next layer of a network follows in microseconds, then
//! they sleep, because on a small board a spinning core costs power.
//!
//! ```text
//! caller: job = (tasks, task); next = 0; open       → take tasks → close: nobody joins any more, wait for those who have
//! worker: wait for an open job → join               → take tasks → leave
//! take tasks: until next.fetch_add(1) >= tasks
//! ```
//!
//! A worker that the system does not run joins late or not at all, and nobody waits for it: on a busy machine the caller
//! does the work alone.

use core::any::Any;
use core::cell::UnsafeCell;
use core::fmt;
use core::hint::spin_loop;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use embdl_core::kernels::Parallel;

use crate::cores::{Cores, affinity};
use crate::state::State;

/// How long a thread spins for the next job before it sleeps.
const SPIN: Duration = Duration::from_micros(200);
/// Looks at the state between two looks at the clock.
const LOOKS: usize = 64;

/// A pool; dropping it ends its threads.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// See [`Parallel::shares`].
    shares: usize,
    /// Whether a job is running: there is one at a time, and its tasks start none.
    is_busy: AtomicBool,
}

/// What the caller and the workers share.
struct Shared {
    state: State,
    /// Written by the caller while no job is open and nobody is in one; read by those who joined.
    job: UnsafeCell<Job>,
    /// The next task.
    next: AtomicUsize,
    /// Workers that sleep or are about to.
    sleepers: AtomicUsize,
    is_ended: AtomicBool,
    /// What the last task that panicked on a worker panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Whether there is one. Set before the worker leaves the job.
    has_panicked: AtomicBool,
}

/// A number of tasks.
#[derive(Clone, Copy)]
struct Job {
    tasks: usize,
    /// Valid as long as the job is open or somebody is in it.
    task: Option<*const (dyn Fn(usize, usize) + Sync)>,
}

// SAFETY: `job` is written only while nobody reads it (see there), and what it points to is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for Shared {}

impl Pool {
    /// A pool of `threads` threads, the calling one included, on cores that are alike.
    ///
    /// # Errors
    /// If the system refuses a thread: how many there would have been.
    pub fn new(threads: usize) -> Result<Self, usize> {
        Self::on(&Cores::default(), threads)
    }

    /// The same on these cores: where they differ, each thread but the calling one, which is not ours to move, stays on those
    /// of the class that it belongs to, and work is cut into parts for the least capable.
    ///
    /// # Errors
    /// As for [`Pool::new`].
    pub fn on(cores: &Cores, threads: usize) -> Result<Self, usize> {
        let shared = Arc::new(Shared {
            state: State::default(),
            job: UnsafeCell::new(Job { tasks: 0, task: None }),
            next: AtomicUsize::new(0),
            sleepers: AtomicUsize::new(0),
            is_ended: AtomicBool::new(false),
            panic: Mutex::new(None),
            has_panicked: AtomicBool::new(false),
        });
        let shares = cores.shares(threads);
        let mut pool =
            Self { shared, workers: Vec::new(), shares, is_busy: AtomicBool::new(false) };
        for worker in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let thread = thread::Builder::new().name(format!("embdl-{worker}"));
            let home = cores.differ().then(|| cores.of_thread(worker));
            let life = move || {
                if let Some(home) = home {
                    affinity::stay_on(&home);
                }
                shared.work(worker);
            };
            match thread.spawn(life) {
                Ok(handle) => pool.workers.push(handle),
                Err(_) => return Err(worker),
            }
        }
        Ok(pool)
    }

    /// Wakes as many workers as may find a task beside the caller.
    fn wake(&self, tasks: usize) {
        if self.shared.sleepers.load(Ordering::SeqCst) > 0 {
            self.workers.iter().take(tasks - 1).for_each(|worker| worker.thread().unpark());
        }
    }
}

// SAFETY: tasks are handed out by a counter, so each index once; `close` waits for all that run; the caller is worker 0, the
// threads have numbers of their own, and `is_busy` keeps a second caller from being worker 0 at the same time.
unsafe impl Parallel for Pool {
    fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    fn shares(&self) -> usize {
        self.shares
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize, usize) + Sync)) {
        assert!(
            !self.is_busy.swap(true, Ordering::Acquire),
            "a pool runs one job at a time, and tasks start none"
        );
        /// Ends the job, also when a task of the caller panics.
        struct Close<'a>(&'a Pool);
        impl Drop for Close<'_> {
            fn drop(&mut self) {
                let shared = &self.0.shared;
                let mut looks = 0;
                shared.state.close(|| {
                    looks += 1;
                    if looks % LOOKS == 0 { thread::yield_now() } else { spin_loop() }
                });
                self.0.is_busy.store(false, Ordering::Release);
            }
        }
        let close = Close(self);
        // What workers panicked with in a job that the caller's own panic ended.
        self.shared.has_panicked.store(false, Ordering::Relaxed);
        if tasks > 1 {
            // SAFETY: only the lifetime is forgotten; `close` ends the job before this function returns or unwinds.
            let task = unsafe {
                core::mem::transmute::<
                    *const (dyn Fn(usize, usize) + Sync + '_),
                    *const (dyn Fn(usize, usize) + Sync + 'static),
                >(task)
            };
            // SAFETY: no job is open and nobody is in one: the last was closed, and `is_busy` is ours.
            unsafe { *self.shared.job.get() = Job { tasks, task: Some(task) } };
            self.shared.next.store(0, Ordering::Relaxed);
            self.shared.state.open();
            self.wake(tasks);
            take_tasks(&self.shared.next, tasks, 0, task_of(task));
        } else if tasks == 1 {
            task(0, 0);
        }
        drop(close);
        // The lock is for what does not happen: only a worker that caught a panic and we ever take it.
        if self.shared.has_panicked.swap(false, Ordering::Relaxed) {
            let panic = self.shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
            resume_unwind(panic.unwrap_or_else(|| Box::new("a task panicked")));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.is_ended.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its tasks; should it have ended by one of its own, there is nobody to tell.
            let _ = worker.join();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

impl Shared {
    /// The life of a worker.
    fn work(&self, worker: usize) {
        let mut last = None;
        loop {
            let Some(ticket) = self.wait_for(|| self.state.ticket(last)) else { return };
            last = Some(ticket);
            if !self.state.join(ticket) {
                continue;
            }
            // SAFETY: it was written before the job was opened, and is not written while we are in it.
            let job = unsafe { *self.job.get() };
            let taken = catch_unwind(AssertUnwindSafe(|| {
                if let Some(task) = job.task {
                    take_tasks(&self.next, job.tasks, worker, task_of(task));
                }
            }));
            if let Err(panic) = taken {
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
                self.has_panicked.store(true, Ordering::Relaxed);
            }
            self.state.leave();
        }
    }

    /// What `look` finds, sooner or later; `None` if the pool ends first.
    fn wait_for<T>(&self, look: impl Fn() -> Option<T>) -> Option<T> {
        loop {
            let start = Instant::now();
            while start.elapsed() < SPIN {
                for _ in 0..LOOKS {
                    if let Some(found) = look() {
                        return Some(found);
                    }
                    spin_loop();
                }
            }
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            // After this a new job wakes us, and before it we see the job.
            let found = look();
            let is_ended = self.is_ended.load(Ordering::SeqCst);
            if found.is_none() && !is_ended {
                thread::park();
            }
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
            if found.is_some() || self.is_ended.load(Ordering::SeqCst) {
                return found;
            }
        }
    }
}

fn take_tasks(
    next: &AtomicUsize,
    tasks: usize,
    worker: usize,
    task: &(dyn Fn(usize, usize) + Sync),
) {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= tasks {
            return;
        }
        task(worker, index);
    }
}

/// The task behind the pointer of a job.
fn task_of<'a>(
    task: *const (dyn Fn(usize, usize) + Sync + 'static),
) -> &'a (dyn Fn(usize, usize) + Sync + 'a) {
    // SAFETY: only called by those who are in the job, which does not end before they leave it.
    unsafe { &*task }
}
