//! What Linux says of a process, and tests that run in one of their own: their peak is not somebody else's.

use std::process::Command;

/// A number of kB that the kernel keeps of this process in `/proc/self/status`, such as `VmHWM:`, in bytes.
///
/// # Panics
/// Where there is no such number.
#[must_use]
pub fn status_bytes(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with(key)).expect("a line of the kernel's");
    let number = line.split_whitespace().nth(1).expect("a number");
    number.parse::<u64>().expect("a number") * 1024
}

/// Runs the test `child` of this program in a process of its own, with the variables; gives what it wrote to stderr.
///
/// # Panics
/// If the test fails.
#[must_use]
pub fn run_child(variables: &[(&str, &str)]) -> String {
    let exe = std::env::current_exe().expect("this program");
    let mut command = Command::new(exe);
    command.args(["child", "--exact", "--nocapture", "--test-threads=1"]);
    let output = command.envs(variables.iter().copied()).output().expect("it starts again");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{variables:?}: {text}");
    text
}
