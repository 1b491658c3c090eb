//! Downloads of data sets: several mirrors, retries, checked before anything gets its final name.
//!
//! ```no_run
//! use embdl_data::catalog::{self, SearchPath};
//! use embdl_data::fetch::{self, FetchOptions};
//!
//! let entry = catalog::find("mnist")?;
//! let dir = fetch::ensure(entry, &SearchPath::from_env(None), &FetchOptions::default(), &mut |progress| {
//!     eprintln!("{}: {} bytes", progress.file, progress.received_bytes);
//! })?;
//! println!("in {}", dir.display());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::time::Duration;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;

use ureq::Agent;

use crate::atomic;
use crate::catalog::{Entry, Files, IdxFile, NotFound, SearchPath, locate};
use crate::idx::{Idx, IdxError, Limits};

/// How patient a download is.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Mirrors to ask before those of the catalog: folders that hold the gzipped files, `http:` or `https:`.
    pub mirrors: Vec<String>,
    /// Rounds over all mirrors.
    pub attempts: u32,
    /// Pause before the second round; it doubles with each further one.
    pub backoff: Duration,
    /// Longest silence of a mirror.
    pub timeout: Duration,
}

impl Default for FetchOptions {
    /// The catalog's mirrors, 3 rounds, 1 s before the second, 30 s of silence.
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            attempts: 3,
            backoff: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
        }
    }
}

/// How far the download of one file is. It starts over at 0 when another mirror is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file.
    pub file: &'a str,
    /// Where it comes from.
    pub url: &'a str,
    /// Bytes so far.
    pub received_bytes: u64,
    /// Bytes in all, where the mirror says so.
    pub total_bytes: Option<u64>,
}

/// Why a data set could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No mirror gave the file.
    #[error("{}", failed_message(file, failures, dir))]
    AllMirrorsFailed {
        /// The file.
        file: String,
        /// What each mirror answered, in the order of asking.
        failures: Vec<Failure>,
        /// Where the file would have gone.
        dir: PathBuf,
    },
    /// There is no folder to put the files into: neither one named nor a home.
    #[error("no folder to fetch into: name one with --data, or set HOME or XDG_CACHE_HOME")]
    NoFolder,
    /// Nobody fetches this data set but a person; says how.
    #[error(transparent)]
    ByHand(Box<NotFound>),
    /// A file could not be written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// One answer of one mirror.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct Failure {
    /// What was asked for.
    pub url: String,
    /// Why it was not good.
    pub reason: FailureReason,
}

