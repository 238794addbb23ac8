//! The guest's console as it goes by: shown, searched, and timed.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// No step of the demo takes this long even where everything is emulated.
const PATIENCE: Duration = Duration::from_secs(180);

/// A console being read.
pub(super) struct Console {
    lines: Receiver<(Instant, String)>,
    seen: Vec<String>,
}

impl Console {
    /// Reads `output` from now on, showing every line.
    pub(super) fn read(output: impl Read + Send + 'static) -> Self {
        let (sender, lines) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let now = Instant::now();
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                let _ = writeln!(std::io::stdout(), "{text}");
                if sender.send((now, text)).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self {
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for a line that contains `text`; says when it came.
    pub(super) fn wait_for(&mut self, text: &str) -> Result<Instant> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok((when, line)) => {
                    let found = line.contains(text);
                    self.seen.push(line);
                    if found {
                        return Ok(when);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the guest did not say \"{text}\" within {PATIENCE:?}")
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the guest ended without saying \"{text}\"")
                }
            }
        }
    }

    /// Waits for the end.
    pub(super) fn wait_for_end(&mut self) {
        while let Ok((_, line)) = self.lines.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
    }

    /// The rest of the first line that contains `before`.
    pub(super) fn after(&self, before: &str) -> Option<&str> {
        let mut found = self.seen.iter().filter_map(|line| line.split_once(before));
        found.next().map(|(_, rest)| rest)
    }
}
