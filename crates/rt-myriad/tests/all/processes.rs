//! More than one process: the emulated stick as a program, and two hosts that want the same stick.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use crate::stick::{assert_close, expected, run};
use crate::support::{Small, wait_until};
use embdl_core::runtime::{LoadOptions, Runtime};
use rt_myriad::Myriad;
use rt_myriad::transport::{Bus, DeviceKind, SocketBus};

/// Says to a process of this test where its stick is.
const ADDRESS: &str = "EMBDL_TEST_STICK";
/// Says to it to keep the stick until it is killed.
const FOR_EVER: &str = "EMBDL_TEST_FOR_EVER";

/// A process that ends with the test.
struct Running(Child);

impl Running {
    /// An emulated stick, and where it listens.
    fn emulator() -> (Self, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_myriad-emu"));
        command.args(["--listen", "127.0.0.1:0", "--lanes16"]).stdout(Stdio::piped());
        let mut emulator = Self(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(emulator.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        (emulator, address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then the test has failed for another reason.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_program_is_such_a_stick() {
    let (_emulator, address) = Running::emulator();
    let small = Small::new();
    // Twice: the stick comes back from the reset that ends the first use.
    for _ in 0..2 {
        let myriad = Myriad::chosen(&format!("emulated:{address}"), None).unwrap();
        let mut session = myriad.load(&small.model(), &LoadOptions::default()).unwrap();
        assert_close(&run(&mut *session, 1).unwrap(), &expected(1));
        drop((session, myriad));
        let bus = SocketBus::new(vec![address.clone()]);
        wait_until(|| {
            bus.devices().unwrap().first().map(|device| device.kind) == Some(DeviceKind::BootRom)
        });
    }
}

/// A process that does what [`a_host`] does.
fn host(address: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "processes::a_host", "--nocapture"]).env(ADDRESS, address);
    command
}

/// What the other process says, which its test reads.
#[expect(clippy::print_stdout, reason = "the other process reads it")]
fn say(line: &str) {
    println!("{line}");
}

/// Nothing by itself: what other tests start as another process.
#[test]
fn a_host() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let myriad = Myriad::chosen(&format!("emulated:{address}"), None).unwrap();
    let small = Small::new();
    match myriad.load(&small.model(), &LoadOptions::default()) {
        Ok(mut session) => {
            assert_close(&run(&mut *session, 1).unwrap(), &expected(1));
            say("the host has run");
            while std::env::var_os(FOR_EVER).is_some() {
                std::thread::park();
            }
        }
        Err(error) => say(&format!("the host failed: {error}")),
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_second_process_is_told_who_has_the_stick_and_gets_it_afterwards() {
    let (_emulator, address) = Running::emulator();
    let myriad = Myriad::chosen(&format!("emulated:{address}"), None).unwrap();
    let small = Small::new();
    let mut session = myriad.load(&small.model(), &LoadOptions::default()).unwrap();
    let told = said(&host(&address).output().unwrap());
    let mine = format!("in use by process {}: a stick serves one", std::process::id());
    assert!(told.contains(&mine), "{told}");
    // Whoever was refused has not disturbed it.
    assert_close(&run(&mut *session, 1).unwrap(), &expected(1));
    drop((session, myriad));
    let told = said(&host(&address).output().unwrap());
    assert!(told.contains("the host has run"), "{told}");
}

#[test]
fn a_stick_whose_host_was_killed_serves_the_next() {
    let (_emulator, address) = Running::emulator();
    let mut command = host(&address);
    let mut killed = Running(command.env(FOR_EVER, "1").stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(killed.0.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("the host has run")));
    let told = said(&host(&address).output().unwrap());
    assert!(told.contains(&format!("in use by process {}", killed.0.id())), "{told}");
    drop(killed);
    let told = said(&host(&address).output().unwrap());
    assert!(told.contains("the host has run"), "{told}");
}
