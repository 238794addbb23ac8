//! Kernel and initrd files: opened for reading, and what they hold is for
//! the boot plan to judge.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::Error;

/// Opens the non-empty regular file that is to be the guest's `role`, "kernel"
/// or "initrd".
///
/// # Errors
/// It cannot be opened, is no regular file, or is empty.
pub fn open(role: &str, path: &Path) -> Result<File, Error> {
    let refused = |why: &str| {
        Error::configuration(format!("{role} '{}' {why}", path.display()))
            .remedy(format!("another file with --{role}"))
    };
    let unopened = |error: io::Error| refused("cannot be opened").because(error);
    // Without O_NONBLOCK a pipe without a writer would be waited for.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(unopened)?;
    let metadata = file.metadata().map_err(unopened)?;
    if metadata.is_dir() {
        return Err(refused("is a directory"));
    }
    if !metadata.is_file() {
        return Err(refused("is not a regular file"));
    }
    if metadata.len() == 0 {
        return Err(refused("is empty"));
    }
    Ok(file)
}
