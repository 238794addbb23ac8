//! What a volume is, as its directory says: `volume.json`.
//!
//! What is read is not trusted: it becomes a [`Record`], whose values are
//! valid, or is refused with the reason.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use ::volume::entry::Generation;
use ::volume::id::{BadId, SnapshotId, VolumeId};
use ::volume::size::{BadSize, VolumeSize};
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::Error;

use super::encryption::Encryption;
use super::name::{BadVolumeName, VolumeName};
use super::speed::{Asked, BadSpeed, Speed};

/// What the file is called.
pub const FILE: &str = "volume.json";

/// The version of the format.
const FORMAT: u32 = 2;

/// The version before volumes could be copies; it lacks these fields.
const FIRST_FORMAT: u32 = 1;

/// No record is as long, in bytes: a snapshot takes 60 or so.
const MOST: u64 = 16 << 20;

/// A volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What it is called by machines.
    pub id: VolumeId,
    /// What it is called by people.
    pub name: VolumeName,
    /// How large it is. `data` is as long, or longer after a crash while it
    /// grew.
    pub size: VolumeSize,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// How fast it is.
    pub speed: Speed,
    /// The snapshot that it was made from; or that the volume was which it is a
    /// copy of, if that had not loaded all of it.
    pub origin: Option<SnapshotId>,
    /// The store that `origin` is in, if it was made from that.
    pub store: Option<String>,
    /// The volume that it is a copy of, and that keeps for it what it lacks. None
    /// for a copy that lacked nothing.
    pub copy_of: Option<VolumeId>,
    /// The snapshots taken of it, the oldest first.
    pub snapshots: Vec<Taken>,
    /// How its `data` is encrypted, if it is.
    pub encryption: Option<Encryption>,
}

/// A snapshot that was taken of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which.
    pub snapshot: SnapshotId,
    /// The last generation that is in it.
    pub generation: Generation,
}

/// Why a file is no volume's record.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// It cannot be read.
    #[error("{FILE} cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is longer than any record.
    #[error("{FILE} is longer than {} MiB", MOST >> 20)]
    Long,
    /// It is not JSON, or has other fields.
    #[error("{FILE} is not understood")]
    Json(#[source] serde_json::Error),
    /// It was written by another version of plinth.
    #[error("{FILE} has format {0}, and this plinth knows format {FORMAT}")]
    Format(u32),
    /// An id is none.
    #[error("{FILE}: '{0}' is no id")]
    Id(String, #[source] BadId),
    /// The name is none.
    #[error("{FILE}: the name does not do")]
    Name(#[source] BadVolumeName),
    /// It has another volume's name.
    #[error("{FILE} is that of a volume called '{0}'")]
    OtherName(VolumeName),
    /// The size is none.
    #[error("{FILE}: the size does not do")]
    Size(#[source] BadSize),
    /// The speed is none.
    #[error("{FILE}: the speed does not do")]
    Speed(#[source] BadSpeed),
    /// Its snapshots are not in order.
    #[error("{FILE}: snapshot {0} is out of order")]
    Order(SnapshotId),
}

/// The record as the file has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    format: u32,
    id: String,
    name: String,
    size: u64,
    created: u64,
    speed: Asked,
    origin: Option<String>,
    store: Option<String>,
    copy_of: Option<String>,
    snapshots: Vec<SavedTaken>,
    encryption: Option<Encryption>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedTaken {
    snapshot: String,
    generation: u32,
}

/// What every version has.
#[derive(Debug, Deserialize)]
struct Versioned {
    format: u32,
}

impl Record {
    /// A volume that is being made now.
    ///
    /// # Errors
    /// The kernel has no random numbers.
    pub fn new(name: VolumeName, size: VolumeSize, speed: Speed) -> Result<Self, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let id = VolumeId::random().map_err(|error| {
            Error::unexpected("this host gives no random numbers").because(error)
        })?;
        Ok(Self {
            id,
            name,
            size,
            created: now.map_or(0, |now| now.as_secs()),
            speed,
            origin: None,
            store: None,
            copy_of: None,
            snapshots: Vec::new(),
            encryption: None,
        })
    }

    /// Reads the record in a volume's `directory`.
    ///
    /// # Errors
    /// It is not there, or is none.
    pub fn read(directory: &Path) -> Result<Self, BadRecord> {
        let mut text = Vec::new();
        File::open(directory.join(FILE))
            .and_then(|file| file.take(MOST + 1).read_to_end(&mut text))
            .map_err(BadRecord::Unreadable)?;
        if text.len() as u64 > MOST {
            return Err(BadRecord::Long);
        }
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> Result<Self, BadRecord> {
        // A later version's fields are not to be called mistakes.
        let version: Versioned = serde_json::from_slice(text).map_err(BadRecord::Json)?;
        if ![FIRST_FORMAT, FORMAT].contains(&version.format) {
            return Err(BadRecord::Format(version.format));
        }
        let saved: Saved = serde_json::from_slice(text).map_err(BadRecord::Json)?;
        saved.try_into()
    }

    /// Writes the record into a volume's `directory`, durably. The caller
    /// alone does so.
    ///
    /// # Errors
    /// The file system refuses; the old record is there then.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&Saved::from(self))?;
        durable::replace(directory, FILE, &text)
    }
}

impl TryFrom<Saved> for Record {
    type Error = BadRecord;

    fn try_from(saved: Saved) -> Result<Self, BadRecord> {
        let snapshots = saved.snapshots.into_iter().map(Taken::try_from);
        let snapshots: Vec<Taken> = snapshots.collect::<Result<_, _>>()?;
        let later = |pair: &&[Taken]| pair[0].generation >= pair[1].generation;
        if let Some(pair) = snapshots.windows(2).find(later) {
            return Err(BadRecord::Order(pair[1].snapshot));
        }
        Ok(Self {
            id: id(saved.id)?,
            name: saved.name.try_into().map_err(BadRecord::Name)?,
            size: VolumeSize::new(saved.size).map_err(BadRecord::Size)?,
            created: saved.created,
            speed: Speed::new(saved.speed).map_err(BadRecord::Speed)?,
            origin: saved.origin.map(id).transpose()?,
            store: saved.store,
            copy_of: saved.copy_of.map(id).transpose()?,
            snapshots,
            encryption: saved.encryption,
        })
    }
}

impl TryFrom<SavedTaken> for Taken {
    type Error = BadRecord;

    fn try_from(saved: SavedTaken) -> Result<Self, BadRecord> {
        let snapshot = id(saved.snapshot)?;
        let generation = Generation::new(saved.generation);
        Ok(Self {
            snapshot,
            generation: generation.ok_or(BadRecord::Order(snapshot))?,
        })
    }
}

fn id<T: std::str::FromStr<Err = BadId>>(text: String) -> Result<T, BadRecord> {
    text.parse().map_err(|error| BadRecord::Id(text, error))
}

impl From<&Record> for Saved {
    fn from(record: &Record) -> Self {
        let taken = |taken: &Taken| SavedTaken {
            snapshot: taken.snapshot.to_string(),
            generation: taken.generation.number(),
        };
        Self {
            format: FORMAT,
            id: record.id.to_string(),
            name: record.name.to_string(),
            size: record.size.bytes(),
            created: record.created,
            speed: record.speed.into(),
            origin: record.origin.map(|origin| origin.to_string()),
            store: record.store.clone(),
            copy_of: record.copy_of.map(|source| source.to_string()),
            snapshots: record.snapshots.iter().map(taken).collect(),
            encryption: record.encryption.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
