//! Runs on request, so that a bench can let programs take turns: each line of the input is a number of runs, each line of
//! the answer their times.

use std::io::{BufRead, Write};

use embdl_core::runtime::Session;
use serde::{Deserialize, Serialize};

use crate::image::Input;
use crate::machine::{cpu_nanoseconds, nanoseconds, peak_rss_bytes};
use crate::output::Output;
use crate::retest::BenchError;

/// Most runs of one request.
pub(crate) const MAX_RUNS: u32 = 1_000_000;

/// The first line of the answer: who runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// Runtime and level, such as "atom avx2".
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Time from opening the file to a session, in nanoseconds.
    pub load_ns: u64,
    /// Largest resident size of the process so far, in bytes; 0 where the system does not say.
    pub peak_rss: u64,
}

/// The answer to a request: the time of each run in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// One a run.
    pub ns: Vec<u64>,
}

/// What a run's time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// What passes on the wall.
    Wall,
    /// That, or the CPU time of the process where it is less, because something else had the core in between. For sessions
    /// of one thread, which wait for nothing.
    OfOneThread,
}

/// Answers each request on `requests` until there are no more. Runs once before that, so that the peak of memory in the
/// greeting is that of running.
///
/// # Errors
/// If a run fails, a request is not a number from 1 to 1,000,000, or reading or writing fails.
pub fn serve(
    session: &mut dyn Session,
    greeting: Greeting,
    clock: Clock,
    requests: impl BufRead,
    mut answers: impl Write,
) -> Result<(), BenchError> {
    let input = Input::random(session)?;
    let mut outputs: Vec<Output> =
        session.outputs().iter().map(|spec| Output::new(spec.kind)).collect();
    let mut run = || {
        let mut views: Vec<_> = outputs.iter_mut().map(Output::tensor).collect();
        // The CPU's clock takes longer to read, so it stands outside.
        let cpu = cpu_nanoseconds().filter(|_| clock == Clock::OfOneThread);
        let start = nanoseconds();
        session.run(&[input.tensor()], &mut views)?;
        let wall = nanoseconds().saturating_sub(start);
        let cpu = cpu.and_then(|before| Some(cpu_nanoseconds()?.saturating_sub(before)));
        Ok::<u64, BenchError>(cpu.map_or(wall, |cpu| cpu.min(wall)))
    };
    let mut answer = |line: String| writeln!(answers, "{line}").and_then(|()| answers.flush());
    run()?;
    answer(json(&Greeting { peak_rss: peak_rss_bytes(), ..greeting }))?;
    for request in requests.lines() {
        let request = request?;
        let runs: u32 = request.trim().parse().unwrap_or(0);
        if !(1..=MAX_RUNS).contains(&runs) {
            return Err(BenchError::Request { request });
        }
        let ns = (0..runs).map(|_| run()).collect::<Result<_, _>>()?;
        answer(json(&Times { ns }))?;
    }
    Ok(())
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers and strings")
}

#[cfg(test)]
mod tests {
    use embdl_core::runtime::LoadOptions;

    use super::*;
    use crate::fixture::softmax;

    #[test]
    fn times_as_many_runs_as_asked_for() {
        let runtime = crate::runtimes::open("reference").unwrap();
        let mut session = runtime.load(&softmax(), &LoadOptions::default()).unwrap();
        let greeting =
            Greeting { name: "reference".into(), version: "1".into(), load_ns: 1, peak_rss: 2 };
        let mut answers = Vec::new();
        let once = &b"3\n1\n"[..];
        serve(&mut *session, greeting.clone(), Clock::OfOneThread, once, &mut answers).unwrap();
        let lines: Vec<&str> = core::str::from_utf8(&answers).unwrap().lines().collect();
        let said: Greeting = serde_json::from_str(lines[0]).unwrap();
        assert_eq!((&said.name, said.load_ns), (&greeting.name, greeting.load_ns));
        let counts = [1, 2].map(|i| serde_json::from_str::<Times>(lines[i]).unwrap().ns.len());
        assert_eq!(counts, [3, 1]);
        for request in ["0", "x", "4000000000"] {
            let requests = request.as_bytes();
            let error = serve(&mut *session, greeting.clone(), Clock::Wall, requests, Vec::new());
            assert!(matches!(error, Err(BenchError::Request { .. })), "{request}");
        }
    }
}
