//! Volumes of a test's own: a data directory, and `plinth` that uses it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::running::Running;
use crate::{Outcome, images};

/// Where plinth looks for volumes and snapshots.
pub(crate) const DATA: &str = "PLINTH_DATA_DIR";

/// A data directory.
#[derive(Debug)]
pub struct Volumes {
    directory: TempDir,
}

impl Volumes {
    /// Without any volume.
    #[allow(clippy::new_without_default)] // It makes a directory.
    pub fn new() -> Self {
        Self::in_directory(&std::env::temp_dir())
    }

    /// The same in a directory below this one.
    pub fn in_directory(directory: &Path) -> Self {
        let directory = tempfile::tempdir_in(directory).unwrap();
        Self { directory }
    }

    /// Has `plinth` do what `words` say, such as `volume create data --size 1G`,
    /// and gives what was printed, without the last line's end.
    #[track_caller]
    pub fn plinth(&self, words: &str) -> String {
        let said = self.asked(words).ends_with(0).console;
        said.trim_end().to_owned()
    }

    /// Asserts that what `words` say is refused, with a message that holds all
    /// of `parts`.
    #[track_caller]
    pub fn refuses(&self, words: &str, parts: &[&str]) {
        let outcome = self.asked(words);
        assert!(!outcome.status.success(), "{outcome}");
        for part in parts {
            outcome.complains(part);
        }
    }

    /// A new key for encrypted volumes, in a file.
    #[track_caller]
    pub fn key(&self) -> PathBuf {
        let key = self.directory.path().join("key");
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&key);
        let bytes: Vec<u8> = (0..32).collect();
        file.unwrap().write_all(&bytes).unwrap();
        key
    }

    /// The file with what the guest of volume `name` sees.
    pub fn data(&self, name: &str) -> PathBuf {
        self.path().join("volumes").join(name).join("data")
    }

    /// Where they are; plinth makes that itself, for this user alone.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("plinth")
    }

    /// Has `plinth` do what takes its time, such as `vm events web`.
    #[track_caller]
    pub fn follow(&self, words: &str) -> Running {
        let mut command = Command::new(images::program("plinth"));
        let command_words = words.split_whitespace();
        command
            .args(command_words)
            .env(DATA, self.path())
            .stdin(Stdio::null());
        Running::spawn(command)
    }

    #[track_caller]
    fn asked(&self, words: &str) -> Outcome {
        self.follow(words).end()
    }
}
