//! A progress bar on standard error for commands that work through rows.
//!
//! The bar appears if standard error is a terminal and the work takes longer than two seconds. It
//! is removed when the work ends.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Row counter that draws a bar once [`DRAW_DELAY`] has passed, if standard error is a terminal.
pub(super) struct Progress {
    /// Counts while it is hidden, so that the rate is known when it appears. `None` if standard
    /// error is not a terminal, or if the results themselves show the progress.
    bar: Option<ProgressBar>,
    started: Instant,
    is_drawn: bool,
}

impl Progress {
    /// Starts to count; `total` is `None` if the number of rows is not known, as from a pipe.
    pub(super) fn new(total: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| build_bar(total));
        Self { bar, started: monotonic_now(), is_drawn: false }
    }

    /// Starts to count rows whose results go to standard output one by one. On a terminal these
    /// results show the progress, and a bar would be drawn through them.
    pub(super) fn for_streamed_output(total: Option<u64>) -> Self {
        let mut progress = Self::new(total);
        if io::stdout().is_terminal() {
            progress.bar = None;
        }
        progress
    }

    /// Counts one more row.
    pub(super) fn increment(&mut self) {
        let Some(bar) = &self.bar else { return };
        if !self.is_drawn && monotonic_now().duration_since(self.started) > DRAW_DELAY {
            self.is_drawn = true;
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar.inc(1);
    }

    /// Runs `write`, which uses standard error, while the bar is hidden.
    pub(super) fn suspend(&self, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn build_bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => {
            (ProgressBar::new(total), "{bar:32} {pos}/{len} rows, {per_sec}, {eta} left")
        }
        None => (ProgressBar::new_spinner(), "{spinner} {pos} rows, {per_sec}"),
    };
    bar.set_draw_target(ProgressDrawTarget::hidden());
    // If a constant template did not parse, the bar would only lose its style.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Returns the current time of the monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "a shell's one clock(); progress and the pace of a rehearsal read it"
)]
pub(super) fn monotonic_now() -> Instant {
    Instant::now()
}

/// Delay before the bar appears; shorter work shows no bar.
const DRAW_DELAY: Duration = Duration::from_secs(2);
