//! The directory that everything of a run is in which is of no use after it. It goes
//! with this process, also when that is killed.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// It, until this is dropped.
pub(super) struct Scratch {
    directory: TempDir,
    /// At its end, who else removes the directory does.
    _alive: ChildStdin,
}

impl Scratch {
    /// Makes it in the directory for temporary files.
    pub(super) fn make() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("plinth-bench-").tempdir();
        let directory = directory.context("making a scratch directory")?;
        let alive = remove_at_the_end_of_this_process(directory.path());
        let alive = alive.context("starting a shell that removes the scratch directory")?;
        Ok(Self {
            directory,
            _alive: alive,
        })
    }

    /// Has whatever this process makes of temporary files be in it.
    pub(super) fn is_for_all(&self) {
        // It is another one only if one was chosen before, which is never so.
        let _ = tempfile::env::override_temp_dir(self.directory.path());
    }
}

/// A shell waits for the end of its input, of which nobody but this process has the
/// other end. What interrupts this process by its terminal does not reach it.
fn remove_at_the_end_of_this_process(directory: &Path) -> Result<ChildStdin> {
    let mut shell = Command::new("sh")
        .args(["-c", "cat >/dev/null; rm -rf -- \"$0\""])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()?;
    shell.stdin.take().context("its input is a pipe")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn it_is_removed_without_this_process_s_doing() {
        let Scratch { directory, _alive } = Scratch::make().unwrap();
        let path = directory.keep();
        std::fs::write(path.join("file"), "of use to nobody").unwrap();
        assert!(path.exists());
        drop(_alive);
        let began = Instant::now();
        while path.exists() {
            assert!(began.elapsed() < Duration::from_secs(60), "it stays");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
