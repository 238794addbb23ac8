//! A disk: `PATH[,readonly][,direct][,engine=ENGINE][,queues=N][,id=ID]
//! [,on-error=WHAT]` and its [limits](super::limits).

use std::path::PathBuf;
use std::str::FromStr;

use vmm::{DiskId, DiskOptions, EngineChoice, Limits, OnError};

use super::Invalid;
use super::limits::limits;
use super::list::{OptionList, split_first};
use super::queues::queues;

/// A disk as the user asked for it.
#[derive(Clone, Debug)]
pub struct DiskOption {
    /// A regular file or a block device.
    pub path: PathBuf,
    /// How it is used.
    pub options: DiskOptions,
    /// What the guest reads as its serial number.
    pub id: Option<DiskId>,
    /// How much it may do.
    pub limits: Option<Limits>,
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
            options: DiskOptions::default(),
            id: None,
            limits: None,
        };
        if let Some(rest) = rest {
            let mut list = OptionList::parse(rest)?;
            disk.options.read_only = list.flag("readonly")?;
            disk.options.direct = list.flag("direct")?;
            disk.options.engine = engine(list.value("engine")?.as_deref())?;
            disk.options.queues = queues(&mut list)?;
            disk.options.on_error = on_error(list.value("on-error")?.as_deref())?;
            disk.id = list.value("id")?.map(|id| parse_id(&id)).transpose()?;
            disk.limits = limits(&mut list, "")?;
            list.finish(
                "readonly, direct, engine=ENGINE, queues=N, id=ID, on-error=WHAT, iops=N, \
                 iops-burst=N, bandwidth=SIZE and bandwidth-burst=SIZE",
            )?;
        }
        Ok(disk)
    }
}

/// The engine called `name`, or the best that there is.
pub(super) fn engine(name: Option<&str>) -> Result<EngineChoice, Invalid> {
    match name {
        None => Ok(EngineChoice::Auto),
        Some("io-uring") => Ok(EngineChoice::IoUring),
        Some("sync") => Ok(EngineChoice::Sync),
        Some(other) => Err(Invalid::new(format!(
            "'{other}' is not an engine: there are io-uring and sync"
        ))),
    }
}

/// What becomes of operations that the host fails.
pub(super) fn on_error(what: Option<&str>) -> Result<OnError, Invalid> {
    match what {
        None | Some("report") => Ok(OnError::Report),
        Some("wait") => Ok(OnError::Wait),
        Some(other) => Err(Invalid::new(format!(
            "on-error={other} is not known: it is report, or wait"
        ))),
    }
}

fn parse_id(id: &str) -> Result<DiskId, Invalid> {
    id.parse()
        .map_err(|error| Invalid::new(format!("id '{id}' does not do: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmm::{Limit, QueueCount};

    fn error(text: &str) -> String {
        text.parse::<DiskOption>().unwrap_err().to_string()
    }

    #[test]
    fn a_path_alone_is_a_writable_disk() {
        let disk: DiskOption = "/a/b.img".parse().unwrap();
        assert_eq!(disk.path, PathBuf::from("/a/b.img"));
        assert_eq!(disk.options, DiskOptions::default());
        assert_eq!((disk.id, disk.limits), (None, None));
    }

    #[test]
    fn every_item_can_be_given_in_any_order() {
        let disk: DiskOption =
            "a,,b,id=root,direct,iops=3000,engine=sync,queues=4,readonly,on-error=wait"
                .parse()
                .unwrap();
        assert_eq!(disk.path, PathBuf::from("a,b"));
        let options = DiskOptions {
            engine: EngineChoice::Sync,
            direct: true,
            read_only: true,
            queues: QueueCount::new(4).unwrap(),
            on_error: OnError::Wait,
        };
        assert_eq!(disk.options, options);
        assert_eq!(disk.id, Some("root".parse().unwrap()));
        let operations = Limit::per_second(3000).ok();
        assert_eq!(disk.limits, Limits::new(operations, None));
    }

    #[test]
    fn mistakes_are_explained() {
        assert!(error("").contains("path"));
        assert!(error("a,readonly=1").contains("'readonly' takes no value"));
        assert!(error("a,ro").contains("'ro' is not known"));
        assert!(error("a,id=").contains("needs a value"));
        assert!(error("a,iops=0").contains("iops: operations are"));
        assert!(error("a,queues=0").contains("1 to 16 queues"));
        assert!(error("a,engine=aio").contains("io-uring and sync"));
        assert!(error("a,on-error=stop").contains("on-error=stop is not known"));
        assert!(error("a,id=a b").contains("id 'a b' does not do"));
        assert!(error("a,id=x23456789012345678901").contains("at most 20"));
        assert!("a,id=x2345678901234567890".parse::<DiskOption>().is_ok());
    }
}
