//! How far something has come that takes its time: a bar on the terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes no longer than this needs no bar.
const SOON: Duration = Duration::from_secs(1);

/// A number of bytes on their way. Shown once it has taken a second, until it
/// is dropped, and only where standard error is a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
}

impl Progress {
    /// Begins to do `what` with `total` bytes.
    pub fn new(what: &'static str, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        let style = "{prefix} [{bar:30}] {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta}";
        let style =
            ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(what);
        Self {
            bar,
            began: Instant::now(),
        }
    }

    /// As many bytes are done.
    pub fn reach(&self, bytes: u64) {
        self.bar.set_position(bytes);
        if self.bar.is_hidden() && self.began.elapsed() > SOON {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
