//! The command line, as a user has it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::volume::place::{DATA, PLINTH};
use serde_json::Value;

/// What a command said, and how long it took from before it was executed until
/// it had ended.
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) took: Duration,
}

/// `plinth`, without arguments yet.
pub(crate) fn command() -> Command {
    let mut command = Command::new(PLINTH);
    command
        .env("PLINTH_DATA_DIR", format!("{DATA}/plinth"))
        .env("XDG_RUNTIME_DIR", DATA)
        .env("TMPDIR", DATA)
        .stdin(Stdio::null());
    command
}

/// Has `plinth` do what `words` say.
pub(crate) fn plinth(words: &str) -> Result<Said> {
    let mut command = command();
    command
        .args(words.split_whitespace())
        .stderr(Stdio::inherit());
    let start = Instant::now();
    let output = command.output().context("running plinth")?;
    let took = start.elapsed();
    ensure!(output.status.success(), "plinth {words} failed");
    let text = String::from_utf8(output.stdout)?.trim_end().to_owned();
    Ok(Said { text, took })
}

/// The same for a command that answers in JSON.
pub(crate) fn plinth_json(words: &str) -> Result<(Value, Duration)> {
    let said = plinth(&format!("{words} --output json"))?;
    let answer = serde_json::from_str(&said.text);
    let answer = answer.with_context(|| format!("plinth {words} said {}", said.text))?;
    Ok((answer, said.took))
}

/// `duration` in whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
