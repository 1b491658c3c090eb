//! Which cores this process may use, and how much each of them can do: on big.LITTLE, and on hybrid CPUs, they differ.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;

/// A core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Core {
    /// The system's number.
    number: usize,
    /// What it can do beside the others; only ratios mean something.
    capacity: u32,
}

/// The cores that a process may use, in classes of nearly the same capacity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cores {
    /// The most capable first; those of the same capacity in the order of their numbers.
    cores: Vec<Core>,
    /// Cores that this process gets time on, as far as the system limits that.
    limit: usize,
}

impl Cores {
    /// Those of this process, as they were when this was called first.
    #[must_use]
    pub fn of_this_process() -> &'static Self {
        static CORES: OnceLock<Cores> = OnceLock::new();
        CORES.get_or_init(|| {
            let limit = thread::available_parallelism().map_or(1, usize::from);
            let allowed = affinity::allowed();
            let is_allowed = |number| allowed.as_ref().is_none_or(|cores| cores.contains(&number));
            Self::read(Path::new("/sys/devices/system/cpu"), limit, is_allowed)
        })
    }

    /// The cores that `folder` describes as Linux does: `cpuN/cpu_capacity`, or else the highest clock of each,
    /// `cpuN/cpufreq/cpuinfo_max_freq`. Where one of them says neither, all count as alike. At most `limit` get time.
    #[must_use]
    pub fn read(folder: &Path, limit: usize, is_allowed: impl Fn(usize) -> bool) -> Self {
        let number = |name: &str| name.strip_prefix("cpu")?.parse::<usize>().ok();
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut numbers: Vec<usize> =
            entries.filter_map(|entry| number(entry.file_name().to_str()?)).collect();
        numbers.retain(|&number| is_allowed(number));
        numbers.sort_unstable();
        let all = |file: &str| {
            let read = |number: &usize| {
                let text =
                    fs::read_to_string(folder.join(format!("cpu{number}")).join(file)).ok()?;
                text.trim().parse::<u32>().ok().filter(|&value| value > 0)
            };
            numbers.iter().map(read).collect::<Option<Vec<u32>>>()
        };
        let capacities = all("cpu_capacity").or_else(|| all("cpufreq/cpuinfo_max_freq"));
        let capacities = capacities.unwrap_or_else(|| vec![1; numbers.len()]);
        let mut cores: Vec<Core> = numbers
            .into_iter()
            .zip(capacities)
            .map(|(number, capacity)| Core { number, capacity })
            .collect();
        cores.sort_by_key(|core| core::cmp::Reverse(core.capacity));
        Self { cores, limit: limit.max(1) }
    }

    /// Cores that are worth a thread where a layer is shared out evenly: those of the first class. At least 1.
    #[must_use]
    pub fn fast(&self) -> usize {
        let fast = self.class(0).len();
        if fast == 0 { self.limit } else { fast.min(self.limit) }
    }

    /// Whether there are cores of several classes.
    #[must_use]
    pub fn differ(&self) -> bool {
        self.class(0).len() < self.cores.len()
    }

    /// The numbers of the cores that the thread `index` of several belongs on: those of the class that its place falls
    /// into when threads fill the most capable cores first. All where cores are alike or there are fewer of them.
    pub(crate) fn of_thread(&self, index: usize) -> Vec<usize> {
        let class = if self.differ() { self.class(index) } else { &[] };
        let cores = if class.is_empty() { &self.cores } else { class };
        cores.iter().map(|core| core.number).collect()
    }

    /// Into how many equal parts work is to be cut so that `threads` threads, which take them in turn, finish at about the
    /// same time: a part is what the least capable core does.
    #[must_use]
    pub fn shares(&self, threads: usize) -> usize {
        let Some(taken) = self.cores.get(..threads).filter(|_| threads > 0) else { return threads };
        let least = taken.iter().map(|core| core.capacity).min().unwrap_or(1);
        if taken.iter().all(|core| are_alike(core.capacity, least)) {
            return threads;
        }
        let total: u64 = taken.iter().map(|core| u64::from(core.capacity)).sum();
        let parts = usize::try_from(total.div_ceil(u64::from(least))).unwrap_or(usize::MAX);
        parts.clamp(threads, MOST_PARTS * threads)
    }

    /// The class of the core at a place; empty where there is none.
    fn class(&self, place: usize) -> &[Core] {
        let mut first = 0;
        while let Some(best) = self.cores.get(first) {
            let same = |core: &&Core| are_alike(best.capacity, core.capacity);
            let end = first + self.cores[first..].iter().take_while(same).count();
            if place < end {
                return &self.cores[first..end];
            }
            first = end;
        }
        &[]
    }
}

/// Most parts a thread: smaller ones cost more than they even out.
const MOST_PARTS: usize = 4;

/// Cores of one kind may differ by a few percent in their highest clock.
const fn are_alike(a: u32, b: u32) -> bool {
    let (more, less) = if a > b { (a, b) } else { (b, a) };
    10 * less as u64 >= 9 * more as u64
}

/// Cores that this process may use and that are not of a lesser kind: where cores differ (big.LITTLE), a layer that is
/// shared out evenly would wait for the slowest. At least 1.
#[must_use]
pub fn fast_cores() -> usize {
    Cores::of_this_process().fast()
}

/// Keeps the calling thread on the fast cores, if cores differ and the system lets it. For programs whose main thread runs
/// sessions: the threads of a [`Pool`](crate::Pool) do so by themselves. What it starts afterwards stays there too.
pub fn stay_on_fast_cores() {
    let cores = Cores::of_this_process();
    if cores.differ() {
        affinity::stay_on(&cores.of_thread(0));
    }
}

/// The system's part. What fails is left out: it makes threads faster, and nothing depends on it.
pub(crate) mod affinity {
    #[cfg(target_os = "linux")]
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// The cores that this thread may run on; `None` where the system does not say.
    #[cfg(target_os = "linux")]
    pub(crate) fn allowed() -> Option<Vec<usize>> {
        let set = sched_getaffinity(None).ok()?;
        Some((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
    }

    /// Lets this thread run on these cores only.
    #[cfg(target_os = "linux")]
    pub(crate) fn stay_on(cores: &[usize]) {
        let mut set = CpuSet::new();
        cores.iter().filter(|&&core| core < CpuSet::MAX_CPU).for_each(|&core| set.set(core));
        if set.count() > 0 {
            let _ = sched_setaffinity(None, &set);
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn allowed() -> Option<Vec<usize>> {
        None
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn stay_on(_: &[usize]) {}
}
