//! Downloads, against a small server on the loopback interface: good mirrors, bad mirrors, and bodies that break off.

use core::time::Duration;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use embdl_data::catalog::{Entry, SearchPath, load_from};
use embdl_data::fetch::{FailureReason, FetchError, FetchOptions, ensure, fetch};
use embdl_data::idx::Idx;

use crate::catalog::tiny;

/// What the server does with a request.
enum Answer {
    Body(Vec<u8>),
    Status(u16),
    /// Promises `claimed` bytes, sends fewer.
    BreakOff {
        body: Vec<u8>,
        claimed: usize,
    },
    /// Says nothing of the length and sends these.
    Unsized(Vec<u8>),
}

/// A server that answers by path, and remembers the paths it was asked for.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(mut answer: impl FnMut(&str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        // It serves until the test's process ends.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let path = request_path(&stream);
                log.lock().unwrap().push(path.clone());
                respond(stream, answer(&path));
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn request_path(stream: &TcpStream) -> String {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap().unwrap();
    for line in lines {
        if line.unwrap().is_empty() {
            break;
        }
    }
    first.split(' ').nth(1).unwrap().to_owned()
}

fn respond(mut stream: TcpStream, answer: Answer) {
    let head = |status: u16, len: Option<usize>| {
        let len = len.map(|len| format!("Content-Length: {len}\r\n")).unwrap_or_default();
        format!("HTTP/1.1 {status} .\r\nConnection: close\r\n{len}\r\n")
    };
    let (head, body) = match answer {
        Answer::Body(body) => (head(200, Some(body.len())), body),
        Answer::Status(status) => (head(status, Some(0)), Vec::new()),
        Answer::BreakOff { body, claimed } => (head(200, Some(claimed)), body),
        Answer::Unsized(body) => (head(200, None), body),
    };
    // A client that has seen enough hangs up; that is its right.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

/// Serves the tiny data set under /good.
fn serve_good() -> (Entry, Server) {
    let (entry, files) = tiny();
    let server = Server::start(move |path| {
        let wanted = path.strip_prefix("/good/").and_then(|name| name.strip_suffix(".gz"));
        match files.iter().find(|(name, _)| Some(*name) == wanted) {
            Some((_, idx)) => Answer::Body(idx.to_gzip()),
            None => Answer::Status(404),
        }
    });
    (entry, server)
}

fn options(mirrors: Vec<String>) -> FetchOptions {
    FetchOptions { mirrors, attempts: 3, backoff: Duration::ZERO, timeout: Duration::from_secs(20) }
}

#[test]
fn fetches_into_the_cache_once() {
    let (entry, server) = serve_good();
    let cache = tempfile::tempdir().unwrap();
    let search = SearchPath { cache: Some(cache.path().to_owned()), ..SearchPath::default() };
    let options = options(vec![format!("{}/good/", server.url)]);
    let mut last = Vec::new();
    let dir = ensure(&entry, &search, &options, &mut |progress| {
        assert!(progress.total_bytes.is_some());
        last.retain(|(file, _, _): &(String, _, _)| file != progress.file);
        last.push((progress.file.to_owned(), progress.received_bytes, progress.total_bytes));
    })
    .unwrap();
    assert_eq!(dir, cache.path().join("tiny"));
    assert_eq!(last.len(), 4);
    assert!(last.iter().all(|(_, received, total)| Some(*received) == *total), "{last:?}");
    let (training, _) = load_from(&entry, &dir).unwrap();
    assert_eq!(training.len(), 4);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 4, "no leftovers");
    ensure(&entry, &search, &options, &mut |_| ()).unwrap();
    fetch(&entry, &dir, &options, &mut |_| ()).unwrap();
    assert_eq!(server.asked().len(), 4, "nothing is fetched twice");
}

#[test]
fn a_damaged_file_is_fetched_again_and_good_ones_are_kept() {
    let (entry, server) = serve_good();
    let dir = tempfile::tempdir().unwrap();
    let options = options(vec![format!("{}/good", server.url)]);
    fetch(&entry, dir.path(), &options, &mut |_| ()).unwrap();
    fs::write(dir.path().join("test-images.gz"), b"half a fi").unwrap();
    fetch(&entry, dir.path(), &options, &mut |_| ()).unwrap();
    assert_eq!(server.asked()[4..], ["/good/test-images.gz"]);
    load_from(&entry, dir.path()).unwrap();
}

