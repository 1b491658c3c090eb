//! An emulated stick from boot ROM to results, several at once, and over a socket.

use core::time::Duration;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{Small, deadlines, inputs, wait_until};
use embdl_core::kernels::Reference;
use embdl_core::runtime::{LoadOptions, Runtime, RuntimeError, Session};
use embdl_core::tensor::{TensorMut, TensorRef};
use rt_myriad::emulator::{EmulatorConfig, ExpectedFirmware, Stick};
use rt_myriad::transport::{
    Bus, DeviceInfo, DeviceKind, EmulatedBus, Recorder, RecordingBus, ReplayBus, SocketBus,
    Transport, TransportError, serve,
};
use rt_myriad::{Choice, Deadlines, Firmware, Myriad, MyriadError};
use sha2::{Digest, Sha256};

const SECOND: Duration = Duration::from_secs(5);

pub(crate) fn run(session: &mut dyn Session, samples: usize) -> Result<Vec<f32>, RuntimeError> {
    let input = inputs(samples);
    let mut output = vec![0.0; samples * Small::OUTPUT];
    session.run(&[TensorRef::F32(&input)], &mut [TensorMut::F32(&mut output)])?;
    Ok(output)
}

/// What the scalar reference gives.
pub(crate) fn expected(samples: usize) -> Vec<f32> {
    let options = LoadOptions { batch: samples, ..LoadOptions::default() };
    let small = Small::new();
    let mut session = Reference::runtime().load(&small.model(), &options).unwrap();
    run(&mut *session, samples).unwrap()
}

pub(crate) fn assert_close(got: &[f32], want: &[f32]) {
    for (got, want) in got.iter().zip(want) {
        // The vendor's bound for layers of 36 products, then of 288: 5.5e-4 each.
        assert!((got - want).abs() <= 5.5e-4 * 324.0, "{got} instead of {want}");
        assert!((got - want).abs() <= 0.05, "{got} instead of {want}");
    }
}

fn on(bus: impl Bus + 'static, deadlines: Deadlines) -> Result<Myriad, MyriadError> {
    Myriad::on(Arc::new(bus), Firmware::emulated(), &Choice::Any, deadlines)
}

#[test]
fn a_stick_boots_moves_and_infers() {
    let stick = Stick::new(EmulatorConfig { moves: true, ..EmulatorConfig::default() });
    let myriad = Myriad::emulated(vec![stick.clone()]).unwrap();
    assert_eq!(stick.kind(), Some(DeviceKind::BootRom));
    let small = Small::new();
    fn clock() -> u64 {
        0
    }
    let options = LoadOptions { clock: Some(clock), ..LoadOptions::default() };
    let mut session = myriad.load(&small.model(), &options).unwrap();
    assert_eq!(stick.kind(), Some(DeviceKind::Booted));
    assert_close(&run(&mut *session, 1).unwrap(), &expected(1));
    let nodes = &session.profile().unwrap().nodes;
    let kernels: Vec<&str> = nodes.iter().map(|node| node.kernel).collect();
    assert_eq!(kernels, ["CONV", "none", "FC"]);
    assert!(nodes[0].nanoseconds > 0 && nodes[1].nanoseconds == 0);
    assert!(session.memory().weight_bytes > 3000);
    let device = myriad.device(0).unwrap();
    assert_eq!(device.capabilities().max_memory, 522_059_056);
    assert_eq!(device.thermal().unwrap().throttling, 0);
    assert!(device.used_memory().unwrap() > 3000);
    drop((session, device, myriad));
    // It is let go of, and back in its boot ROM.
    wait_until(|| !stick.is_claimed() && stick.kind() == Some(DeviceKind::BootRom));
}

#[test]
fn graphs_come_and_go_more_often_than_there_is_room() {
    let stick = Stick::new(EmulatorConfig::default());
    let myriad = Myriad::emulated(vec![stick]).unwrap();
    let small = Small::new();
    let want = expected(1);
    let load = || myriad.load(&small.model(), &LoadOptions::default());
    for _ in 0..25 {
        assert_close(&run(&mut *load().unwrap(), 1).unwrap(), &want);
    }
    let all: Vec<_> = (0..10).map(|_| load().unwrap()).collect();
    let full = load().map(|_| ()).unwrap_err();
    assert!(full.to_string().contains("has 10 graphs already"), "{full}");
    drop(all);
    assert_close(&run(&mut *load().unwrap(), 1).unwrap(), &want);
    assert_eq!(myriad.device(0).unwrap().used_memory().unwrap(), 0);
}

#[test]
fn a_batch_is_shared_out_to_three_sticks() {
    let sticks: Vec<Stick> = (0..3).map(|_| Stick::new(EmulatorConfig::default())).collect();
    let myriad = Myriad::emulated(sticks).unwrap();
    assert_eq!(myriad.sticks(), 3);
    let small = Small::new();
    for samples in [1, 2, 7, 20] {
        let options = LoadOptions { batch: samples, ..LoadOptions::default() };
        let mut session = myriad.load(&small.model(), &options).unwrap();
        assert_close(&run(&mut *session, samples).unwrap(), &expected(samples));
    }
}

