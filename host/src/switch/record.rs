//! What a switch is, as its file says: `switch.json`.
//!
//! What is read is not trusted: it becomes a [`Record`], whose values are valid,
//! or is refused with the reason.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use network::bridge::Bridge;
use network::id::{Id, OfPort};
use network::name::Name;
use network::refused::Refused;
use network::vpc::Vpc;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::Error;

/// What the file is called.
pub const FILE: &str = "switch.json";

/// The version of the format.
const FORMAT: u32 = 1;

/// No record is as long, in bytes: a thousand groups of 120 rules take 10 MiB.
const MOST: u64 = 64 << 20;

/// A switch.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What it connects its ports by.
    pub kind: Kind,
}

/// A kind of switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A routed network of its own.
    Vpc(Vpc),
    /// A segment of Ethernet.
    Bridge(Bridge),
}

/// What ports of all kinds have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyPort<'a> {
    /// What machines call it.
    pub id: Id<OfPort>,
    /// What its tap is called.
    pub tap: String,
    /// The machine that is plugged in.
    pub owner: &'a str,
    /// Its address, of which kind ever.
    pub address: String,
}

impl Kind {
    /// What it is called in lists.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Vpc(_) => "vpc",
            Self::Bridge(_) => "bridge",
        }
    }

    /// All ports, by id.
    pub fn ports(&self) -> Vec<AnyPort<'_>> {
        match self {
            Self::Vpc(vpc) => {
                let ports = vpc.ports().values().map(|port| AnyPort {
                    id: port.id,
                    tap: port.tap(),
                    owner: &port.owner,
                    address: port.address.to_string(),
                });
                ports.collect()
            }
            Self::Bridge(bridge) => {
                let ports = bridge.ports().values().map(|port| AnyPort {
                    id: port.id,
                    tap: port.tap(),
                    owner: &port.owner,
                    address: port.mac.to_string(),
                });
                ports.collect()
            }
        }
    }

    /// Takes ports away.
    ///
    /// # Errors
    /// There is no such port.
    pub fn remove_ports(&mut self, ids: &[Id<OfPort>]) -> Result<(), Refused> {
        ids.iter().try_for_each(|id| match self {
            Self::Vpc(vpc) => vpc.remove_port(*id).map(drop),
            Self::Bridge(bridge) => bridge.remove_port(*id).map(drop),
        })
    }
}

/// Why a file is no switch's record.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// It cannot be read.
    #[error("{FILE} cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is longer than any record.
    #[error("{FILE} is longer than {} MiB", MOST >> 20)]
    Long,
    /// It is not JSON, or says what cannot be.
    #[error("{FILE} is not understood")]
    Json(#[source] serde_json::Error),
    /// It was written by another version of plinth.
    #[error("{FILE} has format {0}, and this plinth knows format {FORMAT}")]
    Format(u32),
}

/// The record as the file has it.
#[derive(Debug, Serialize, Deserialize)]
struct Saved<K> {
    format: u32,
    switch: K,
}

/// What every version has.
#[derive(Debug, Deserialize)]
struct Versioned {
    format: u32,
}

impl Record {
    /// What the file in `directory` says.
    ///
    /// # Errors
    /// It says nothing that can be.
    pub fn read(directory: &Path) -> Result<Self, BadRecord> {
        let mut text = String::new();
        let file = File::open(directory.join(FILE)).map_err(BadRecord::Unreadable)?;
        let mut bounded = file.take(MOST + 1);
        let len = bounded.read_to_string(&mut text);
        if len.map_err(BadRecord::Unreadable)? as u64 > MOST {
            return Err(BadRecord::Long);
        }
        let Versioned { format } = serde_json::from_str(&text).map_err(BadRecord::Json)?;
        if format != FORMAT {
            return Err(BadRecord::Format(format));
        }
        let saved: Saved<Kind> = serde_json::from_str(&text).map_err(BadRecord::Json)?;
        let kind = saved.switch;
        Ok(Self { kind })
    }

    /// Has the file in `directory` say this, durably.
    ///
    /// # Errors
    /// The file system refuses; it says then what it said.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let saved = Saved {
            format: FORMAT,
            switch: &self.kind,
        };
        let text = serde_json::to_vec(&saved)?;
        durable::replace(directory, FILE, &text)
    }

    /// The network that it is; it is called `name`.
    ///
    /// # Errors
    /// It is none.
    pub fn vpc(&self, name: &Name) -> Result<&Vpc, Error> {
        match &self.kind {
            Kind::Vpc(vpc) => Ok(vpc),
            Kind::Bridge(_) => Err(Error::configuration(format!(
                "'{name}' is a bridge, and has no addresses, subnets, routes or security groups"
            ))
            .remedy("a network that plinth vpc list lists")),
        }
    }

    /// The bridge that it is; it is called `name`.
    ///
    /// # Errors
    /// It is none.
    pub fn bridge(&self, name: &Name) -> Result<&Bridge, Error> {
        match &self.kind {
            Kind::Bridge(bridge) => Ok(bridge),
            Kind::Vpc(_) => Err(Error::configuration(format!(
                "'{name}' is a routed network, and no bridge"
            ))
            .remedy(format!("plinth vpc --help; or plinth vpc show {name}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn record() -> Record {
        let kind = Kind::Vpc(Vpc::new("10.0.0.0/16".parse().unwrap()).unwrap());
        Record { kind }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let record = record();
        record.write(directory.path()).unwrap();
        assert_eq!(Record::read(directory.path()).unwrap(), record);
    }

    #[test]
    fn a_file_that_is_no_record_is_refused_wherever_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        record().write(directory.path()).unwrap();
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            Record::read(directory.path()).expect_err("it is cut off");
        }
        let other = String::from_utf8(whole).unwrap();
        fs::write(&path, other.replace("\"format\":1", "\"format\":2")).unwrap();
        let error = Record::read(directory.path()).unwrap_err().to_string();
        assert!(error.contains("has format 2"));
        fs::write(&path, other.replace("10.0.0.0/16", "10.0.0.0/8")).unwrap();
        assert!(Record::read(directory.path()).is_err());
        fs::remove_file(&path).unwrap();
        assert!(matches!(
            Record::read(directory.path()),
            Err(BadRecord::Unreadable(_))
        ));
    }
}
