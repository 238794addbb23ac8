//! What a snapshot is, for people and commands.
//!
//! Two lines of JSON, so that any tool reads them:
//!
//! ```text
//! {"version":1,"id":"snap-…","volume":"vol-…",…}
//! {"sha256":"…"}                 of the first line, its line feed included
//! ```
//!
//! It is the last object that is written of a snapshot, and the first that is
//! deleted: a snapshot without it is none.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use volume::id::{SnapshotId, VolumeId};

use super::digest::Digest;
use super::manifest::Header;

/// The most bytes of a record.
pub const MOST: usize = 64 << 10;

const VERSION: u32 = 1;

/// How far a snapshot is. One under way is known to its volume alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is whole.
    Completed,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The version of this format.
    version: u32,
    /// Which snapshot it is.
    #[serde(with = "text")]
    pub id: SnapshotId,
    /// The volume that it was taken of.
    #[serde(with = "text")]
    pub volume: VolumeId,
    /// What that was called.
    pub volume_name: String,
    /// The volume's size then, in bytes.
    pub size: u64,
    /// When it was taken, in seconds since 1970 (UTC).
    pub created: u64,
    /// What its maker said of it.
    pub description: String,
    /// How far it is.
    pub state: State,
    /// Its blocks that are not all zeroes, in bytes.
    pub data_bytes: u64,
    /// What was added to the store for it, in bytes: chunks that were not
    /// there yet, compressed.
    pub stored_bytes: u64,
    /// How its blocks are encrypted, with the wrapped key; nothing here looks
    /// into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Value>,
}

/// What a record says that a manifest does not.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// What the volume is called.
    pub volume_name: String,
    /// What its maker says of the snapshot.
    pub description: String,
    /// How its blocks are encrypted.
    pub encryption: Option<Value>,
}

/// Why bytes are no record.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// Too many bytes.
    #[error("it has more than {MOST} bytes")]
    Large,
    /// Not two lines.
    #[error("it does not consist of two lines: it was damaged")]
    Lines,
    /// Not what was written.
    #[error("its checksum is wrong: it was damaged")]
    Checksum,
    /// Of a later plinth.
    #[error("it is of version {0}; this plinth knows version {VERSION}")]
    Version(u32),
    /// JSON of something else.
    #[error("it is not the record of a snapshot")]
    Json(#[from] serde_json::Error),
}

impl Record {
    /// Of a snapshot that is whole now.
    pub fn new(header: &Header, about: About, data_bytes: u64, stored_bytes: u64) -> Self {
        Self {
            version: VERSION,
            id: header.snapshot,
            volume: header.volume,
            volume_name: about.volume_name,
            size: header.size.bytes(),
            created: header.created,
            description: about.description,
            state: State::Completed,
            data_bytes,
            stored_bytes,
            encryption: about.encryption,
        }
    }

    /// As it is stored.
    ///
    /// # Errors
    /// It is too large: a description or a wrapped key of that size is none.
    pub fn encode(&self) -> Result<Vec<u8>, BadRecord> {
        let line = serde_json::to_string(self)? + "\n";
        let seal = Seal {
            sha256: Digest::of(line.as_bytes()),
        };
        let record = line + &serde_json::to_string(&seal)? + "\n";
        match record.len() {
            ..=MOST => Ok(record.into_bytes()),
            _ => Err(BadRecord::Large),
        }
    }

    /// From what was stored.
    ///
    /// # Errors
    /// It is no record; why.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        if bytes.len() > MOST {
            return Err(BadRecord::Large);
        }
        let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
        let (Some(line), Some(seal @ [.., b'\n']), None) =
            (lines.next(), lines.next(), lines.next())
        else {
            return Err(BadRecord::Lines);
        };
        let seal: Seal = serde_json::from_slice(seal).map_err(|_| BadRecord::Checksum)?;
        if seal.sha256 != Digest::of(line) {
            return Err(BadRecord::Checksum);
        }
        let Versioned { version } = serde_json::from_slice(line)?;
        match version {
            VERSION => Ok(serde_json::from_slice(line)?),
            other => Err(BadRecord::Version(other)),
        }
    }
}

/// The second line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    #[serde(with = "text")]
    sha256: Digest,
}

/// What every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// What is a text in JSON.
mod text {
    use super::*;

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use volume::entry::Generation;
    use volume::size::VolumeSize;

    fn record() -> Record {
        let header = Header {
            snapshot: "snap-00000000000000abc".parse().unwrap(),
            volume: "vol-00000000000000def".parse().unwrap(),
            size: VolumeSize::new(20 << 30).unwrap(),
            created: 1_795_000_000,
            generation: Generation::FIRST,
            parent: None,
        };
        let about = About {
            volume_name: "data".into(),
            description: "two\nlines, \"quoted\"".into(),
            encryption: Some(json!({"wrapped": "0011"})),
        };
        Record::new(&header, about, 3 << 19, 1000)
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let bytes = record().encode().unwrap();
        assert_eq!(Record::decode(&bytes).unwrap(), record());
        let plain = Record {
            encryption: None,
            ..record()
        };
        assert_eq!(Record::decode(&plain.encode().unwrap()).unwrap(), plain);
    }

    #[test]
    fn a_record_cut_or_flipped_at_any_byte_is_refused() {
        let bytes = record().encode().unwrap();
        for at in 0..bytes.len() {
            assert!(Record::decode(&bytes[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(Record::decode(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
        let more = [&bytes[..], b"\n"].concat();
        assert!(matches!(Record::decode(&more), Err(BadRecord::Lines)));
    }

    #[test]
    fn a_record_of_a_later_version_is_named_as_such() {
        let line = "{\"version\":2,\"novelty\":true}\n";
        let digest = Digest::of(line.as_bytes());
        let record = format!("{line}{{\"sha256\":\"{digest}\"}}\n");
        assert!(matches!(
            Record::decode(record.as_bytes()),
            Err(BadRecord::Version(2))
        ));
    }

    #[test]
    fn what_is_too_long_is_neither_written_nor_read() {
        let long = Record {
            description: "x".repeat(MOST),
            ..record()
        };
        assert!(matches!(long.encode(), Err(BadRecord::Large)));
        let bytes = vec![b'x'; MOST + 1];
        assert!(matches!(Record::decode(&bytes), Err(BadRecord::Large)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Record::decode(&bytes).is_err());
        }
    }
}
