//! A volume to be attached:
//! `NAME[,readonly][,direct][,engine=ENGINE][,on-error=WHAT]`, for one that is
//! still in a snapshot `,load-rate=BYTES`, and for an encrypted one whose key is
//! not where it was, `,key-file=FILE` or `,key-ring=NAME`.
//!
//! It has one queue: the worker alone knows the state of its blocks.

use std::str::FromStr;

use vmm::DiskOptions;

use crate::volume::encryption::key_source::KeySource;
use crate::volume::selector::Selector;

use super::Invalid;
use super::disk::{engine, on_error};
use super::list::{OptionList, split_first};
use super::rate;

/// A volume as the user asked for it.
#[derive(Clone, Debug)]
pub struct VolumeOption {
    /// Its name or id.
    pub volume: Selector,
    /// How it is used.
    pub options: DiskOptions,
    /// Where its wrapping key is, if it is not where it was.
    pub key: Option<KeySource>,
    /// Bytes in a second that are loaded from its snapshot though its guest does
    /// not wait for them, if that is said.
    pub load_rate: Option<u64>,
}

impl FromStr for VolumeOption {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (volume, rest) = split_first(text);
        let mut option = Self {
            volume: volume.parse().map_err(Invalid::because)?,
            options: DiskOptions::default(),
            key: None,
            load_rate: None,
        };
        if let Some(rest) = rest {
            let mut list = OptionList::parse(rest)?;
            option.options.read_only = list.flag("readonly")?;
            option.options.direct = list.flag("direct")?;
            option.options.engine = engine(list.value("engine")?.as_deref())?;
            option.options.on_error = on_error(list.value("on-error")?.as_deref())?;
            option.key = key(&mut list)?;
            let load_rate = list.value("load-rate")?;
            option.load_rate = load_rate.map(|rate| rate::bytes(&rate)).transpose()?;
            list.finish(
                "readonly, direct, engine=ENGINE, on-error=WHAT, load-rate=BYTES, \
                 key-file=FILE and key-ring=NAME",
            )?;
        }
        Ok(option)
    }
}

fn key(list: &mut OptionList) -> Result<Option<KeySource>, Invalid> {
    match (list.value("key-file")?, list.value("key-ring")?) {
        (None, None) => Ok(None),
        (Some(path), None) => KeySource::file(path.as_ref())
            .map(Some)
            .map_err(Invalid::because),
        (None, Some(name)) => match name.parse() {
            Ok(name) => Ok(Some(KeySource::Keyring(name))),
            Err(error) => Err(Invalid::because(error)),
        },
        _ => Err(Invalid::new("a key is in a key-file or in a key-ring")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmm::{EngineChoice, OnError};

    fn error(text: &str) -> String {
        text.parse::<VolumeOption>().unwrap_err().to_string()
    }

    #[test]
    fn a_name_alone_is_a_writable_disk() {
        let option: VolumeOption = "root".parse().unwrap();
        assert_eq!(option.volume, "root".parse().unwrap());
        assert_eq!(option.options, DiskOptions::default());
        assert!("vol-0123456789abcdef0".parse::<VolumeOption>().is_ok());
    }

    #[test]
    fn every_item_can_be_given_in_any_order() {
        let option: VolumeOption = "root,engine=sync,direct,readonly,on-error=wait"
            .parse()
            .unwrap();
        let options = DiskOptions {
            engine: EngineChoice::Sync,
            direct: true,
            read_only: true,
            on_error: OnError::Wait,
            ..DiskOptions::default()
        };
        assert_eq!(option.options, options);
    }

    #[test]
    fn a_volume_is_loaded_at_a_set_rate() {
        let rate = |text: &str| text.parse::<VolumeOption>().unwrap().load_rate;
        assert_eq!(rate("root"), None);
        assert_eq!(rate("root,load-rate=50M"), Some(50 << 20));
        assert!(error("root,load-rate=0").contains("from 1 byte"));
    }

    #[test]
    fn the_key_of_an_encrypted_volume_can_be_elsewhere() {
        let key = |text: &str| text.parse::<VolumeOption>().unwrap().key;
        assert_eq!(key("root"), None);
        let file = KeySource::file("/etc/a,b.key".as_ref()).unwrap();
        assert_eq!(key("root,key-file=/etc/a,,b.key"), Some(file));
        let ring = KeySource::Keyring("plinth:root".parse().unwrap());
        assert_eq!(key("root,key-ring=plinth:root"), Some(ring));
    }

    #[test]
    fn mistakes_are_explained() {
        assert!(error("").contains("a volume's name has"));
        assert!(error("a/b").contains("a volume's name has"));
        assert!(error("root,ro").contains("'ro' is not known here: there are readonly"));
        assert!(error("root,queues=2").contains("'queues' is not known"));
        assert!(error("root,iops=5").contains("'iops' is not known"));
        assert!(error("root,engine=aio").contains("io-uring and sync"));
        assert!(error("root,key-ring=").contains("needs a value"));
        assert!(error("root,key-file=/a,key-ring=b").contains("or in a key-ring"));
    }
}
