//! Kernel modules: loads those that the initramfs lists, in its order. The
//! recipe that builds the initramfs has resolved their dependencies and leaves
//! out what is built into the kernel, so each listed module should load.
//! A kernel without modules comes with no list, which is no fault.

use std::fs::{self, File};
use std::io;

use rustix::io::Errno;
use rustix::system::finit_module;

use crate::console::say;

/// Absolute paths, one per line.
const LIST: &str = "/lib/modules.list";

/// Loads every module of the list; says which would not load.
pub(crate) fn load_all() {
    let list = match fs::read_to_string(LIST) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return say(format_args!("cannot read {LIST}: {error}")),
    };
    for path in list.lines().filter(|line| !line.is_empty()) {
        if let Err(error) = load(path) {
            say(format_args!("cannot load {path}: {error}"));
        }
    }
}

fn load(path: &str) -> io::Result<()> {
    match finit_module(File::open(path)?, c"", 0) {
        Err(Errno::EXIST) => Ok(()),
        outcome => Ok(outcome?),
    }
}