#[test]
fn a_mirror_without_the_file_is_asked_once_per_file_and_the_next_serves() {
    let (entry, server) = serve_good();
    let dir = tempfile::tempdir().unwrap();
    let mirrors = vec![format!("{}/none", server.url), format!("{}/good", server.url)];
    fetch(&entry, dir.path(), &options(mirrors), &mut |_| ()).unwrap();
    load_from(&entry, dir.path()).unwrap();
    assert_eq!(server.asked().len(), 8);
    assert_eq!(server.asked()[..2], ["/none/train-images.gz", "/good/train-images.gz"]);
}

/// What the only mirror's answer to every request leads to, and how often it was asked.
fn failure_of(mut answer: impl FnMut() -> Answer + Send + 'static) -> (FetchError, usize) {
    let (entry, _) = tiny();
    let server = Server::start(move |_| answer());
    let dir = tempfile::tempdir().unwrap();
    let options = options(vec![server.url.clone()]);
    let error = fetch(&entry, dir.path(), &options, &mut |_| ()).unwrap_err();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing unchecked has a name");
    (error, server.asked().len())
}

fn reasons(error: FetchError) -> Vec<FailureReason> {
    match error {
        FetchError::AllMirrorsFailed { failures, .. } => {
            failures.into_iter().map(|failure| failure.reason).collect()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn another_file_is_refused_for_good() {
    let other = Idx::new(vec![4, 2, 3], vec![9; 24]).unwrap().to_gzip();
    let (error, asked) = failure_of(move || Answer::Body(other.clone()));
    assert_eq!(asked, 1);
    let message = error.to_string();
    for part in ["could not fetch train-images.gz", "SHA-256", "Without a network"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(matches!(reasons(error)[..], [FailureReason::Checksum { .. }]));
}

#[test]
fn a_body_that_breaks_off_is_tried_again_and_never_kept() {
    let (_, files) = tiny();
    let mut half = files[0].1.to_gzip();
    let claimed = half.len();
    half.truncate(claimed / 2);
    let unsized_half = half.clone();
    let (error, asked) = failure_of(move || Answer::BreakOff { body: half.clone(), claimed });
    assert_eq!(asked, 3);
    let reasons_found = reasons(error);
    assert!(
        reasons_found.iter().all(|reason| matches!(reason, FailureReason::Body { .. })),
        "{reasons_found:?}"
    );
    let (error, asked) = failure_of(move || Answer::Unsized(unsized_half.clone()));
    assert_eq!(asked, 3);
    assert!(matches!(
        reasons(error)[..],
        [FailureReason::Idx(_), FailureReason::Idx(_), FailureReason::Idx(_)]
    ));
}

#[test]
fn an_endless_body_is_cut_short() {
    let (error, asked) = failure_of(|| Answer::Unsized(vec![0; 1 << 20]));
    assert_eq!(asked, 1);
    assert!(matches!(reasons(error)[..], [FailureReason::TooLong { limit_bytes: 4136 }]));
}

#[test]
fn a_login_page_is_not_a_data_set() {
    let (error, _) = failure_of(|| Answer::Body(b"<html>Welcome to our guest network".to_vec()));
    assert!(error.to_string().contains("not an idx file: starts with [3c, 68, 74, 6d]"), "{error}");
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let (entry, files) = tiny();
    let mut troubles = 2;
    let server = Server::start(move |path| {
        if troubles > 0 {
            troubles -= 1;
            return Answer::Status(503);
        }
        let found = files.iter().find(|(name, _)| path == format!("/{name}.gz"));
        Answer::Body(found.unwrap().1.to_gzip())
    });
    let dir = tempfile::tempdir().unwrap();
    fetch(&entry, dir.path(), &options(vec![server.url.clone()]), &mut |_| ()).unwrap();
    assert_eq!(server.asked().len(), 6);
    load_from(&entry, dir.path()).unwrap();
}

#[test]
fn without_a_network_the_message_says_where_the_files_go() {
    let (entry, _) = tiny();
    // A port that was free a moment ago, and that nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let options = options(vec![format!("http://127.0.0.1:{port}")]);
    let message = fetch(&entry, dir.path(), &options, &mut |_| ()).unwrap_err().to_string();
    let place = format!("put the file into {} by hand", dir.path().display());
    assert!(message.contains(&place), "{message}");
    let nowhere = ensure(&entry, &SearchPath::default(), &options, &mut |_| ()).unwrap_err();
    assert!(matches!(nowhere, FetchError::NoFolder));
}
