//! A progress bar on standard error, when somebody is there to see it and the work takes a while.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Counts rows; draws once [`DRAW_DELAY`] has passed and standard error is a terminal.
pub(super) struct Progress {
    /// Hidden until then, but counting: it knows the pace when it appears. `None` without anybody
    /// to see it.
    bar: Option<ProgressBar>,
    started: Instant,
    is_drawn: bool,
}

impl Progress {
    /// `total` is `None` when rows are still to come, as from a pipe.
    pub(super) fn new(total: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| build_bar(total));
        Self { bar, started: monotonic_now(), is_drawn: false }
    }

    /// For rows whose answers go to standard output as they come: on a terminal they are
    /// themselves the progress, and a bar would be drawn through them.
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

    /// Runs `write`, which uses standard error, without the bar in its way.
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
    // A constant template that does not parse would only cost the bar its looks.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The one monotonic clock of this shell.
#[expect(
    clippy::disallowed_methods,
    reason = "a shell's one clock(); progress and the pace of a rehearsal read it"
)]
pub(super) fn monotonic_now() -> Instant {
    Instant::now()
}

/// Work that is done within it shows no bar.
const DRAW_DELAY: Duration = Duration::from_secs(2);