/// What was wrong with an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FailureReason {
    /// No connection, no answer, or an answer that is an error.
    #[error("{0}")]
    Request(#[source] Box<ureq::Error>),
    /// The connection broke while the body came.
    #[error("broke off after {received_bytes} bytes: {source}")]
    Body {
        /// Bytes until then.
        received_bytes: u64,
        /// What the system said.
        source: io::Error,
    },
    /// More bytes than the file can have.
    #[error("sent more than {limit_bytes} bytes")]
    TooLong {
        /// The most that were accepted.
        limit_bytes: u64,
    },
    /// The body is not an idx file; a broken-off download looks like this too where the mirror does not say the length.
    #[error("{0}")]
    Idx(#[source] IdxError),
    /// The body is another file than the catalog pins.
    #[error("unpacked SHA-256 is {found}, expected {expected}")]
    Checksum {
        /// Pinned checksum.
        expected: &'static str,
        /// Checksum of what came.
        found: String,
    },
}

impl FailureReason {
    /// Whether asking the same mirror again is of no use.
    fn is_final(&self) -> bool {
        match self {
            // 408 is a timeout and 429 asks for patience.
            Self::Request(error) => {
                matches!(**error, ureq::Error::StatusCode(400..=407 | 409..=428 | 430..=499))
            }
            Self::Checksum { .. } | Self::TooLong { .. } => true,
            Self::Body { .. } | Self::Idx(_) => false,
        }
    }
}

fn failed_message(file: &str, failures: &[Failure], dir: &Path) -> String {
    let mut message = format!("could not fetch {file}:");
    for failure in failures {
        message += &format!("\n  {failure}");
    }
    message + &format!("\nWithout a network, put the file into {} by hand", dir.display())
}

/// The folder that holds the data set: found where `search` looks, or else fetched into its cache.
///
/// # Errors
/// [`FetchError`].
pub fn ensure(
    entry: &Entry,
    search: &SearchPath,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf, FetchError> {
    match locate(entry, search) {
        Ok(dir) => Ok(dir),
        Err(missing) if matches!(entry.files, Files::Cifar(_)) => Err(FetchError::ByHand(missing)),
        Err(missing) => {
            let dir = missing.cache.ok_or(FetchError::NoFolder)?;
            fetch(entry, &dir, options, progress)?;
            Ok(dir)
        }
    }
}

/// Fetches the four idx files into `dir`, which is made if need be; files that are there and good are kept. A data set
/// that is not idx files is left as it is.
///
/// # Errors
/// [`FetchError`]. Files that were fetched before the error stay, so the next call goes on from there.
pub fn fetch(
    entry: &Entry,
    dir: &Path,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), FetchError> {
    let Files::Idx(files) = &entry.files else { return Ok(()) };
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| FetchError::Io { path, source }
    };
    fs::create_dir_all(dir).map_err(io_error(dir))?;
    let agent: Agent = Agent::config_builder()
        .timeout_connect(Some(options.timeout))
        .timeout_recv_response(Some(options.timeout))
        .timeout_per_read(Some(options.timeout))
        .user_agent(concat!("embdl/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    for file in files.all() {
        let path = dir.join(format!("{}.gz", file.name));
        let limits = Limits { max_data_bytes: file.len_bytes };
        if Idx::read(&path, &limits).is_ok_and(|idx| idx.sha256_hex() == file.sha256) {
            continue;
        }
        let bytes =
            from_any_mirror(&agent, entry, file, options, progress).map_err(|failures| {
                let (file, dir) = (format!("{}.gz", file.name), dir.to_owned());
                FetchError::AllMirrorsFailed { file, failures, dir }
            })?;
        atomic::write(&path, &bytes).map_err(io_error(&path))?;
    }
    Ok(())
}

fn from_any_mirror(
    agent: &Agent,
    entry: &Entry,
    file: &IdxFile,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<u8>, Vec<Failure>> {
    let mut urls: Vec<String> = options
        .mirrors
        .iter()
        .map(String::as_str)
        .chain(entry.mirrors.iter().copied())
        .map(|mirror| format!("{}/{}.gz", mirror.trim_end_matches('/'), file.name))
        .collect();
    let mut failures = Vec::new();
    for attempt in 0..options.attempts {
        if attempt > 0 && !urls.is_empty() {
            thread::sleep(options.backoff.saturating_mul(1 << (attempt - 1).min(16)));
        }
        let mut again = Vec::new();
        for url in urls {
            match download(agent, &url, file, progress) {
                Ok(bytes) => return Ok(bytes),
                Err(reason) => {
                    if !reason.is_final() {
                        again.push(url.clone());
                    }
                    failures.push(Failure { url, reason });
                }
            }
        }
        urls = again;
    }
    Err(failures)
}

/// Fetches and checks one file; what it returns is the file as it came.
fn download(
    agent: &Agent,
    url: &str,
    file: &IdxFile,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<u8>, FailureReason> {
    let limits = Limits { max_data_bytes: file.len_bytes };
    let limit_bytes = limits.most_file_bytes();
    let response =
        agent.get(url).call().map_err(|error| FailureReason::Request(Box::new(error)))?;
    let total_bytes = response.body().content_length();
    let mut body = response.into_body().into_reader();
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let received_bytes = bytes.len() as u64;
        progress(Progress { file: file.name, url, received_bytes, total_bytes });
        match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(FailureReason::Body { received_bytes, source }),
        }
        if bytes.len() as u64 > limit_bytes {
            return Err(FailureReason::TooLong { limit_bytes });
        }
    }
    let found = Idx::decode(&bytes, &limits).map_err(FailureReason::Idx)?.sha256_hex();
    let is_right = found == file.sha256;
    is_right.then_some(bytes).ok_or(FailureReason::Checksum { expected: file.sha256, found })
}
