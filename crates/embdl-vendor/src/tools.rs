//! The vendors' compilers, where they are installed: found, run with the flags for the MA2450, ended after a while, and their results
//! looked at before anybody uses them.
//!
//! Source: the vendors' documentation of `mvNCCompile` (NCSDK 2), `myriad_compile` and `compile_tool` (OpenVINO 2020.1 to 2020.3).

use core::time::Duration;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use crate::VendorError;

/// Where OpenVINO's installers put it.
const OPT_INTEL: &str = "/opt/intel";
/// Where its programs are within.
const IN_OPENVINO: &str = "deployment_tools/inference_engine/lib/intel64";
/// Cores of the chip, and slices of its scratchpad; the programs want both or none.
const CORES: &str = "12";
/// How long a compiler may take. VGG-16 takes NCSDK's minutes.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// Of what a program says, the end is shown.
const SHOWN: u64 = 2000;
const POLL: Duration = Duration::from_millis(50);

/// A vendor's compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// OpenVINO's, of 2019 R2 to 2020.3.
    MyriadCompile,
    /// OpenVINO's, of 2020.1 to 2020.3.
    CompileTool,
    /// NCSDK's.
    MvncCompile,
}

impl Tool {
    /// Its name.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::MyriadCompile => "myriad_compile",
            Self::CompileTool => "compile_tool",
            Self::MvncCompile => "mvNCCompile",
        }
    }

    /// Where it is: on `PATH`, or in OpenVINO's folders.
    ///
    /// # Errors
    /// If it is in none of them.
    pub fn find(self) -> Result<PathBuf, VendorError> {
        self.find_in(&std::env::var_os("PATH").unwrap_or_default(), Path::new(OPT_INTEL))
    }

    fn find_in(self, path: &OsString, opt: &Path) -> Result<PathBuf, VendorError> {
        let mut folders: Vec<PathBuf> = std::env::split_paths(path).collect();
        let mut installed: Vec<PathBuf> = fs::read_dir(opt)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("openvino"))
            })
            .map(|path| path.join(IN_OPENVINO))
            .collect();
        installed.sort();
        folders.extend(installed);
        let program = self.program();
        folders.iter().map(|folder| folder.join(program)).find(|path| path.is_file()).ok_or_else(
            || VendorError::NoProgram {
                program,
                searched: format!("{}/openvino*/{IN_OPENVINO}", opt.display()),
            },
        )
    }

    /// Its arguments for the MA2450, without a stick: OpenVINO's look for one unless they are told the platform.
    #[must_use]
    pub fn arguments(self, model: &Path, weights: &Path, out: &Path) -> Vec<OsString> {
        let text = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let [model, weights, out] = [model, weights, out].map(|path| path.as_os_str().to_owned());
        let mut arguments = match self {
            // The weights are found beside the layers, by name.
            Self::MyriadCompile => [text(&["-m"]), vec![model]].concat(),
            Self::CompileTool => [text(&["-m"]), vec![model], text(&["-d", "MYRIAD"])].concat(),
            // Without `-w` it takes zeros and says nothing.
            Self::MvncCompile => [vec![model], text(&["-w"]), vec![weights]].concat(),
        };
        arguments.push("-o".into());
        arguments.push(out);
        arguments.extend(match self {
            Self::MvncCompile => text(&["-s", CORES]),
            _ => text(&[
                "-ip",
                "FP16",
                "-op",
                "FP16",
                "-VPU_MYRIAD_PLATFORM",
                "VPU_MYRIAD_2450",
                "-VPU_NUMBER_OF_SHAVES",
                CORES,
                "-VPU_NUMBER_OF_CMX_SLICES",
                CORES,
            ]),
        });
        arguments
    }

    /// The version of graphs that it writes, and where a file says so: a magic number, major, minor.
    const fn version(self) -> (&'static str, [(usize, u32); 3]) {
        match self {
            Self::MvncCompile => ("2.3", [(0x22, 8708), (0x2a, 2), (0x2e, 3)]),
            _ => ("5.0", [(52, 9709), (60, 5), (64, 0)]),
        }
    }

    /// Runs the program that is at `program`, and looks at what it has written to `out`.
    ///
    /// # Errors
    /// If it fails, does not end in time, or writes something else than a graph for the firmware of its line.
    pub fn run(
        self,
        program: &Path,
        [model, weights, out]: [&Path; 3],
        patience: Duration,
    ) -> Result<(), VendorError> {
        let io = |what: String| move |source| VendorError::Io { what, source };
        // Nothing of an earlier run is taken for the result of this one.
        match fs::remove_file(out) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io(format!("removing {}", out.display()))(error));
            }
            _ => {}
        }
        let said_path = out.with_extension("log");
        let said = || format!("writing {}", said_path.display());
        let log = fs::File::create(&said_path).map_err(io(said()))?;
        let also = log.try_clone().map_err(io(said()))?;
        let mut command = Command::new(program);
        command.args(self.arguments(model, weights, out));
        command.stdin(Stdio::null()).stdout(log).stderr(also);
        let mut child = command.spawn().map_err(io(format!("starting {}", program.display())))?;
        let end = Instant::now() + patience;
        let status: ExitStatus = loop {
            let ended =
                child.try_wait().map_err(io(format!("waiting for {}", program.display())))?;
            match ended {
                Some(status) => break status,
                None if Instant::now() < end => thread::sleep(POLL),
                None => {
                    // It may end by itself just now; either way it is over.
                    let _ = child.kill();
                    let _ = child.wait();
                    let (program, seconds) = (self.program(), patience.as_secs());
                    return Err(VendorError::TimedOut { program, seconds });
                }
            }
        };
        if !status.success() {
            let said = tail(&said_path);
            let (program, status) = (self.program(), status.to_string());
            return Err(VendorError::Failed { program, status, said });
        }
        self.check(out)
    }

    fn check(self, out: &Path) -> Result<(), VendorError> {
        let (expected, places) = self.version();
        let program = self.program();
        let bad = |found: String| VendorError::NotAGraph { program, expected, found };
        let mut head = Vec::new();
        fs::File::open(out)
            .and_then(|file| file.take(128).read_to_end(&mut head))
            .map_err(|error| bad(format!("{}: {error}", out.display())))?;
        for (at, expected) in places {
            let found = head.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            if found != Some(expected) {
                return Err(bad(format!("{found:?} instead of {expected} at byte {at}")));
            }
        }
        Ok(())
    }
}

