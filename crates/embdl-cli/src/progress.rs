//! Progress bars for runs that take a while; plain lines where nobody watches.

use core::time::Duration;
use std::sync::Mutex;
use std::time::Instant;

use embdl_flow::progress::{Progress, TrainingState};
use indicatif::{ProgressBar, ProgressStyle};

/// A bar on a terminal, a line now and then elsewhere.
#[derive(Debug)]
pub(crate) struct Bars {
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bar: ProgressBar,
    what: String,
    begun: Instant,
    said: Instant,
}

/// Seconds between lines where there is no terminal.
const QUIET: Duration = Duration::from_secs(15);

impl Bars {
    /// Bars on the standard error.
    pub(crate) fn new() -> Self {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let now = Instant::now();
        let state =
            State { bar: ProgressBar::hidden(), what: String::new(), begun: now, said: now };
        Self { terminal, state: Mutex::new(state) }
    }

    fn show(&self, done: usize, total: usize, message: String) {
        let mut state = self.state.lock().expect("no thread panics while it draws");
        if self.terminal {
            state.bar.set_length(total as u64);
            state.bar.set_position(done as u64);
            state.bar.set_message(message);
        } else if state.said.elapsed() > QUIET {
            state.said = Instant::now();
            eprintln!("    {}: {done} of {total}, {message}", state.what);
        }
    }
}

impl Progress for Bars {
    fn begin(&self, what: &str) {
        let mut state = self.state.lock().expect("no thread panics while it draws");
        what.clone_into(&mut state.what);
        state.begun = Instant::now();
        state.said = Instant::now();
        if self.terminal {
            let style = ProgressStyle::with_template(
                "{prefix} {bar:24} {percent:>3} % {msg} (left: {eta})",
            );
            state.bar = ProgressBar::new(0);
            state.bar.set_style(style.expect("a constant template"));
            state.bar.set_prefix(what.to_owned());
        } else {
            eprintln!("==> {what}");
        }
    }

    fn end(&self, result: &str) {
        let state = self.state.lock().expect("no thread panics while it draws");
        state.bar.finish_and_clear();
        let seconds = state.begun.elapsed().as_secs_f64();
        eprintln!("  {} ({seconds:.1} s)\n    {result}", state.what);
    }

    fn training(&self, at: &TrainingState) {
        let accuracy = at
            .validation_accuracy
            .map_or(String::new(), |share| format!(", {:.2} %", share * 100.0));
        let message = format!(
            "epoch {}/{}, loss {:.3}{accuracy}, {:.0} images/s",
            at.epoch, at.epochs, at.loss, at.images_per_second
        );
        self.show(at.step, at.steps, message);
    }

    fn images(&self, what: &str, done: usize, total: usize) {
        self.show(done, total, what.to_owned());
    }
}
