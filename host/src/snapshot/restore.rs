//! Making a volume from a snapshot, in no time: all its blocks are absent, and
//! come when they are asked for.

use ::volume::entry::State;
use ::volume::id::SnapshotId;
use ::volume::size::VolumeSize;

use crate::error::Error;
use crate::volume::directory::{Volume, Volumes};
use crate::volume::name::VolumeName;
use crate::volume::new_volume::NewVolume;
use crate::volume::record::Record;
use crate::volume::speed::Speed;

use super::lock::Referring;
use super::object;
use super::store::Store;

/// A volume to be made from a snapshot.
#[derive(Debug)]
pub struct Restore {
    /// What to call it.
    pub name: VolumeName,
    /// How large it is to be; as large as the snapshot's if that is not given.
    pub size: Option<VolumeSize>,
    /// How fast it is to be.
    pub speed: Speed,
    /// What it begins with.
    pub snapshot: SnapshotId,
    /// Where the snapshot is, as a text that does not depend on where a command
    /// was given.
    pub location: Option<String>,
}

impl Restore {
    /// Makes the volume. It needs the snapshot in `store` until it is loaded.
    ///
    /// # Errors
    /// There is no such snapshot, it is larger, or the name is taken.
    pub fn make(
        self,
        volumes: &Volumes,
        store: &dyn Store,
        _lock: &Referring,
    ) -> Result<Volume, Error> {
        let id = self.snapshot;
        let from = object::record(store, id)?;
        let least = VolumeSize::new(from.size).map_err(|error| {
            Error::configuration(format!("snapshot {id} is damaged")).because(error)
        })?;
        let size = self.size.unwrap_or(least);
        if size < least {
            return Err(Error::configuration(format!(
                "a volume of {size} cannot hold snapshot {id}, which is of one of {least}"
            ))
            .remedy(format!("--size {}, or leaving it out", least.bytes())));
        }
        let mut record = Record::new(self.name, size, self.speed)?;
        record.origin = Some(id);
        record.store = self.location;
        let encryption = from.encryption.map(serde_json::from_value).transpose();
        record.encryption = encryption.map_err(|error| {
            Error::configuration(format!(
                "snapshot {id} is encrypted in a way that this plinth does not know"
            ))
            .because(error)
        })?;
        NewVolume::begin(volumes, record, State::Absent)?.finish()
    }
}