/// The end of what a program said.
fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = fs::File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(SHOWN)))?;
        let mut bytes = Vec::new();
        file.take(SHOWN).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    read().unwrap_or_default()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A program that does what `script` says, with `$out` for the file after `-o`.
    fn program(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("program");
        let text = format!(
            "#!/bin/sh\nall=\"$*\"\nwhile [ $# -gt 0 ]; do [ \"$1\" = -o ] && out=\"$2\"; shift; done\n{script}\n"
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn run(script: &str, patience: Duration) -> Result<(), VendorError> {
        let folder = tempfile::tempdir().unwrap();
        let path = program(folder.path(), script);
        let files = ["n.xml", "n.bin", "n.blob"].map(|name| folder.path().join(name));
        let [model, weights, out] = [0, 1, 2].map(|at| files[at].as_path());
        Tool::MyriadCompile.run(&path, [model, weights, out], patience)
    }

    #[test]
    fn a_result_is_looked_at_and_a_failure_is_told() {
        let second = Duration::from_secs(20);
        // 9709 at byte 52, 5 and 0 at 60 and 64.
        let good = "head -c 52 /dev/zero > \"$out\"; printf '\\355\\045\\0\\0\\0\\0\\0\\0\\005\\0\\0\\0\\0\\0\\0\\0' >> \"$out\"";
        run(good, second).unwrap();
        let flags = "echo \"$all\" | grep -q -e '-VPU_MYRIAD_PLATFORM VPU_MYRIAD_2450'";
        run(&format!("{good}; {flags}"), second).unwrap();
        let other = run("echo text > \"$out\"", second).unwrap_err().to_string();
        assert!(other.contains("no graph of version 5.0"), "{other}");
        let none = run("true", second).unwrap_err();
        assert!(matches!(none, VendorError::NotAGraph { .. }), "{none}");
        let failed = run("echo cannot do that >&2; exit 3", second).unwrap_err().to_string();
        assert!(failed.contains("cannot do that") && failed.contains('3'), "{failed}");
        let slow = run("exec sleep 60", Duration::from_millis(200)).unwrap_err();
        assert!(matches!(slow, VendorError::TimedOut { .. }), "{slow}");
    }

    #[test]
    fn programs_are_found_on_the_path_and_where_openvino_is() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("openvino_2020.3.194").join(IN_OPENVINO);
        fs::create_dir_all(&inner).unwrap();
        let missing = Tool::CompileTool.find_in(&OsString::new(), folder.path()).unwrap_err();
        assert!(missing.to_string().contains("compile_tool is not installed"), "{missing}");
        fs::write(inner.join("compile_tool"), "").unwrap();
        let found = Tool::CompileTool.find_in(&OsString::new(), folder.path()).unwrap();
        assert_eq!(found, inner.join("compile_tool"));
        let first = tempfile::tempdir().unwrap();
        fs::write(first.path().join("compile_tool"), "").unwrap();
        let path = first.path().as_os_str().to_owned();
        let found = Tool::CompileTool.find_in(&path, folder.path()).unwrap();
        assert_eq!(found, first.path().join("compile_tool"));
    }

    #[test]
    fn mvnccompile_gets_its_weights() {
        let [model, weights, out] = ["a.prototxt", "a.caffemodel", "a.graph"].map(Path::new);
        let arguments = Tool::MvncCompile.arguments(model, weights, out);
        assert_eq!(arguments, ["a.prototxt", "-w", "a.caffemodel", "-o", "a.graph", "-s", "12"]);
    }
}
