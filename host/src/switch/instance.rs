//! What the guest at a port is told of itself, but for what its network knows:
//! `instances/PORT.json` in the switch's directory. It has secrets of users, so
//! nobody else may read it; it is as old as the port, and goes with it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use metadata::Options;
use metadata::id::InstanceId;
use metadata::name::DnsName;
use metadata::options::{HopLimit, Tokens};
use metadata::ssh_key::SshKey;
use metadata::text::Line;
use metadata::user_data::UserData;
use network::id::{Id, OfPort};
use serde::{Deserialize, Serialize};

use crate::durable;

/// The directory.
const DIRECTORY: &str = "instances";

/// No file is longer, in bytes.
const MOST: u64 = 1 << 20;

/// What is told to the guest of one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct InstanceRecord {
    /// What the machine is called, the same at all its ports.
    pub id: InstanceId,
    /// The place of the port's interface among the machine's.
    pub device_number: u8,
    /// What its user calls it.
    pub hostname: Option<DnsName>,
    /// How large it is.
    pub kind: Line,
    /// What it began from.
    pub image: Line,
    /// When it began, to the second.
    pub launched: SystemTime,
    /// What its user hands it.
    pub user_data: Option<UserData>,
    /// Who may log in.
    pub ssh_keys: Vec<SshKey>,
    /// How it is told.
    pub options: Options,
}

/// The same as the file has it.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    id: String,
    device_number: u8,
    hostname: Option<String>,
    kind: String,
    image: String,
    /// Seconds since 1970.
    launched: u64,
    /// In base64.
    user_data: Option<String>,
    ssh_keys: Vec<String>,
    endpoint: bool,
    tokens_required: bool,
    hop_limit: u8,
}

