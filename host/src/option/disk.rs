//! A disk: `PATH[,readonly][,direct][,engine=ENGINE][,id=ID]`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::Invalid;
use super::list::{OptionList, split_first};

/// The longest disk identity that a guest can ask for, in bytes (virtio 1.3
/// §5.2.6, VIRTIO_BLK_T_GET_ID).
pub const ID_LONGEST: usize = 20;

/// How a disk's requests reach the host's kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskEngine {
    /// io_uring where the host has it, else system calls.
    #[default]
    Auto,
    /// io_uring, or refuse.
    IoUring,
    /// One system call for each request.
    Sync,
}

/// What a guest reads as a disk's serial number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskId(String);

impl DiskId {
    /// The identity of the disk with this number if the user gave none.
    pub fn numbered(number: usize) -> Self {
        Self(format!("disk{number}"))
    }

    /// The text: 1 to [`ID_LONGEST`] printable ASCII characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DiskId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Invalid::new(
                "a disk's id has printable ASCII characters without spaces",
            ));
        }
        if text.len() > ID_LONGEST {
            return Err(Invalid::new(format!(
                "disk id '{text}' is {} bytes long and a guest sees {ID_LONGEST}",
                text.len()
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A disk as the user asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskOption {
    /// A regular file or a block device.
    pub path: PathBuf,
    /// The guest cannot write to it.
    pub readonly: bool,
    /// Bypass the host's page cache.
    pub direct: bool,
    /// How requests reach the host's kernel.
    pub engine: DiskEngine,
    /// What the guest reads as its serial number.
    pub id: Option<DiskId>,
}

impl FromStr for DiskOption {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (path, rest) = split_first(text);
        if path.is_empty() {
            return Err(Invalid::new("a disk begins with the path of its file"));
        }
        let mut disk = Self {
            path: path.into(),
            readonly: false,
            direct: false,
            engine: DiskEngine::default(),
            id: None,
        };
        if let Some(rest) = rest {
            let mut list = OptionList::parse(rest)?;
            disk.readonly = list.flag("readonly")?;
            disk.direct = list.flag("direct")?;
            disk.engine = engine(list.value("engine")?.as_deref())?;
            disk.id = list.value("id")?.map(|id| id.parse()).transpose()?;
            list.finish("readonly, direct, engine=ENGINE and id=ID")?;
        }
        Ok(disk)
    }
}

fn engine(name: Option<&str>) -> Result<DiskEngine, Invalid> {
    match name {
        None => Ok(DiskEngine::Auto),
        Some("io-uring") => Ok(DiskEngine::IoUring),
        Some("sync") => Ok(DiskEngine::Sync),
        Some(other) => Err(Invalid::new(format!(
            "'{other}' is not an engine: there are io-uring and sync"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<DiskOption>().unwrap_err().to_string()
    }

    #[test]
    fn a_path_alone_is_a_writable_disk() {
        let disk: DiskOption = "/a/b.img".parse().unwrap();
        assert_eq!(disk.path, PathBuf::from("/a/b.img"));
        assert!(!disk.readonly && !disk.direct);
        assert_eq!((disk.engine, disk.id), (DiskEngine::Auto, None));
    }

    #[test]
    fn every_item_can_be_given_in_any_order() {
        let disk: DiskOption = "a,,b,id=root,direct,engine=sync,readonly".parse().unwrap();
        assert_eq!(disk.path, PathBuf::from("a,b"));
        assert!(disk.readonly && disk.direct);
        assert_eq!(disk.engine, DiskEngine::Sync);
        assert_eq!(disk.id, Some(DiskId("root".into())));
    }

    #[test]
    fn mistakes_are_explained() {
        assert!(error("").contains("path"));
        assert!(error("a,readonly=1").contains("'readonly' takes no value"));
        assert!(error("a,ro").contains("'ro' is not known"));
        assert!(error("a,id=").contains("needs a value"));
        assert!(error("a,engine=aio").contains("io-uring and sync"));
        assert!(error("a,id=a b").contains("printable"));
        assert!(error("a,id=x23456789012345678901").contains("21 bytes"));
        assert!("a,id=x2345678901234567890".parse::<DiskOption>().is_ok());
    }
}
