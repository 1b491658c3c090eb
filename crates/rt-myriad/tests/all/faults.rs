//! What goes wrong with a stick: an error within its deadline, a session that can be dropped, a next load that works.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use crate::support::{Small, deadlines, inputs, wait_until};
use embdl_core::runtime::{LoadOptions, Runtime, RuntimeError, Session};
use embdl_core::tensor::{TensorMut, TensorRef};
use rt_myriad::blob;
use rt_myriad::compile::{CompileOptions, compile};
use rt_myriad::emulator::{DeviceFaults, EmulatorConfig, Stick};
use rt_myriad::protocol::messages::AllocationStatus;
use rt_myriad::transport::{EmulatedBus, Fault, FaultyBus, Mishap};
use rt_myriad::{Choice, Deadlines, Firmware, Myriad, MyriadError};

const SECOND: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(60);

fn run(session: &mut dyn Session) -> Result<Vec<f32>, RuntimeError> {
    let input = inputs(1);
    let mut output = vec![0.0; Small::OUTPUT];
    session.run(&[TensorRef::F32(&input)], &mut [TensorMut::F32(&mut output)])?;
    Ok(output)
}

fn load_and_run(myriad: &Myriad) -> Result<Vec<f32>, RuntimeError> {
    let small = Small::new();
    let mut session = myriad.load(&small.model(), &LoadOptions::default())?;
    let first = run(&mut *session)?;
    assert_eq!(run(&mut *session)?, first);
    Ok(first)
}

fn with_fault(fault: Option<Fault>, deadlines: Deadlines) -> (Myriad, Arc<FaultyBus<EmulatedBus>>) {
    let stick = Stick::new(EmulatorConfig::default());
    let bus = Arc::new(FaultyBus::new(EmulatedBus::new(vec![stick]), fault));
    // The pings of the watchdog would count as transfers.
    let deadlines = Deadlines { watchdog: Duration::from_secs(3600), ..deadlines };
    let myriad = Myriad::on(bus.clone(), Firmware::emulated(), &Choice::Any, deadlines);
    (myriad.unwrap(), bus)
}

/// Transfers from the first byte of firmware to the second result.
fn transfers() -> usize {
    let (myriad, bus) = with_fault(None, deadlines(SECOND));
    load_and_run(&myriad).unwrap();
    bus.transfers()
}

#[test]
fn a_stick_that_is_unplugged_at_any_transfer_works_again() {
    let want = load_and_run(&with_fault(None, deadlines(SECOND)).0).unwrap();
    let total = transfers();
    assert!(total > 50, "{total}");
    let mut failed = 0;
    for at in 0..total {
        let fault = Fault { at, mishap: Mishap::Disconnect };
        // Firmware that did not arrive shows only in that the stick does not come back.
        let boot = Duration::from_secs(1);
        let (myriad, bus) = with_fault(Some(fault), Deadlines { boot, ..deadlines(SECOND) });
        let start = Instant::now();
        let result = load_and_run(&myriad);
        assert!(start.elapsed() < SECOND, "{at}: {:?}", start.elapsed());
        match result {
            Ok(got) => assert_eq!(got, want, "{at}"),
            Err(error) => {
                failed += 1;
                assert!(matches!(error, RuntimeError::Device { .. }), "{at}: {error}");
            }
        }
        // How many transfers it takes differs by a few from run to run: then the fault is still to come.
        if bus.transfers() > at {
            assert_eq!(load_and_run(&myriad).as_ref(), Ok(&want), "after transfer {at}");
        }
    }
    // Only a disconnect during the goodbyes goes unnoticed, and that of the last transfer of firmware is as it should be.
    assert!(failed * 10 > total * 6, "{failed} of {total}");
}

#[test]
fn a_link_that_breaks_off_or_stalls_ends_in_time() {
    let want = load_and_run(&with_fault(None, deadlines(SECOND)).0).unwrap();
    let total = transfers();
    for (mishap, step) in [(Mishap::Truncate, 3), (Mishap::Stall, 7)] {
        for at in (0..total).step_by(step) {
            let (myriad, _) = with_fault(Some(Fault { at, mishap }), deadlines(SHORT));
            let start = Instant::now();
            match load_and_run(&myriad) {
                Ok(got) => assert_eq!(got, want, "{mishap:?} at {at}"),
                Err(error) => {
                    let is_device = matches!(error, RuntimeError::Device { .. });
                    assert!(is_device, "{mishap:?} at {at}: {error}");
                }
            }
            // Several answers may be waited for, one after the other.
            assert!(start.elapsed() < SECOND, "{mishap:?} at {at}: {:?}", start.elapsed());
        }
    }
    for at in (0..total).step_by(17) {
        let mishap = Mishap::Delay(Duration::from_millis(5));
        let (myriad, _) = with_fault(Some(Fault { at, mishap }), deadlines(SECOND));
        assert_eq!(load_and_run(&myriad).as_ref(), Ok(&want), "{mishap:?} at {at}");
    }
}

