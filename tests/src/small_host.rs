//! A host with little room: a file system of its own, which a test fills up and
//! gives room again, and block devices in its files.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// What is written at a time: a page of the file system's.
const PAGE: usize = 4096;

/// A file system in memory, mounted until it is dropped.
#[derive(Debug)]
pub struct SmallHost {
    directory: TempDir,
    loops: Vec<String>,
}

impl SmallHost {
    /// With room for `bytes`.
    pub fn new(bytes: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(directory.path()));
        let loops = Vec::new();
        Self { directory, loops }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A block device of `bytes` in a file that takes room as it is written to.
    /// Where that finds none, the device fails (EIO).
    pub fn block_device(&mut self, bytes: u64) -> String {
        let path = self.path().join(format!("loop{}", self.loops.len()));
        File::create(&path).unwrap().set_len(bytes).unwrap();
        let losetup = run(Command::new("losetup").args(["--find", "--show"]).arg(path));
        let device = losetup.trim().to_owned();
        self.loops.push(device.clone());
        device
    }

    /// Takes all room but for `pages`.
    pub fn fill_up(&self, pages: u64) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let page = [1; PAGE];
        let full = loop {
            if let Err(error) = ballast.write_all(&page) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        let len = ballast.metadata().unwrap().len();
        let left = pages * PAGE as u64;
        ballast.set_len(len.saturating_sub(left)).unwrap();
    }

    /// Gives back what was taken.
    pub fn give_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallHost {
    fn drop(&mut self) {
        for device in &self.loops {
            let _ = Command::new("losetup").args(["--detach", device]).status();
        }
        // Even if somebody is still in it.
        let mut umount = Command::new("umount");
        let _ = umount.arg("--lazy").arg(self.directory.path()).status();
    }
}

/// What `command` says.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