/// Why a file says nothing of an instance.
#[derive(Debug, thiserror::Error)]
pub enum BadInstance {
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable(#[from] io::Error),
    /// It is longer than any.
    #[error("it is longer than {MOST} bytes")]
    Long,
    /// It says what cannot be.
    #[error("it is not understood")]
    Json(#[from] serde_json::Error),
}

/// What the guest at `port` of the switch in `directory` is told, if anything is
/// stored.
///
/// # Errors
/// The file says nothing that can be.
pub fn read(directory: &Path, port: Id<OfPort>) -> Result<Option<InstanceRecord>, BadInstance> {
    let file = match File::open(path(directory, port)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    if file.take(MOST + 1).read_to_string(&mut text)? as u64 > MOST {
        return Err(BadInstance::Long);
    }
    Ok(Some(serde_json::from_str(&text)?))
}

/// Stores what the guest at `port` is told.
///
/// # Errors
/// The file system refuses.
pub fn write(directory: &Path, port: Id<OfPort>, record: &InstanceRecord) -> io::Result<()> {
    let text = serde_json::to_vec(record)?;
    durable::replace(&prepare(directory)?, &file_name(port), &text)
}

/// Where those of the switch in `directory` are, which there need not be any of
/// yet.
///
/// # Errors
/// The file system refuses.
pub(super) fn prepare(directory: &Path) -> io::Result<PathBuf> {
    let directory = self::directory(directory);
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(directory),
    }
}

/// Forgets what the guest at `port` was told.
///
/// # Errors
/// The file system refuses.
pub fn remove(directory: &Path, port: Id<OfPort>) -> io::Result<()> {
    match fs::remove_file(path(directory, port)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Forgets what guests were told at others than `ports`, and what a killed process
/// had begun to store.
///
/// # Errors
/// The file system refuses.
pub(super) fn keep(directory: &Path, ports: impl Iterator<Item = Id<OfPort>>) -> io::Result<()> {
    let kept: BTreeSet<OsString> = ports.map(|port| file_name(port).into()).collect();
    let entries = match fs::read_dir(self::directory(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !kept.contains(&entry.file_name()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Where those of the switch in `directory` are.
pub(super) fn directory(directory: &Path) -> PathBuf {
    directory.join(DIRECTORY)
}

fn path(directory: &Path, port: Id<OfPort>) -> PathBuf {
    self::directory(directory).join(file_name(port))
}

fn file_name(port: Id<OfPort>) -> String {
    format!("{port}.json")
}

impl From<InstanceRecord> for Saved {
    fn from(record: InstanceRecord) -> Self {
        let since = record.launched.duration_since(SystemTime::UNIX_EPOCH);
        let encoded = |data: UserData| BASE64_STANDARD.encode(data.as_bytes());
        Self {
            id: record.id.to_string(),
            device_number: record.device_number,
            hostname: record.hostname.map(|name| name.to_string()),
            kind: record.kind.to_string(),
            image: record.image.to_string(),
            launched: since.map_or(0, |since| since.as_secs()),
            user_data: record.user_data.map(encoded),
            ssh_keys: record.ssh_keys.iter().map(SshKey::to_string).collect(),
            endpoint: record.options.endpoint,
            tokens_required: record.options.tokens == Tokens::Required,
            hop_limit: record.options.hop_limit.get(),
        }
    }
}

impl TryFrom<Saved> for InstanceRecord {
    type Error = String;

    fn try_from(saved: Saved) -> Result<Self, String> {
        let decoded = |text: String| {
            let bytes = BASE64_STANDARD.decode(text).map_err(said)?;
            UserData::new(bytes).map_err(said)
        };
        let launched = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(saved.launched));
        let tokens = match saved.tokens_required {
            true => Tokens::Required,
            false => Tokens::Optional,
        };
        let keys = saved.ssh_keys.iter().map(|key| key.parse().map_err(said));
        let hostname = saved.hostname.map(|name| name.parse().map_err(said));
        Ok(Self {
            id: saved.id.parse().map_err(said)?,
            device_number: saved.device_number,
            hostname: hostname.transpose()?,
            kind: saved.kind.parse().map_err(said)?,
            image: saved.image.parse().map_err(said)?,
            launched: launched.ok_or("it began after the end of time")?,
            user_data: saved.user_data.map(decoded).transpose()?,
            ssh_keys: keys.collect::<Result<_, _>>()?,
            options: Options {
                tokens,
                endpoint: saved.endpoint,
                hop_limit: HopLimit::new(saved.hop_limit).map_err(said)?,
                tags: false,
            },
        })
    }
}

fn said(error: impl std::error::Error) -> String {
    error.to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn record() -> InstanceRecord {
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        InstanceRecord {
            id: "i-0123456789abcdef0".parse().unwrap(),
            device_number: 0,
            hostname: Some("web".parse().unwrap()),
            kind: "plinth.2cpu.1024mib".parse().unwrap(),
            image: "ami-0123456789abcdef0".parse().unwrap(),
            launched: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            user_data: Some(UserData::new(b"#!/bin/sh\n\xff\0".to_vec()).unwrap()),
            ssh_keys: vec![format!("{key} ada@engine").parse().unwrap()],
            options: Options {
                tokens: Tokens::Required,
                ..Options::default()
            },
        }
    }

    #[test]
    fn what_is_told_is_read_as_it_was_written_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let port = Id::random().unwrap();
        assert!(read(directory.path(), port).unwrap().is_none());
        write(directory.path(), port, &record()).unwrap();
        assert_eq!(read(directory.path(), port).unwrap(), Some(record()));
        remove(directory.path(), port).unwrap();
        remove(directory.path(), port).unwrap();
        assert!(read(directory.path(), port).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let port = Id::random().unwrap();
        write(directory.path(), port, &record()).unwrap();
        let path = path(directory.path(), port);
        let whole = fs::read_to_string(&path).unwrap();
        for (old, new) in [
            ("i-0123", "x-0123"),
            ("\"hop_limit\":1", "\"hop_limit\":0"),
            ("ssh-ed25519 A", "ssh-ed25519 !"),
            ("\"user_data\":\"", "\"user_data\":\"?"),
            (
                "\"launched\":1800000000",
                "\"launched\":18446744073709551615",
            ),
        ] {
            let text = whole.replace(old, new);
            assert_ne!(text, whole, "{old}");
            fs::write(&path, text).unwrap();
            let error = read(directory.path(), port).unwrap_err();
            assert!(matches!(error, BadInstance::Json(_)), "{old}: {error}");
        }
    }
}