/// Messages have no checksum: that bytes get lost is for USB to see. What is left to promise is an end in time.
#[test]
fn bytes_that_get_lost_or_change_unseen_hang_nobody() {
    let total = transfers();
    for (mishap, step) in [(Mishap::Drop, 5), (Mishap::Flip, 5)] {
        for at in (0..total).step_by(step) {
            let (myriad, _) = with_fault(Some(Fault { at, mishap }), deadlines(SHORT));
            let start = Instant::now();
            let small = Small::new();
            if let Ok(mut session) = myriad.load(&small.model(), &LoadOptions::default()) {
                let result = run(&mut *session);
                assert!(
                    matches!(result, Ok(_) | Err(RuntimeError::Device { .. })),
                    "{mishap:?} at {at}: {result:?}"
                );
            }
            assert!(start.elapsed() < SECOND, "{mishap:?} at {at}: {:?}", start.elapsed());
        }
    }
}

fn faulty(faults: DeviceFaults, wait: Duration) -> Myriad {
    let stick = Stick::new(EmulatorConfig { faults, ..EmulatorConfig::default() });
    let bus = Arc::new(EmulatedBus::new(vec![stick]));
    Myriad::on(bus, Firmware::emulated(), &Choice::Any, deadlines(wait)).unwrap()
}

fn message(faults: DeviceFaults, wait: Duration) -> String {
    load_and_run(&faulty(faults, wait)).unwrap_err().to_string()
}

#[test]
fn a_stick_that_does_not_boot_says_so_in_time() {
    let faults = DeviceFaults { never_boots: true, ..DeviceFaults::default() };
    let start = Instant::now();
    let error = message(faults, SHORT);
    assert!(error.contains("did not come back within 60ms"), "{error}");
    assert!(start.elapsed() < SECOND);
}

#[test]
fn firmware_that_refuses_is_quoted() {
    let none = DeviceFaults::default();
    let error = message(DeviceFaults { verify_status: 7, ..none }, SECOND);
    assert!(error.contains("refused this version of a graph with status 7"), "{error}");
    let allocation = Some(AllocationStatus::OutOfMemory);
    let error = message(DeviceFaults { allocation, ..none }, SECOND);
    assert!(error.contains("out of memory"), "{error}");
}

#[test]
fn a_stick_that_is_stuck_after_any_command_ends_in_time() {
    // Capabilities, three commands about a graph, two about FIFOs, two inferences.
    for after in 0..8 {
        let faults = DeviceFaults { stuck_after: Some(after), ..DeviceFaults::default() };
        let myriad = faulty(faults, SHORT);
        let start = Instant::now();
        let result = load_and_run(&myriad);
        assert!(start.elapsed() < SECOND, "{after}: {:?}", start.elapsed());
        assert!(matches!(result, Err(RuntimeError::Device { .. })), "{after}: {result:?}");
    }
}

#[test]
fn throttling_is_told_and_no_error() {
    let faults = DeviceFaults { throttling: Some(2), ..DeviceFaults::default() };
    let myriad = faulty(faults, SECOND);
    load_and_run(&myriad).unwrap();
    assert_eq!(myriad.device(0).unwrap().thermal().unwrap().throttling, 2);
}

#[test]
fn a_truncated_blob_is_refused_by_the_firmware_and_others_still_load() {
    let myriad = faulty(DeviceFaults::default(), SECOND);
    let small = Small::new();
    let compiled = compile(&small.model(), &CompileOptions::default()).unwrap();
    let whole = blob::write(&compiled.blob).unwrap();
    let device = myriad.device(0).unwrap();
    for len in [40, 132, 700, whole.len() - 1] {
        let file = Arc::new(whole[..len].to_vec());
        let error = device.allocate(&file, &compiled.blob).map(|_| ()).unwrap_err();
        assert!(matches!(error, MyriadError::Status { .. }), "{len}: {error}");
    }
    device.allocate(&Arc::new(whole), &compiled.blob).unwrap();
    load_and_run(&myriad).unwrap();
}

#[test]
fn a_graph_beyond_the_reported_memory_is_not_sent() {
    let mut config = EmulatorConfig::default();
    config.capabilities.max_memory = 3000;
    let myriad = Myriad::emulated(vec![Stick::new(config)]).unwrap();
    let error = load_and_run(&myriad).unwrap_err().to_string();
    assert!(error.contains("the firmware reports 3000"), "{error}");
    let mut config = EmulatorConfig::default();
    config.capabilities.firmware = [0, 0x2480, 0, 0];
    let myriad = Myriad::emulated(vec![Stick::new(config)]).unwrap();
    let error = load_and_run(&myriad).unwrap_err().to_string();
    assert!(error.contains("its chip is 0x2480"), "{error}");
}

#[test]
fn a_session_of_an_unplugged_stick_can_be_dropped() {
    let stick = Stick::new(EmulatorConfig::default());
    let bus = Arc::new(EmulatedBus::new(vec![stick.clone()]));
    let myriad = Myriad::on(bus, Firmware::emulated(), &Choice::Any, deadlines(SECOND)).unwrap();
    let small = Small::new();
    let mut session = myriad.load(&small.model(), &LoadOptions::default()).unwrap();
    run(&mut *session).unwrap();
    stick.unplug();
    wait_until(|| !stick.is_claimed());
    let start = Instant::now();
    assert!(matches!(run(&mut *session), Err(RuntimeError::Device { .. })));
    assert!(start.elapsed() < SECOND);
    let error = myriad.load(&small.model(), &LoadOptions::default()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("no stick is plugged in at emulated.0"), "{error}");
    drop(session);
    stick.plug();
    load_and_run(&myriad).unwrap();
}
