//! What is recorded of a machine when it is started: `vm.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vmm::handover::now_ms;

use crate::error::Error;

const FILE: &str = "vm.json";

/// A machine as its starter knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The VM process.
    pub pid: Option<u32>,
    /// When it was started, in milliseconds since 1970.
    pub started_ms: u64,
    /// Whether it outlives the command that started it.
    pub detached: bool,
    /// That command's words.
    pub command: Vec<String>,
    /// The files of its disks, by the disks' names: the VM process itself
    /// knows no names of files.
    pub disks: BTreeMap<String, PathBuf>,
}

impl Record {
    /// A machine that is being started now by this process's command.
    pub fn now(detached: bool, disks: BTreeMap<String, PathBuf>) -> Self {
        let command = std::env::args_os();
        Self {
            pid: None,
            started_ms: now_ms(),
            detached,
            command: command.map(|word| word.to_string_lossy().into()).collect(),
            disks,
        }
    }

    /// The record in a machine's `directory`; an empty one if there is none,
    /// or none that is understood.
    pub(super) fn read(directory: &Path) -> Self {
        let text = fs::read(directory.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub(super) fn write(&self, directory: &Path) -> Result<(), Error> {
        let refused = |error: std::io::Error| {
            let path = directory.join(FILE);
            Error::host(format!("'{}' cannot be written", path.display())).because(error)
        };
        let text = serde_json::to_vec_pretty(self).map_err(|error| refused(error.into()))?;
        // Whole or not at all, for those who read without a lock.
        let fresh = directory.join("vm.json.new");
        fs::write(&fresh, text).map_err(refused)?;
        fs::rename(&fresh, directory.join(FILE)).map_err(refused)
    }
}
