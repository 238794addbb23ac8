//! A guest with a volume, and what it says.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result, bail};
use benches::volume::place::{INITRD, KERNEL};
use guest_images::run_word;

use crate::plinth;

/// A running machine.
pub(crate) struct Guest {
    plinth: Child,
    console: Lines<BufReader<ChildStdout>>,
}

impl Guest {
    /// Boots a machine with `volume`, whose guest runs `script`.
    pub(crate) fn boot(volume: &str, memory: &str, script: &str) -> Result<Self> {
        let words = "console=ttyS0 quiet panic=-1 reboot=k plinth.root=none plinth.then=reboot";
        let mut command = plinth::command();
        command
            .args(["run", "--kernel", KERNEL, "--initrd", INITRD])
            .args(["--cmdline", &format!("{words} {}", run_word(script))])
            .args(["--memory", memory, "--volume", volume])
            // A reset is the end of a measurement.
            .args(["--on-reset", "stop"])
            .stdout(Stdio::piped());
        let mut plinth = command.spawn().context("starting a machine")?;
        let console = plinth.stdout.take().context("a machine has a console")?;
        Ok(Self {
            plinth,
            console: BufReader::new(console).lines(),
        })
    }

    /// Waits for a line of which `find` makes something.
    pub(crate) fn wait_for<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let mut told = String::new();
        for line in self.console.by_ref() {
            let line = line?;
            if let Some(found) = find(&line) {
                return Ok(found);
            }
            told.push_str(&line);
            told.push('\n');
        }
        bail!("the machine ended early, having said\n{told}")
    }

    /// Waits until it has ended.
    pub(crate) fn wait_for_end(mut self) -> Result<()> {
        self.console.by_ref().for_each(drop);
        self.plinth.wait()?;
        Ok(())
    }
}
