//! Power is lost after every change that an installation makes, with every choice of what reached the disk.

mod support;

use embdl_slots::{Disk, Folder, INCOMING, SUMS, Slot, SlotError, Slots, Step};
use support::Forgetful;

/// Losses that are tried at one moment where there are too many choices for all of them.
const SAMPLES: u32 = 400;

/// A version: two files of content that nothing else has.
fn version(number: u8) -> [(&'static str, Vec<u8>); 2] {
    [("runner", vec![number; 5]), ("model.embdl", vec![number, number + 1])]
}

fn arrive(disk: &mut Forgetful, number: u8) {
    let mut list = String::new();
    for (name, content) in version(number) {
        let path = format!("{INCOMING}/{name}");
        disk.put(&path, &content);
        list += &format!("{}  {name}\n", disk.digest(&path).unwrap());
    }
    disk.put(&format!("{INCOMING}/{SUMS}"), list.as_bytes());
}

/// A disk with version 1 in use, of which nothing can be lost any more.
fn with_version_1() -> Forgetful {
    let mut disk = Forgetful::default();
    arrive(&mut disk, 1);
    let mut slots = Slots::new(disk);
    slots.install(|_| Ok(()), |_| {}).unwrap();
    settle(slots.into_disk())
}

/// The disk when all has been written.
fn settle(disk: Forgetful) -> Forgetful {
    disk.after_loss(|| true)
}

/// The version in use, which has to be whole; 0 where there is none.
fn in_use(disk: &Forgetful) -> Result<u8, SlotError> {
    let slots = Slots::new(disk.clone());
    let Some(slot) = slots.current()? else { return Ok(0) };
    slots.check(slot)?;
    let number = disk.read(&format!("{slot}/runner")).unwrap()[0];
    let files = version(number);
    assert!(files.iter().all(|(name, content)| {
        disk.read(&format!("{slot}/{name}")).is_ok_and(|found| found == *content)
    }));
    Ok(number)
}

/// Every disk that a loss of power may leave, or a sample of them.
fn losses(disk: &Forgetful) -> Vec<Forgetful> {
    let uncertain = disk.uncertain();
    let mut state = 1_u64;
    let count = if uncertain <= 8 { 1 << uncertain } else { SAMPLES };
    (0..count)
        .map(|choice| {
            let mut at = 0;
            disk.after_loss(|| {
                at += 1;
                if uncertain <= 8 {
                    return choice >> (at - 1) & 1 == 1;
                }
                // The constants of MINSTD.
                state = state * 48_271 % 0x7fff_ffff;
                state >> 8 & 1 == 1
            })
        })
        .collect()
}

/// Installs version 2 beside version 1 with power for so many changes; what may be found afterwards, and whether it was done.
fn interrupted(before: &Forgetful, changes: usize) -> (Vec<Result<u8, String>>, bool) {
    let mut disk = before.clone();
    arrive(&mut disk, 2);
    disk.power(Some(changes));
    let mut slots = Slots::new(disk);
    let is_done = slots.install(|_| Ok(()), |_| {}).is_ok();
    let disk = slots.into_disk();
    let found =
        losses(&disk).into_iter().map(|disk| in_use(&disk).map_err(|error| error.to_string()));
    (found.collect(), is_done)
}

/// What is wrong after any loss of power: neither version whole, or not the new one although it was reported done.
fn faults(before: &Forgetful, old: u8) -> Vec<String> {
    let mut faults = Vec::new();
    for changes in 0.. {
        let (found, is_done) = interrupted(before, changes);
        for version in found {
            let is_right = version == Ok(2) || (version == Ok(old) && !is_done);
            if !is_right {
                faults.push(format!("after {changes} changes: {version:?}, done: {is_done}"));
            }
        }
        if is_done {
            assert!(changes > 15, "only {changes} changes");
            break;
        }
    }
    faults
}

#[test]
fn power_may_go_at_any_moment() {
    assert_eq!(faults(&with_version_1(), 1), [""; 0]);
    assert_eq!(faults(&Forgetful::default(), 0), [""; 0]);
}

#[test]
fn each_missing_sync_would_be_found() {
    for path in ["", "b", "incoming/model.embdl", "incoming/SHA256SUMS"] {
        let mut disk = with_version_1();
        disk.deaf_to = Some(path);
        assert!(!faults(&disk, 1).is_empty(), "nobody misses the sync of {path:?}");
    }
}

#[test]
fn an_interrupted_installation_can_be_repeated() {
    let before = with_version_1();
    for changes in 0..30 {
        let mut disk = before.clone();
        arrive(&mut disk, 2);
        disk.power(Some(changes));
        let mut slots = Slots::new(disk);
        let _ = slots.install(|_| Ok(()), |_| {});
        for mut disk in losses(&slots.into_disk()).into_iter().take(20) {
            arrive(&mut disk, 3);
            let mut slots = Slots::new(disk);
            slots.install(|_| Ok(()), |_| {}).unwrap();
            assert_eq!(in_use(&settle(slots.into_disk())).unwrap(), 3);
        }
    }
}

#[test]
fn what_is_unfit_or_damaged_never_comes_into_use() {
    let mut disk = with_version_1();
    arrive(&mut disk, 2);
    let mut slots = Slots::new(disk);
    let error = slots.install(|_| Err("wrong answer".into()), |_| {}).unwrap_err();
    assert!(error.to_string().contains("wrong answer"), "{error}");
    let mut disk = slots.into_disk();
    assert_eq!(in_use(&disk).unwrap(), 1);
    assert!(matches!(Slots::new(disk.clone()).check(Slot::B), Err(SlotError::Empty { .. })));
    arrive(&mut disk, 2);
    disk.put("incoming/runner", b"broken");
    let mut slots = Slots::new(disk);
    let error = slots.install(|_| Ok(()), |_| {}).unwrap_err();
    assert!(matches!(error, SlotError::Damaged { .. }), "{error}");
    assert_eq!(in_use(&slots.into_disk()).unwrap(), 1);
}

#[test]
fn the_version_before_can_be_had_back() {
    let mut slots = Slots::new(with_version_1());
    assert!(matches!(slots.roll_back(|_| Ok(())), Err(SlotError::Empty { place: "b" })));
    let mut disk = slots.into_disk();
    arrive(&mut disk, 2);
    let mut slots = Slots::new(disk);
    let mut steps = Vec::new();
    assert_eq!(slots.install(|_| Ok(()), |step| steps.push(step)).unwrap(), Slot::B);
    assert_eq!(steps.first(), Some(&Step::Emptied(Slot::B)));
    assert_eq!(steps.last(), Some(&Step::Turned));
    assert!(slots.roll_back(|_| Err("no".into())).is_err());
    assert_eq!(slots.roll_back(|_| Ok(())).unwrap(), Slot::A);
    assert_eq!(in_use(&settle(slots.into_disk())).unwrap(), 1);
}

#[test]
#[cfg(unix)]
fn a_real_disk_does_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let incoming = folder.path().join(INCOMING);
    for number in [1, 2, 3] {
        std::fs::create_dir_all(&incoming).unwrap();
        let mut list = String::new();
        for (name, content) in version(number) {
            std::fs::write(incoming.join(name), content).unwrap();
            let sum = Folder::new(&incoming).digest(name).unwrap();
            list += &format!("{sum}  {name}\n");
        }
        std::fs::write(incoming.join(SUMS), list).unwrap();
        let mut slots = Slots::new(Folder::new(folder.path()));
        let slot = slots.install(|_| Ok(()), |_| {}).unwrap();
        assert_eq!(slots.check(slot).unwrap().files().count(), 2);
        assert_eq!(std::fs::read(folder.path().join("current/runner")).unwrap()[0], number);
    }
    assert_eq!(std::fs::read(folder.path().join("a/runner")).unwrap()[0], 3);
    assert_eq!(std::fs::read_dir(incoming).unwrap().count(), 0);
}
