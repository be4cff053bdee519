//! Progress of what takes longer than a second: a bar on standard error, if that is a terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// After which a bar is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// Progress of one piece of work. The bar goes away with it.
pub struct Progress {
    bar: ProgressBar,
    start: Instant,
    /// Whether the bar may be shown and is not yet.
    waiting: bool,
}

impl Progress {
    /// Work of `total` `units` (bytes are counted as such), if that is known.
    pub fn new(work: &'static str, units: &'static str, total: Option<u64>, output: &Output) -> Progress {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let (done, rate) = match units {
            "bytes" => ("{bytes}", "{bytes_per_sec}"),
            _ => ("{human_pos}", "{per_sec}"),
        };
        let template = match total {
            Some(_) => format!("{work} {{wide_bar}} {{percent}} % {done} {units}, {rate}, {{eta}} left"),
            None => format!("{{spinner}} {work} {done} {units}, {rate}"),
        };
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        let waiting = !output.is_quiet() && std::io::stderr().is_terminal();
        Progress { bar, start: Instant::now(), waiting }
    }

    /// So much more is done.
    pub fn advance(&mut self, done: u64) {
        self.bar.inc(done);
        if self.waiting && self.start.elapsed() > PATIENCE {
            self.waiting = false;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// So much is done altogether.
    pub fn reach(&mut self, done: u64) {
        self.advance(done.saturating_sub(self.bar.position()));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
