//! Where a store is, as a text says it: `--store` and PLINTH_STORE.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::error::Error;
use crate::volume::directory::Volume;
use crate::volume::root;

use super::{Directory, S3, Settings, Store};

/// Names the store, for all commands.
const VARIABLE: &str = "PLINTH_STORE";

/// What the default store is called in the data directory.
const DEFAULT: &str = "snapshots";

/// A place where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory.
    Directory(PathBuf),
    /// A bucket, and what names in it begin with.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// Nothing, or a text without a slash at either end.
        prefix: String,
    },
}

/// A text that says no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLocation {
    /// Nothing.
    #[error("a store is a directory or s3://BUCKET/PREFIX")]
    Empty,
    /// Another URL.
    #[error("'{0}:' is not known here: a store is a directory or s3://BUCKET/PREFIX")]
    Scheme(String),
    /// Not a bucket.
    #[error(
        "a bucket's name has 3 to 63 characters, small letters, digits, '-' and '.', \
         as in s3://BUCKET/PREFIX"
    )]
    Bucket,
    /// Not a prefix.
    #[error(
        "a prefix consists of letters, digits, '-', '_' and '.', and slashes between them, \
         as in s3://BUCKET/PREFIX"
    )]
    Prefix,
}

impl Location {
    /// Where this user's snapshots are: as PLINTH_STORE says, or beside the
    /// volumes.
    ///
    /// # Errors
    /// The environment names a place that cannot be one.
    pub fn of_this_user() -> Result<Self, Error> {
        match Self::named()? {
            Some(named) => Ok(named),
            None => Ok(Self::beside_volumes(&root::locate()?)),
        }
    }

    /// Where the snapshot is that `volume` was made from: as is `asked` for, or
    /// PLINTH_STORE says, or is recorded of it.
    ///
    /// # Errors
    /// The environment, or the record, names a place that cannot be one.
    pub fn of_volume(volume: &Volume, asked: Option<Self>) -> Result<Self, Error> {
        if let Some(named) = asked.map_or_else(Self::named, |asked| Ok(Some(asked)))? {
            return Ok(named);
        }
        let Some(recorded) = &volume.record().store else {
            return Self::of_this_user();
        };
        recorded.parse().map_err(|error| {
            let what = format!("volume '{}' names no store", volume.name());
            Error::configuration(what)
                .because(error)
                .remedy(format!("the store that its snapshot is in, in {VARIABLE}"))
        })
    }

    /// The store that PLINTH_STORE names, if it names one.
    fn named() -> Result<Option<Self>, Error> {
        match std::env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => text.parse().map(Some).map_err(|error| {
                Error::configuration(format!("{VARIABLE} is no store")).because(error)
            }),
            _ => Ok(None),
        }
    }

    /// The store that is in the data directory `data`.
    pub fn beside_volumes(data: &Path) -> Self {
        Self::Directory(data.join(DEFAULT))
    }

    /// Opens the store. A directory is made with its first object; whether a
    /// bucket is there is seen when it is first used.
    ///
    /// # Errors
    /// The environment does not say how to reach it.
    pub fn open(&self) -> Result<Arc<dyn Store>, Error> {
        match self {
            Self::Directory(path) => Ok(Arc::new(Directory::new(path.clone()))),
            Self::S3 { bucket, prefix } => {
                let settings = Settings::from_environment(|name| std::env::var(name).ok());
                Ok(Arc::new(S3::new(bucket, prefix, settings)?))
            }
        }
    }
}

impl fmt::Display for Location {
    /// As [`FromStr`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Self::Directory(path.into())
    }
}

impl FromStr for Location {
    type Err = BadLocation;

    fn from_str(text: &str) -> Result<Self, BadLocation> {
        if text.is_empty() {
            return Err(BadLocation::Empty);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Directory(text.into()));
        };
        if scheme != "s3" {
            return Err(BadLocation::Scheme(scheme.into()));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !is_bucket(bucket) {
            return Err(BadLocation::Bucket);
        }
        if !prefix.is_empty() && !prefix.split('/').all(is_segment) {
            return Err(BadLocation::Prefix);
        }
        Ok(Self::S3 {
            bucket: bucket.into(),
            prefix: prefix.into(),
        })
    }
}

/// Amazon S3 User Guide, "General purpose bucket naming rules".
fn is_bucket(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = |byte: Option<&u8>| byte.is_some_and(|&byte| plain(byte));
    let bytes = text.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|&byte| plain(byte) || b"-.".contains(&byte))
        && ends(bytes.first())
        && ends(bytes.last())
}

/// Between slashes; `.` and `..` would mean something else in a URL.
fn is_segment(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed) && text.bytes().any(|byte| byte != b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(bucket: &str, prefix: &str) -> Location {
        Location::S3 {
            bucket: bucket.into(),
            prefix: prefix.into(),
        }
    }

    #[test]
    fn a_store_is_a_directory_or_a_bucket() {
        assert_eq!("/a/b".parse(), Ok(Location::Directory("/a/b".into())));
        assert_eq!("s3".parse(), Ok(Location::Directory("s3".into())));
        assert_eq!("s3://bucket".parse(), Ok(s3("bucket", "")));
        assert_eq!("s3://bucket/".parse(), Ok(s3("bucket", "")));
        assert_eq!("s3://b.1-x/a/B_2/".parse(), Ok(s3("b.1-x", "a/B_2")));
    }

    #[test]
    fn what_says_no_place_is_explained() {
        for (text, why) in [
            ("", "a store is a directory"),
            ("http://x/y", "'http:' is not known"),
            ("s3://", "a bucket's name"),
            ("s3://ab", "a bucket's name"),
            ("s3://Bucket", "a bucket's name"),
            ("s3://-bucket", "a bucket's name"),
            ("s3://buc ket", "a bucket's name"),
            ("s3://bucket//a", "a prefix"),
            ("s3://bucket/a//b", "a prefix"),
            ("s3://bucket/../x", "a prefix"),
            ("s3://bucket/ü", "a prefix"),
        ] {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
