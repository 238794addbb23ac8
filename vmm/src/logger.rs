//! The VM process's log: lines on standard error, where `plinth run`'s other
//! messages go.
//!
//! `PLINTH_LOG` names the least level that is shown: `error`, `warn` (the
//! default), `info`, `debug` or `off`. A line ends so that it looks right on
//! a terminal in raw mode, too.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};

/// The environment variable that names the level.
const VARIABLE: &str = "PLINTH_LOG";

struct StandardError;

impl Log for StandardError {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = record.level().as_str().to_ascii_lowercase();
        // With nobody to read it, a log line is lost, and that is all.
        let _ = write!(
            std::io::stderr().lock(),
            "plinth: {level}: {}\r\n",
            record.args()
        );
    }

    fn flush(&self) {}
}

/// Has the libraries' messages shown from now on.
pub(crate) fn start() {
    let wanted = std::env::var(VARIABLE).ok();
    let level = wanted.and_then(|level| level.parse().ok());
    log::set_max_level(level.unwrap_or(LevelFilter::Warn));
    // It fails only if there is a logger already, and this is the first.
    let _ = log::set_logger(&StandardError);
}
