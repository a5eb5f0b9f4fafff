//! Progress on stderr.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// Work shorter than this is over before a bar would be read.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// A bar that shows once the work has taken a second, if stderr is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    shown: bool,
}

impl Progress {
    /// For `len` units of work; `what` names them.
    pub(crate) fn new(len: u64, what: &'static str) -> Self {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} ({eta} left)");
        let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::hidden());
        bar.set_style(style.expect("a valid template"));
        bar.set_message(what);
        Self {
            bar,
            started: Instant::now(),
            shown: false,
        }
    }

    /// So much more is done.
    pub(crate) fn advance(&mut self, units: u64) {
        if !self.shown && self.started.elapsed() >= SHOWN_AFTER {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.shown = true;
        }
        self.bar.inc(units);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // However the work ended, the terminal is left clean.
        self.bar.finish_and_clear();
    }
}
