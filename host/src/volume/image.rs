//! Disk images that volumes are made from and written to: their formats, which
//! are always named.
//!
//! A format is never guessed: a guest writes what it likes to a raw disk, the
//! beginning of another format included.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use clap::ValueEnum;
use devices::block::lock::{Access, LockError, lock};

use crate::error::Error;
use crate::holder;
use crate::progress::Progress;

use super::plaintext::Plaintext;
use super::qcow2;

/// How a disk lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Byte for byte, holes for zeroes
    Raw,
    /// QEMU's format, with clusters
    Qcow2,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        })
    }
}

/// An image to be read.
#[derive(Debug)]
pub enum Image {
    /// A file, or a block device, that is the disk.
    Raw(File),
    /// A file with the disk in it.
    Qcow2(qcow2::Image),
}

impl Image {
    /// Opens the image at `path`, which nobody may write to.
    ///
    /// # Errors
    /// It cannot be opened, is in use, or is not of this format.
    pub fn open(path: &Path, format: Format) -> Result<Self, Error> {
        let refused = |why: &str| Error::configuration(format!("image '{}' {why}", path.display()));
        let failed = |error: io::Error| refused("cannot be opened").because(error);
        // Without O_NONBLOCK a pipe without a writer would be waited for.
        let mut options = OpenOptions::new();
        options
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = options.open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let is_device = metadata.file_type().is_block_device();
        if !(metadata.is_file() || is_device && format == Format::Raw) {
            return Err(refused("is not a regular file"));
        }
        if let Err(LockError::InUse) = lock(&file, Access::Shared) {
            let by = holder::by(holder::of_lock(&metadata));
            return Err(refused(&format!("is in use {by}"))
                .remedy("ending that process: what it writes would be read in part"));
        }
        match format {
            Format::Raw => Ok(Self::Raw(file)),
            Format::Qcow2 => qcow2::Image::open(file).map(Self::Qcow2).map_err(|error| {
                refused("is not a qcow2 image to be read")
                    .remedy(remedy(&error))
                    .because(error)
            }),
        }
    }

    /// Bytes in the disk.
    ///
    /// # Errors
    /// It cannot be measured.
    pub fn size(&self) -> io::Result<u64> {
        match self {
            // A block device's metadata do not tell its size.
            Self::Raw(file) => (&mut &*file).seek(SeekFrom::End(0)),
            Self::Qcow2(image) => Ok(image.size()),
        }
    }

    /// Copies the disk, of `size` bytes, into `to`, which is as long or longer
    /// and all holes.
    ///
    /// # Errors
    /// The image cannot be read, or `to` written.
    pub fn copy_to(&self, to: &Plaintext<'_>, size: u64, progress: &Progress) -> io::Result<()> {
        match self {
            Self::Raw(file) => to.fill_from(file, size, progress),
            Self::Qcow2(image) => image.copy_to(to, progress),
        }
    }
}

fn remedy(error: &qcow2::BadImage) -> &'static str {
    match error {
        qcow2::BadImage::Other => "--format raw, if the file is the disk itself",
        qcow2::BadImage::Backing(_) | qcow2::BadImage::DataFile => {
            "an image that is whole: qemu-img convert -O qcow2 makes one"
        }
        qcow2::BadImage::Unreadable(_) => "qemu-img check, or another image",
    }
}
