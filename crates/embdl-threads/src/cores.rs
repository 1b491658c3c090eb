//! How many cores are worth a thread.

use std::fs;
use std::path::Path;
use std::thread;

/// Cores that this process may use and that are not of a lesser kind: where cores differ (big.LITTLE), a layer that is
/// shared out evenly would wait for the slowest. At least 1.
#[must_use]
pub fn fast_cores() -> usize {
    let usable = thread::available_parallelism().map_or(1, usize::from);
    fastest_of(Path::new("/sys/devices/system/cpu")).map_or(usable, |fast| fast.min(usable))
}

/// Cores of the largest capacity below `folder`; `None` where the system does not say.
fn fastest_of(folder: &Path) -> Option<usize> {
    let mut capacities = Vec::new();
    for core in 0.. {
        let core = folder.join(format!("cpu{core}"));
        if !core.is_dir() {
            break;
        }
        let capacity = fs::read_to_string(core.join("cpu_capacity")).ok()?;
        capacities.push(capacity.trim().parse::<u32>().ok()?);
    }
    let largest = capacities.iter().copied().max()?;
    // Cores of one kind may differ by a few percent in their highest clock.
    Some(capacities.into_iter().filter(|&capacity| 10 * capacity >= 9 * largest).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_cores_do_not_count() {
        let folder = std::env::temp_dir().join(format!("embdl-cores-{}", std::process::id()));
        assert_eq!(fastest_of(&folder), None);
        for (core, capacity) in [446, 446, 446, 446, 1024, 1010].into_iter().enumerate() {
            let core = folder.join(format!("cpu{core}"));
            fs::create_dir_all(&core).unwrap();
            fs::write(core.join("cpu_capacity"), format!("{capacity}\n")).unwrap();
        }
        assert_eq!(fastest_of(&folder), Some(2));
        fs::write(folder.join("cpu0/cpu_capacity"), "none").unwrap();
        assert_eq!(fastest_of(&folder), None);
        fs::remove_dir_all(folder).unwrap();
        assert!(fast_cores() >= 1);
    }
}
