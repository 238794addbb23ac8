//! Kernel and initrd files: opened for reading, and what they hold is judged
//! later, by the boot plan.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// An open, non-empty regular file, and its name for messages.
#[derive(Debug)]
pub struct Image {
    /// The name by which the user called it.
    pub path: PathBuf,
    /// Open for reading.
    pub file: File,
}

/// Opens the file that is to be the guest's `role`, "kernel" or "initrd".
///
/// # Errors
/// It cannot be opened, is no regular file, or is empty.
pub fn open(role: &str, path: &Path) -> Result<Image, Error> {
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
    Ok(Image {
        path: path.to_owned(),
        file,
    })
}
