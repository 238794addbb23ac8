//! What objects in a store are called.
//!
//! A name is made from what the object is, never from a text that somebody
//! chose: it can name nothing else than an object of the store.

use std::fmt;
use std::str::FromStr;

use volume::id::SnapshotId;

use crate::snapshot::digest::Digest;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// A block: `chunks/ab/abcd…`. The folders keep directories small.
    Chunk(Digest),
    /// Which blocks a snapshot has: `manifests/snap-…`.
    Manifest(SnapshotId),
    /// What a snapshot is: `records/snap-….json`.
    Record(SnapshotId),
}

/// The kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Name::Chunk`].
    Chunk,
    /// [`Name::Manifest`].
    Manifest,
    /// [`Name::Record`].
    Record,
}

/// A text that names no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName;

impl Kind {
    /// What the names of its objects begin with, before a slash.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Chunk => "chunks",
            Self::Manifest => "manifests",
            Self::Record => "records",
        }
    }
}

impl Name {
    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Chunk(_) => Kind::Chunk,
            Self::Manifest(_) => Kind::Manifest,
            Self::Record(_) => Kind::Record,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.kind().folder();
        match self {
            Self::Chunk(digest) => {
                let first = digest.as_bytes()[0];
                write!(f, "{folder}/{first:02x}/{digest}")
            }
            Self::Manifest(id) => write!(f, "{folder}/{id}"),
            Self::Record(id) => write!(f, "{folder}/{id}.json"),
        }
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let (folder, rest) = text.split_once('/').ok_or(BadName)?;
        let name = match folder {
            "chunks" => {
                let (_, digest) = rest.split_once('/').ok_or(BadName)?;
                Self::Chunk(digest.parse().map_err(|_| BadName)?)
            }
            "manifests" => Self::Manifest(rest.parse().map_err(|_| BadName)?),
            "records" => {
                let id = rest.strip_suffix(".json").ok_or(BadName)?;
                Self::Record(id.parse().map_err(|_| BadName)?)
            }
            _ => return Err(BadName),
        };
        // A chunk in the folder of another.
        match name.to_string() == text {
            true => Ok(name),
            false => Err(BadName),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let digest = Digest::of(b"abc");
        let id: SnapshotId = "snap-00000000000000abc".parse().unwrap();
        for (name, text) in [
            (Name::Chunk(digest), format!("chunks/ba/{digest}")),
            (Name::Manifest(id), format!("manifests/{id}")),
            (Name::Record(id), format!("records/{id}.json")),
        ] {
            assert_eq!(name.to_string(), text);
            assert_eq!(text.parse(), Ok(name));
        }
    }

    #[test]
    fn what_names_no_object_is_refused() {
        let digest = Digest::of(b"abc");
        for text in [
            "",
            "chunks",
            "chunks/",
            "chunks/ba",
            &format!("chunks/bb/{digest}"),
            &format!("chunks/{digest}"),
            &format!("chunks/ba/../ba/{digest}"),
            &format!("chunks/ba/{digest}.tmp"),
            "manifests/snap-1",
            "manifests/../records/x",
            "records/snap-00000000000000abc",
            "tmp/x",
        ] {
            assert_eq!(text.parse::<Name>(), Err(BadName), "{text}");
        }
    }
}
