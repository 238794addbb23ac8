//! Images in the qcow2 format, read and written by a library.
//!
//! An image can name other files: one that it is the difference to, and one
//! that its data are in. Whoever made the image chose those names, so none is
//! ever opened: the library is handed the one open file, and an image that
//! needs another is refused.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use imago::file::File as Storage;
use imago::qcow2::Qcow2;
use imago::{
    DenyImplicitOpenGate, FormatAccess, FormatCreateBuilder, FormatDriverBuilder, Mapping,
    StorageOpenOptions,
};

use crate::progress::Progress;

use super::plaintext::Plaintext;

/// The first bytes of an image (QEMU's docs/interop/qcow2.rst).
const MAGIC: [u8; 4] = *b"QFI\xfb";

/// Bytes read and written at a time.
const CHUNK: u64 = 1 << 20;

/// Why a file cannot be read as an image.
#[derive(Debug, thiserror::Error)]
pub enum BadImage {
    /// It does not begin like one.
    #[error("it does not begin as a qcow2 image does")]
    Other,
    /// The rest is in a file that it names.
    #[error("it is only what differs from another image, '{0}', which is not opened for it")]
    Backing(String),
    /// Its data are in a file that it names.
    #[error("its data are in another file, which is not opened for it")]
    DataFile,
    /// It is damaged, or has what the library does not know.
    #[error("it is no qcow2 image that can be read")]
    Unreadable(#[source] io::Error),
}

/// An image to be read.
#[derive(Debug)]
pub struct Image(FormatAccess<Storage>);

impl Image {
    /// The image in `file`.
    ///
    /// # Errors
    /// It is none, or needs other files.
    pub fn open(file: File) -> Result<Self, BadImage> {
        let mut magic = [0; 4];
        match file.read_exact_at(&mut magic, 0) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(BadImage::Unreadable(error));
            }
            _ if magic != MAGIC => return Err(BadImage::Other),
            _ => {}
        }
        let storage = Storage::from_open_file(file, StorageOpenOptions::new());
        let image = storage.and_then(|storage| Qcow2::open_image(storage, false));
        let mut image: Qcow2<Storage> = image.map_err(BadImage::Unreadable)?;
        if let Some(backing) = image.implicit_backing_file() {
            return Err(BadImage::Backing(backing.clone()));
        }
        if image.requires_external_data_file() {
            return Err(BadImage::DataFile);
        }
        image
            .open_implicit_dependencies_gated(DenyImplicitOpenGate::default())
            .map_err(BadImage::Unreadable)?;
        Ok(Self(FormatAccess::new(image)))
    }

    /// Bytes in the disk that it is of.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// Copies all of it into `to`, which is as long or longer, and all holes.
    ///
    /// # Errors
    /// The image is damaged, or one of the files cannot be read or written.
    pub fn copy_to(&self, to: &Plaintext<'_>, progress: &Progress) -> io::Result<()> {
        let (mut at, end) = (0, self.size());
        let mut chunk = vec![0; usize::try_from(CHUNK).unwrap_or(usize::MAX)];
        while at < end {
            let (mapping, length) = self.0.get_mapping(at, end - at)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if matches!(mapping, Mapping::Zero { .. }) {
                at += length;
                continue;
            }
            let length = length.min(CHUNK);
            let bytes = &mut chunk[..usize::try_from(length).unwrap_or(usize::MAX)];
            self.0.read(&mut *bytes, at)?;
            to.write_sparse(bytes, at)?;
            at += length;
            progress.reach(at);
        }
        Ok(())
    }
}

/// Writes the first `length` bytes of `from` into `to`, which must be empty, as
/// an image.
///
/// # Errors
/// One of the files cannot be read or written.
pub fn write(from: &Plaintext<'_>, to: File, length: u64, progress: &Progress) -> io::Result<()> {
    let storage = Storage::from_open_file(to, StorageOpenOptions::new().write(true))?;
    let open = |storage| Ok(Qcow2::builder(storage).backing(None).write(true));
    let gate = DenyImplicitOpenGate::default();
    let image: Qcow2<Storage> = Qcow2::create_builder(storage)
        .size(length)
        .create_open(gate, open)?;
    let image = FormatAccess::new(image);
    let mut chunk = vec![0; usize::try_from(CHUNK).unwrap_or(usize::MAX)];
    for extent in from.extents(length) {
        let mut rest = extent?;
        while !rest.is_empty() {
            let length = (rest.end - rest.start).min(CHUNK);
            let bytes = &mut chunk[..usize::try_from(length).unwrap_or(usize::MAX)];
            from.read_exact_at(bytes, rest.start)?;
            if bytes.iter().any(|byte| *byte != 0) {
                image.write(&*bytes, rest.start)?;
            }
            rest.start += length;
            progress.reach(rest.start);
        }
    }
    image.flush()?;
    image.sync()
}

#[cfg(test)]
mod tests;