#[test]
fn only_the_expected_firmware_boots() {
    let right = Firmware::emulated();
    let expected =
        ExpectedFirmware { len: right.bytes().len(), sha256: Sha256::digest(right.bytes()).into() };
    let config = EmulatorConfig { firmware: Some(expected), ..EmulatorConfig::default() };
    let bus = Arc::new(EmulatedBus::new(vec![Stick::new(config)]));
    let small = Small::new();
    let load = |firmware: Firmware, wait| {
        let myriad = Myriad::on(bus.clone(), firmware, &Choice::Any, deadlines(wait)).unwrap();
        myriad.load(&small.model(), &LoadOptions::default()).map(|_| ())
    };
    let mut wrong = right.bytes().to_vec();
    wrong[100] ^= 1;
    let wrong = Firmware::of_bytes(wrong, right.dialect());
    let error = load(wrong, Duration::from_millis(100)).unwrap_err();
    assert!(error.to_string().contains("did not come back"), "{error}");
    load(right, SECOND).unwrap();
}

#[test]
fn nothing_is_booted_that_was_not_chosen() {
    let stick = Stick::new(EmulatorConfig::default());
    let bus = Arc::new(EmulatedBus::new(vec![stick.clone()]));
    let with = |choice| {
        Myriad::on(bus.clone(), Firmware::emulated(), &choice, Deadlines::emulated()).unwrap_err()
    };
    let error = with(Choice::Ports(Vec::new()));
    assert!(matches!(error, MyriadError::NotChosen { .. }), "{error}");
    let error = with(Choice::Ports(vec!["1-1.2".into()]));
    assert!(matches!(error, MyriadError::NoSuchPort { .. }), "{error}");
    stick.unplug();
    assert!(matches!(with(Choice::Any), MyriadError::NoStick { .. }));
    assert_eq!(stick.kind(), None);
}

#[test]
fn a_stick_that_was_left_running_is_reset_and_one_in_use_is_not() {
    let stick = Stick::new(EmulatorConfig::default());
    let bus = EmulatedBus::new(vec![stick.clone()]);
    // Booted by somebody who left without a goodbye.
    let rom = bus.devices().unwrap().remove(0);
    let mut transport = bus.open(&rom).unwrap();
    transport.writer.write(b"firmware", SECOND).unwrap();
    drop(transport);
    wait_until(|| stick.kind() == Some(DeviceKind::Booted));
    let small = Small::new();
    let myriad = on(bus.clone(), deadlines(SECOND)).unwrap();
    let session = myriad.load(&small.model(), &LoadOptions::default()).unwrap();
    let other = on(bus, deadlines(SECOND)).unwrap();
    let error = other.load(&small.model(), &LoadOptions::default()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("in use by another process"), "{error}");
    drop((session, myriad));
    other.load(&small.model(), &LoadOptions::default()).unwrap();
}

#[test]
fn a_stick_in_another_process_answers_over_a_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stick = Stick::new(EmulatorConfig::default());
    thread::spawn(move || serve(&stick, &listener));
    let myriad = Myriad::chosen(&format!("emulated:{address}"), None).unwrap();
    let small = Small::new();
    let options = LoadOptions { batch: 5, ..LoadOptions::default() };
    let mut session = myriad.load(&small.model(), &options).unwrap();
    assert_close(&run(&mut *session, 5).unwrap(), &expected(5));
    let bus = SocketBus::new(vec![address.clone()]);
    let device = DeviceInfo { port: address, kind: DeviceKind::Booted };
    assert_eq!(bus.devices().unwrap(), core::slice::from_ref(&device));
    assert!(matches!(bus.open(&device), Err(TransportError::Busy { .. })));
}

#[test]
fn a_recording_plays_again_and_a_difference_is_found() {
    let small = Small::new();
    let recorder = Recorder::default();
    let bus = EmulatedBus::new(vec![Stick::new(EmulatorConfig::default())]);
    let once = |bus: Arc<dyn Bus>, deadlines| {
        let myriad = Myriad::on(bus, Firmware::emulated(), &Choice::Any, deadlines).unwrap();
        let mut session = myriad.load(&small.model(), &LoadOptions::default())?;
        run(&mut *session, 1)
    };
    // Pings of the watchdog come when they come.
    let quiet = Deadlines { watchdog: Duration::from_secs(3600), ..deadlines(SECOND) };
    let bus: Arc<dyn Bus> = Arc::new(RecordingBus::new(bus, recorder.clone()));
    let live = once(bus, quiet).unwrap();
    let mut exchanges = recorder.exchanges();
    assert_eq!(exchanges.len(), 2, "once in its boot ROM, once running");
    assert_eq!(exchanges[0].written, [Firmware::emulated().bytes()]);
    let played = once(Arc::new(ReplayBus::new(exchanges.clone())), quiet).unwrap();
    assert_eq!(played, live);
    // The first transfer to the firmware is a ping.
    exchanges[1].written[0][0] ^= 1;
    let other = once(Arc::new(ReplayBus::new(exchanges)), quiet);
    let error = other.unwrap_err().to_string();
    assert!(error.contains("transfer 0 differs from the recording"), "{error}");
}

/// A bus whose device was never there.
#[derive(Debug, Default)]
struct Ghost(Mutex<()>);

impl Bus for Ghost {
    fn devices(&self) -> Result<Vec<DeviceInfo>, TransportError> {
        Ok(vec![DeviceInfo { port: "1-1".into(), kind: DeviceKind::OtherBootRom }])
    }

    fn open(&self, _: &DeviceInfo) -> Result<Transport, TransportError> {
        Err(TransportError::Gone)
    }

    fn boots(&self) -> &Mutex<()> {
        &self.0
    }
}

#[test]
fn a_stick_with_another_chip_is_named() {
    let error = on(Ghost::default(), deadlines(SECOND)).unwrap_err().to_string();
    assert!(error.contains("an NCS 2 is"), "{error}");
}
