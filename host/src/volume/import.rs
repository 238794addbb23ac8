//! A volume made from a disk image.

use std::path::Path;

use ::volume::entry::State;
use ::volume::size::VolumeSize;

use crate::error::Error;
use crate::progress::Progress;

use super::directory::{Volume, Volumes};
use super::encryption::{Encryption, unlock};
use super::image::{Format, Image};
use super::name::VolumeName;
use super::new_volume::NewVolume;
use super::plaintext::Plaintext;
use super::record::Record;
use super::speed::Speed;

/// What a volume is to be that is made from an image.
#[derive(Clone, Debug)]
pub struct Import<'a> {
    /// What it is to be called.
    pub name: VolumeName,
    /// How large, if not as large as the image's disk.
    pub size: Option<VolumeSize>,
    /// How fast.
    pub speed: Speed,
    /// The image's file.
    pub image: &'a Path,
    /// The image's format.
    pub format: Format,
    /// How it is encrypted, if it is to be.
    pub encryption: Option<Encryption>,
}

/// Makes a volume from an image, which is read once and not needed any more.
///
/// # Errors
/// The image cannot be read or does not fit, the name is taken, or the file
/// system refuses; there is no volume then.
pub fn import(volumes: &Volumes, import: Import<'_>) -> Result<Volume, Error> {
    let image = Image::open(import.image, import.format)?;
    let content = image.size().map_err(|error| {
        Error::configuration(format!(
            "image '{}' cannot be measured",
            import.image.display()
        ))
        .because(error)
    })?;
    let size = size(&import, content)?;
    let name = import.name.clone();
    let mut record = Record::new(import.name, size, import.speed)?;
    record.encryption = import.encryption;
    let new = NewVolume::begin(volumes, record, State::Present)?;
    let key = unlock(new.record(), None)?;
    let data = Plaintext::new(new.data(), key.as_ref());
    let progress = Progress::new("importing", content);
    image.copy_to(&data, content, &progress).map_err(|error| {
        Error::host(format!(
            "image '{}' cannot be copied into volume '{name}'",
            import.image.display()
        ))
        .because(error)
    })?;
    new.finish()
}

/// How large the volume is to be, for an image of a disk of `content` bytes.
fn size(import: &Import<'_>, content: u64) -> Result<VolumeSize, Error> {
    let image = import.image.display();
    match import.size {
        Some(size) if size.bytes() < content => Err(Error::configuration(format!(
            "image '{image}' has {content} bytes, and does not fit into {size}"
        ))
        .remedy("a larger --size, or none for a volume as large as the image")),
        Some(size) => Ok(size),
        None => VolumeSize::new(content).map_err(|error| {
            Error::configuration(format!("no volume is as large as image '{image}'"))
                .because(error)
                .remedy("a size that is, with --size: what is beyond the image is zeroes")
        }),
    }
}

#[cfg(test)]
mod tests;
