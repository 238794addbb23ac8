//! A volume written to a disk image.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use devices::block::lock::Access;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::durable;
use crate::error::Error;
use crate::progress::Progress;

use super::directory::Volume;
use super::encryption::key_source::KeySource;
use super::encryption::unlock;
use super::image::Format;
use super::plaintext::Plaintext;
use super::qcow2;

/// Writes what `volume` holds to a new file at `path`, durably. Nobody writes
/// to the volume meanwhile. An encrypted one is decrypted: its wrapping key is
/// looked for at `key`, or else where it was.
///
/// # Errors
/// The volume is in use or not whole, there is something at `path`, or the
/// file system refuses; there is no new file then.
pub fn export(
    volume: &mut Volume,
    path: &Path,
    format: Format,
    key: Option<&KeySource>,
) -> Result<(), Error> {
    let refused = |why: &str| Error::configuration(format!("image '{}' {why}", path.display()));
    if path.symlink_metadata().is_ok() {
        return Err(refused("is there already").remedy("another path, or removing it"));
    }
    // Before who loads it is asked to make way.
    volume.expect_loaded()?;
    let data = volume.open(Access::Shared, false)?;
    let key = unlock(volume.record(), key)?;
    let data = Plaintext::new(&data, key.as_ref());
    let unfinished =
        Unfinished::new(path).map_err(|error| refused("cannot be written").because(error))?;
    let length = volume.record().size.bytes();
    let progress = Progress::new("exporting", length);
    let written = match format {
        Format::Raw => write_raw(&data, &unfinished.file, length, &progress),
        Format::Qcow2 => unfinished
            .file
            .try_clone()
            .and_then(|file| qcow2::write(&data, file, length, &progress)),
    };
    let finished = written.and_then(|()| unfinished.finish(path));
    finished.map_err(|error| refused("cannot be written").because(error))
}

fn write_raw(data: &Plaintext<'_>, to: &File, length: u64, progress: &Progress) -> io::Result<()> {
    to.set_len(length)?;
    data.copy_to(to, length, progress)
}

/// A file that gets its name when it is whole.
#[derive(Debug)]
struct Unfinished {
    file: File,
    path: PathBuf,
}

impl Unfinished {
    fn new(path: &Path) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".part-{}", std::process::id()));
        let path = PathBuf::from(name);
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(Self { file, path })
    }

    fn finish(&self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE)?;
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        durable::synchronize(directory.unwrap_or(Path::new(".")))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Not there any more if it was finished.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests;
