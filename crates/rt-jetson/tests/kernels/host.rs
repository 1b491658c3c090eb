//! The kernels' source as C++ on this CPU: programs that `kernels/host.cpp` describes, compiled by clang.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::case::Step;

/// Names the compiler. Where it is set, tests fail that cannot have their programs; else they go without.
const CLANG: &str = "EMBDL_CLANG";

/// Looked for where it is not set.
const KNOWN: [&str; 2] = ["clang-19", "clang"];

const COMMON: [&str; 12] = [
    "-x",
    "c++",
    "-std=c++17",
    "-O1",
    "-g",
    "-DEMBDL_HOST",
    "-ffp-contract=off",
    "-fno-exceptions",
    "-fno-rtti",
    "-Wall",
    "-Wextra",
    "-Wno-deprecated-declarations",
];
const CHECKED: [&str; 2] = [
    "-fsanitize=address,alignment,bounds,integer-divide-by-zero,shift-exponent,signed-integer-overflow",
    "-fno-sanitize-recover=all",
];
const POISONED: [&str; 1] = ["-DEMBDL_POISON"];

/// A way to run the kernels as C++.
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    /// 0 from the first thread to the last, 1 the other way.
    order: u64,
    program: Mutex<Running>,
}

struct Running {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

/// All ways; none where there is no compiler.
pub(crate) fn machines() -> &'static [Machine] {
    static MACHINES: LazyLock<Vec<Machine>> = LazyLock::new(|| {
        let Some(clang) = clang() else {
            eprintln!("SKIPPED: the kernels as C++, because there is no clang");
            return Vec::new();
        };
        let checked = built(&clang, "checked", &CHECKED);
        let poisoned = built(&clang, "poisoned", &POISONED);
        let machine = |name, order, program: &Path| Machine {
            name,
            order,
            program: Mutex::new(Running::start(program)),
        };
        vec![
            machine("C++, checked", 0, &checked),
            machine("C++, backwards", 1, &checked),
            machine("C++, nonsense in shared memory", 1, &poisoned),
        ]
    });
    &MACHINES
}

fn clang() -> Option<OsString> {
    if let Some(clang) = std::env::var_os(CLANG) {
        return Some(clang);
    }
    // One that is too old for half floats, or has no sanitizers, fails on the smallest program.
    let works = |name: &&str| {
        let mut command = Command::new(name);
        command.args(["-x", "c++", "-", "-fsanitize=address", "-o", "/dev/null"]);
        let program = "#include <ucontext.h>\n_Float16 half; int main() { return half != 0; }";
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        child.stdin.take()?.write_all(program.as_bytes()).ok()?;
        child.wait().ok()?.success().then_some(())
    };
    KNOWN.iter().find(|name| works(name).is_some()).map(OsString::from)
}

/// The program, compiled where that was not done yet for these sources.
fn built(clang: &OsString, name: &str, flags: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda-kernels");
    fs::create_dir_all(&folder).unwrap();
    // Tests of other processes wait here while one compiles.
    let lock = File::create(folder.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let mut files: Vec<PathBuf> =
        fs::read_dir(&kernels).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut stamp = format!("{clang:?} {flags:?}\n");
    for file in &files {
        stamp += &fs::read_to_string(file).unwrap();
    }
    let (program, stamped) = (folder.join(name), folder.join(format!("{name}.stamp")));
    if fs::read_to_string(&stamped).is_ok_and(|made| made == stamp) && program.exists() {
        return program;
    }
    let mut command = Command::new(clang);
    command.args(COMMON).args(flags);
    if cfg!(target_arch = "x86_64") {
        command.arg("-mf16c");
    }
    let sources = files.iter().filter(|file| {
        file.extension().is_some_and(|extension| extension == "cu" || extension == "cpp")
    });
    command.args(sources).args(["-lm", "-o"]).arg(&program);
    let output = command.output().unwrap_or_else(|error| panic!("{clang:?}: {error}"));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && message.is_empty(), "{command:?}: {message}");
    fs::write(&stamped, stamp).unwrap();
    program
}

impl Running {
    fn start(program: &Path) -> Self {
        let mut command = Command::new(program);
        // Leaks are what the program has at its end, by design.
        command.env("ASAN_OPTIONS", "detect_leaks=0:detect_stack_use_after_return=0");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output }
    }
}

impl Machine {
    /// Runs a launch on buffers.
    pub(crate) fn launch(&self, step: &Step, buffers: &mut BTreeMap<u64, Vec<u8>>) {
        let mut running = self.program.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.exchange(step, buffers, &mut running);
        result.unwrap_or_else(|error| {
            let status = running.child.wait();
            panic!("{}: {error}; {status:?}\n{step:?}", self.name)
        });
    }

    fn exchange(
        &self,
        step: &Step,
        buffers: &mut BTreeMap<u64, Vec<u8>>,
        running: &mut Running,
    ) -> std::io::Result<()> {
        let mut message = Vec::new();
        let number = |message: &mut Vec<u8>, value: u64| message.extend(value.to_le_bytes());
        number(&mut message, self.order);
        number(&mut message, step.entry.len() as u64);
        message.extend(step.entry.bytes());
        step.grid.iter().for_each(|&axis| number(&mut message, axis.into()));
        number(&mut message, step.threads.into());
        number(&mut message, step.params.len() as u64);
        message.extend(&step.params);
        number(&mut message, buffers.len() as u64);
        for (&address, bytes) in &*buffers {
            number(&mut message, address);
            number(&mut message, bytes.len() as u64);
        }
        buffers.values().for_each(|bytes| message.extend(bytes));
        running.input.write_all(&message)?;
        let mut word = [0; 8];
        running.output.read_exact(&mut word)?;
        if u64::from_le_bytes(word) == 0 {
            running.output.read_exact(&mut word)?;
            let mut wrong = vec![0; usize::try_from(u64::from_le_bytes(word)).unwrap()];
            running.output.read_exact(&mut wrong)?;
            panic!("{}: {}\n{step:?}", self.name, String::from_utf8_lossy(&wrong));
        }
        for bytes in buffers.values_mut() {
            running.output.read_exact(bytes)?;
        }
        Ok(())
    }
}
