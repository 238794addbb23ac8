//! A long step that a person waits for: a moving line on a terminal, a plain
//! line now and then anywhere else. Recipes that run a tool for minutes feed
//! it the tool's output.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a log, as opposed to a terminal, hears of the step.
const LOG_INTERVAL: Duration = Duration::from_secs(15);

/// One step under way; it ends when dropped.
#[derive(Debug)]
pub struct Progress {
    name: String,
    bar: ProgressBar,
    steps: u64,
    logged: Instant,
}

impl Progress {
    /// Begins the step called `name`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let bar = ProgressBar::new_spinner();
        // The template is ours and valid; the default would do as well.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(name.clone());
        bar.enable_steady_tick(Duration::from_millis(100));
        log::info!("{name}");
        Self {
            name,
            bar,
            steps: 0,
            logged: Instant::now(),
        }
    }

    /// Something happened: `line` says what.
    pub fn step(&mut self, line: &str) {
        self.steps += 1;
        self.bar.set_message(line.trim().to_owned());
        if !std::io::stderr().is_terminal() && self.logged.elapsed() >= LOG_INTERVAL {
            self.logged = Instant::now();
            log::info!("{}: step {}: {}", self.name, self.steps, line.trim());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
