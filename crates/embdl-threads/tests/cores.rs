//! Cores of several kinds, in the files in which Linux describes them.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::fs;
use std::path::PathBuf;

use embdl_core::kernels::Parallel;
use embdl_threads::{Cores, Pool, fast_cores};

/// Rockchip RK3399: four Cortex-A53 and two A72. Linux derives a capacity from the `capacity-dmips-mhz` of the device tree
/// (485 and 1024) times the highest clock (1416 and 1800 MHz).
const RK3399: &[(&str, &str)] = &[
    ("cpu0/cpu_capacity", "381\n"),
    ("cpu1/cpu_capacity", "381\n"),
    ("cpu2/cpu_capacity", "381\n"),
    ("cpu3/cpu_capacity", "381\n"),
    ("cpu4/cpu_capacity", "1024\n"),
    ("cpu5/cpu_capacity", "1024\n"),
    ("cpufreq/boost", "0\n"),
    ("possible", "0-5\n"),
];

/// Amlogic S922X: two Cortex-A53 before four A73, on a kernel that knows no capacities: clocks of 1896 and 2208 MHz.
const S922X: &[(&str, &str)] = &[
    ("cpu0/cpufreq/cpuinfo_max_freq", "1896000\n"),
    ("cpu1/cpufreq/cpuinfo_max_freq", "1896000\n"),
    ("cpu2/cpufreq/cpuinfo_max_freq", "2208000\n"),
    ("cpu3/cpufreq/cpuinfo_max_freq", "2208000\n"),
    ("cpu4/cpufreq/cpuinfo_max_freq", "2208000\n"),
    ("cpu5/cpufreq/cpuinfo_max_freq", "2208000\n"),
];

/// Four cores of a Raspberry Pi 4, all alike.
const ALIKE: &[(&str, &str)] = &[
    ("cpu0/cpu_capacity", "1024\n"),
    ("cpu1/cpu_capacity", "1024\n"),
    ("cpu2/cpu_capacity", "1024\n"),
    ("cpu3/cpu_capacity", "1024\n"),
];

/// Three classes, as phones and their descendants have them; the one in the middle differs from its best by a clock.
const THREE: &[(&str, &str)] = &[
    ("cpu0/cpu_capacity", "250\n"),
    ("cpu1/cpu_capacity", "250\n"),
    ("cpu2/cpu_capacity", "800\n"),
    ("cpu3/cpu_capacity", "760\n"),
    ("cpu4/cpu_capacity", "1024\n"),
];

struct Tree(PathBuf);

impl Tree {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("embdl-{name}-{}", std::process::id()));
        for (file, text) in files {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        Self(folder)
    }

    /// The cores, all of which may be used but these.
    fn without(&self, numbers: &[usize]) -> Cores {
        Cores::read(&self.0, 64, |number| !numbers.contains(&number))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn little_cores_do_not_count_as_fast_wherever_they_stand() {
    for (name, files, fast) in [("rk3399", RK3399, 2), ("s922x", S922X, 4), ("alike", ALIKE, 4)] {
        let cores = Tree::new(name, files).without(&[]);
        assert_eq!((cores.fast(), cores.differ()), (fast, name != "alike"), "{name}");
    }
}

#[test]
fn work_is_cut_into_parts_for_the_least_capable() {
    let cores = Tree::new("rk3399-shares", RK3399).without(&[]);
    // Two big ones are alike; with little ones a part is what a little one does: (2 * 1024 + 4 * 381) / 381 = 9.4.
    assert_eq!([1, 2, 3, 6].map(|threads| cores.shares(threads)), [1, 2, 7, 10]);
    // More threads than cores take what they get.
    assert_eq!([7, 64].map(|threads| cores.shares(threads)), [7, 64]);
    let alike = Tree::new("alike-shares", ALIKE).without(&[]);
    assert_eq!([2, 4].map(|threads| alike.shares(threads)), [2, 4]);
    // Ever smaller parts would cost more than they even out.
    let far = Tree::new("far", &[("cpu0/cpu_capacity", "1024"), ("cpu1/cpu_capacity", "10")]);
    assert_eq!(far.without(&[]).shares(2), 8);
}

#[test]
fn what_the_process_may_not_use_or_nobody_describes_is_left_out() {
    let tree = Tree::new("rk3399-allowed", RK3399);
    let cores = tree.without(&[4, 5]);
    assert_eq!((cores.fast(), cores.differ(), cores.shares(4)), (4, false, 4));
    assert_eq!(tree.without(&[4]).fast(), 1);
    // A system that gives this process less time than it has cores.
    assert_eq!(Cores::read(&tree.0, 1, |_| true).fast(), 1);
    fs::write(tree.0.join("cpu2/cpu_capacity"), "no number").unwrap();
    let unknown = tree.without(&[]);
    assert_eq!((unknown.fast(), unknown.differ()), (6, false));
    let nothing = Cores::read(&tree.0.join("absent"), 3, |_| true);
    assert_eq!((nothing.fast(), nothing.differ(), nothing.shares(3)), (3, false, 3));
    assert!(fast_cores() >= 1);
}

#[test]
fn a_pool_shares_out_by_what_its_cores_can_do_and_runs_every_task() {
    let cores = Tree::new("three", THREE).without(&[]);
    for (threads, shares) in [(1, 1), (2, 3), (3, 4), (5, 13)] {
        let pool = Pool::on(&cores, threads).unwrap();
        assert_eq!((pool.threads(), pool.shares()), (threads, shares));
        let runs: Vec<AtomicUsize> = (0..shares).map(|_| AtomicUsize::new(0)).collect();
        pool.for_each(shares, &|_, index| {
            runs[index].fetch_add(1, Ordering::SeqCst);
        });
        assert!(runs.iter().all(|runs| runs.load(Ordering::SeqCst) == 1));
    }
}

/// The threads of a pool stay where they belong: on a machine of which the test makes core 0 the big one.
#[cfg(target_os = "linux")]
#[test]
fn threads_stay_on_the_cores_of_their_class() {
    use std::sync::Mutex;

    use rustix::thread::{CpuSet, sched_getaffinity};

    let of_this_thread = || {
        let set = sched_getaffinity(None).unwrap();
        (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect::<Vec<_>>()
    };
    let own = of_this_thread();
    let [big, little, ..] = own[..] else { return };
    let files = [(big, "1024"), (little, "300")]
        .map(|(core, capacity)| (format!("cpu{core}/cpu_capacity"), capacity));
    let files: Vec<(&str, &str)> =
        files.iter().map(|(file, text)| (file.as_str(), *text)).collect();
    let cores = Tree::new("affinity", &files).without(&[]);
    let pool = Pool::on(&cores, 2).unwrap();
    let seen = Mutex::new(Vec::new());
    // The caller's tasks last until the worker has taken one.
    for _ in 0..1000 {
        pool.for_each(2, &|worker, _| {
            if worker == 0 {
                std::thread::sleep(core::time::Duration::from_millis(1));
            } else {
                *seen.lock().unwrap() = of_this_thread();
            }
        });
        if !seen.lock().unwrap().is_empty() {
            break;
        }
    }
    assert_eq!(seen.into_inner().unwrap(), [little]);
    assert_eq!(of_this_thread(), own, "the calling thread was moved");
}
