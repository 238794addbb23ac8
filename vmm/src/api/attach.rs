//! A device to be attached, as it is sent: what it is, with the open
//! descriptors of what it stands on. The VM process opens nothing.

use std::fs::File;
use std::os::fd::OwnedFd;

use devices::block::id::DiskId;
use devices::block::lock::{Access, LockError, lock};
use devices::block::mapped_disk::{FreezeFiles, Mapping};
use devices::block::open::{DiskOptions, EngineChoice};
use devices::net::device::NetOptions;
use devices::net::mac::MacAddress;
use devices::net::mtu::Mtu;
use devices::virtio::queue_count::QueueCount;
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::failure::{Code, Failure};
use super::limits::checked;
use crate::config::{BlockConfig, DeviceConfig, NetConfig};
use crate::description::{LimitsDescription, OnErrorDescription};
use crate::device_name::DeviceName;
use crate::sealed_key::{BadKey, unseal};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Disk,
    Net,
}

/// A disk, beside its kind.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDisk {
    name: String,
    #[serde(default)]
    readonly: bool,
    #[serde(default)]
    direct: bool,
    #[serde(default)]
    engine: Engine,
    #[serde(default = "one")]
    queues: u64,
    #[serde(default)]
    on_error: OnErrorDescription,
    /// Its key comes behind all its files.
    #[serde(default)]
    encrypted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<LimitsDescription>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<NewVolume>,
}

/// What makes a disk a volume. Its files come after the disk's own: `map`, then
/// `freeze` and `kept` of each snapshot under way, then the loader's socket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewVolume {
    /// Snapshots under way.
    #[serde(default)]
    freezes: u8,
    /// Some blocks are still to be loaded.
    #[serde(default)]
    loader: bool,
}

impl NewVolume {
    fn descriptors(self) -> usize {
        1 + 2 * usize::from(self.freezes) + usize::from(self.loader)
    }

    /// Takes what came.
    fn mapping(self, files: &mut impl Iterator<Item = OwnedFd>) -> Option<Mapping> {
        let map = files.next()?.into();
        let mut freezes = Vec::with_capacity(self.freezes.into());
        for _ in 0..self.freezes {
            freezes.push(FreezeFiles {
                freeze: files.next()?.into(),
                kept: files.next()?.into(),
            });
        }
        let loader = match self.loader {
            true => Some(files.next()?),
            false => None,
        };
        Some(Mapping {
            map,
            freezes,
            loader,
        })
    }
}

/// How many queues a device has if nothing is said.
fn one() -> u64 {
    QueueCount::default().get().into()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Engine {
    #[default]
    Auto,
    IoUring,
    Sync,
}

/// A network interface, beside its kind.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewNet {
    name: DeviceName,
    mac: String,
    #[serde(default = "one")]
    queues: u64,
    #[serde(default)]
    vhost: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receive: Option<LimitsDescription>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transmit: Option<LimitsDescription>,
}

/// Reads what `body` describes, which stands on `descriptors`.
pub(super) fn read(
    mut body: Body,
    descriptors: &mut Vec<OwnedFd>,
) -> Result<DeviceConfig, Failure> {
    let kind: Kind = body.take("kind")?;
    match kind {
        Kind::Disk => {
            let disk: NewDisk = body.read()?;
            let id: DiskId = disk.name.parse().map_err(bad("name"))?;
            let encrypted = usize::from(disk.encrypted);
            let count = 1 + disk.volume.map_or(0, NewVolume::descriptors) + encrypted;
            let files = passed(descriptors, count, "disk's file")?;
            let mut files = files.into_iter();
            let file = files.next().map(File::from).ok_or_else(none_came)?;
            claim(&file, disk.readonly)?;
            let mapping = |volume: NewVolume| volume.mapping(&mut files).ok_or_else(none_came);
            let volume = disk.volume.map(mapping).transpose()?;
            let key = files.next().map(unseal).transpose().map_err(bad_key)?;
            Ok(DeviceConfig::Block(BlockConfig {
                file,
                id,
                options: DiskOptions {
                    engine: match disk.engine {
                        Engine::Auto => EngineChoice::Auto,
                        Engine::IoUring => EngineChoice::IoUring,
                        Engine::Sync => EngineChoice::Sync,
                    },
                    direct: disk.direct,
                    read_only: disk.readonly,
                    queues: QueueCount::new(disk.queues).map_err(bad("queues"))?,
                    on_error: disk.on_error.into(),
                },
                key,
                limits: checked(disk.limits, "limits.")?,
                volume,
            }))
        }
        Kind::Net => {
            let net: NewNet = body.read()?;
            let mac: MacAddress = net.mac.parse().map_err(bad("mac"))?;
            let queues = QueueCount::new(net.queues).map_err(bad("queues"))?;
            let mtu = net.mtu.map(Mtu::new).transpose().map_err(bad("mtu"))?;
            let queues = usize::from(queues.get());
            let count = if net.vhost { 2 * queues } else { queues };
            let mut cable = passed(descriptors, count, "a cable")?;
            Ok(DeviceConfig::Net(NetConfig {
                name: net.name,
                vhost: cable.split_off(queues),
                cable,
                options: NetOptions { mac, mtu },
                receive: checked(net.receive, "receive.")?,
                transmit: checked(net.transmit, "transmit.")?,
            }))
        }
    }
}

fn bad<E: std::fmt::Display>(field: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::in_field(field, format!("field '{field}': {error}"))
}

fn bad_key(error: BadKey) -> Failure {
    let message = format!("the last descriptor is not a disk's key: {error}");
    Failure::new(Code::MalformedRequest, message)
}

/// The descriptors of `what`, of which there must be `count`.
pub(super) fn passed(
    descriptors: &mut Vec<OwnedFd>,
    count: usize,
    what: &str,
) -> Result<Vec<OwnedFd>, Failure> {
    let came = descriptors.len();
    if came == count {
        return Ok(std::mem::take(descriptors));
    }
    let how = "with the request's first byte (SCM_RIGHTS)";
    let message = match (came, count) {
        (0, 1) => format!("the open descriptor of the {what} is missing; pass it {how}"),
        _ => format!("{came} open descriptors of the {what} came; pass {count} {how}"),
    };
    Err(Failure::new(Code::MalformedRequest, message))
}

fn none_came() -> Failure {
    Failure::new(Code::MalformedRequest, "a descriptor is missing")
}

/// Locks a disk's file as `plinth` does; whoever passed it may have forgotten
/// to. What else is wrong with it is found when it is opened as a disk.
fn claim(file: &File, read_only: bool) -> Result<(), Failure> {
    let access = match read_only {
        true => Access::Shared,
        false => Access::Exclusive,
    };
    match lock(file, access) {
        Err(LockError::InUse) => Err(Failure::new(
            Code::Conflict,
            "the disk's file is in use, by this machine or another process; \
             detach it there first, or attach it read-only everywhere",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed_key::seal;
    use devices::block::waits::OnError;
    use devices::rate_limit::{Limit, Limits};
    use volume::cipher::key::Key;

    fn parsed(text: &str, descriptors: &mut Vec<OwnedFd>) -> Result<DeviceConfig, Failure> {
        read(Body::parse(text.as_bytes())?, descriptors)
    }

    fn file() -> Vec<OwnedFd> {
        vec![tempfile::tempfile().unwrap().into()]
    }

    #[test]
    fn a_disk_and_a_network_interface_take_the_descriptor() {
        let mut passed = file();
        let text = r#"{"kind":"disk","name":"data","readonly":true,"queues":4,"on_error":"wait",
            "limits":{"operations_per_second":100}}"#;
        let Ok(DeviceConfig::Block(disk)) = parsed(text, &mut passed) else {
            panic!("it is a disk");
        };
        assert!(passed.is_empty() && disk.options.read_only && !disk.options.direct);
        assert_eq!(disk.id.to_string(), "data");
        assert_eq!(disk.options.queues.get(), 4);
        assert_eq!(disk.options.on_error, OnError::Wait);
        let limit = Limit::per_second(100).ok();
        assert_eq!(disk.limits, Limits::new(limit, None));
        let text = r#"{"kind":"net","name":"net1","mac":"02:00:00:00:00:01","mtu":9000,
            "transmit":{"bytes_per_second":100}}"#;
        let Ok(DeviceConfig::Net(net)) = parsed(text, &mut file()) else {
            panic!("it is a network interface");
        };
        assert_eq!(net.options.mtu.map(Mtu::get), Some(9000));
        assert_eq!(
            (net.receive, net.transmit),
            (None, Limits::new(None, limit))
        );
    }

    #[test]
    fn what_cannot_be_attached_is_refused_by_its_fields_name() {
        for (text, field) in [
            ("{}", "kind"),
            (r#"{"kind":"tape","name":"a"}"#, "kind"),
            (r#"{"kind":"disk"}"#, "name"),
            (
                r#"{"kind":"disk","name":"a b c d e f g h i j k l m"}"#,
                "name",
            ),
            (r#"{"kind":"disk","name":"a","readonly":1}"#, "readonly"),
            (r#"{"kind":"disk","name":"a","queues":0}"#, "queues"),
            (r#"{"kind":"disk","name":"a","queues":17}"#, "queues"),
            (r#"{"kind":"disk","name":"a","mac":""}"#, "mac"),
            (r#"{"kind":"net","name":"a","mac":"1"}"#, "mac"),
            (
                r#"{"kind":"net","name":"a","mac":"02:00:00:00:00:01","queues":17}"#,
                "queues",
            ),
            (
                r#"{"kind":"disk","name":"a","limits":{"bytes_per_second":0}}"#,
                "limits.bytes_per_second",
            ),
            (
                r#"{"kind":"net","name":"a","mac":"02:00:00:00:00:01","receive":{"bytes_burst":1}}"#,
                "receive.bytes_burst",
            ),
        ] {
            let failure = parsed(text, &mut file()).unwrap_err();
            let document = serde_json::to_value(failure.document()).unwrap();
            assert_eq!(document["error"]["field"], field, "{text}");
        }
        let text = r#"{"kind":"disk","name":"a"}"#;
        let missing = parsed(text, &mut Vec::new()).unwrap_err();
        assert_eq!(missing.code, Code::MalformedRequest);
    }

    #[test]
    fn a_key_comes_behind_the_disk_that_is_encrypted_under_it() {
        let text = r#"{"kind":"disk","name":"data","encrypted":true}"#;
        let key = Key::random().unwrap();
        let with_key = || Vec::from_iter([file().remove(0), seal(&key).unwrap()]);
        let Ok(DeviceConfig::Block(disk)) = parsed(text, &mut with_key()) else {
            panic!("it is a disk");
        };
        assert_eq!(disk.key, Some(key.clone()));
        let no_key = Vec::from_iter([file().remove(0), file().remove(0)]);
        for mut came in [file(), no_key, Vec::new()] {
            let failure = parsed(text, &mut came).unwrap_err();
            assert_eq!(failure.code, Code::MalformedRequest);
        }
        let plain = r#"{"kind":"disk","name":"data"}"#;
        let failure = parsed(plain, &mut with_key()).unwrap_err();
        assert_eq!(failure.code, Code::MalformedRequest, "nobody wants the key");
    }

    #[test]
    fn a_tap_has_a_descriptor_for_each_queue() {
        let net = |queues: u64| {
            format!(r#"{{"kind":"net","name":"a","mac":"02:00:00:00:00:01","queues":{queues}}}"#)
        };
        let files = |count| (0..count).flat_map(|_| file()).collect::<Vec<_>>();
        let Ok(DeviceConfig::Net(two)) = parsed(&net(2), &mut files(2)) else {
            panic!("it is a network interface");
        };
        assert_eq!(two.cable.len(), 2);
        for (queues, came) in [(1, 0), (1, 2), (2, 0), (2, 1), (2, 3)] {
            let failure = parsed(&net(queues), &mut files(came)).unwrap_err();
            assert_eq!(failure.code, Code::MalformedRequest, "{queues} {came}");
        }
    }

    #[test]
    fn a_file_that_somebody_else_uses_is_refused_unless_all_only_read_it() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let open = || vec![OwnedFd::from(named.reopen().unwrap())];
        let attach = |text| parsed(text, &mut open());
        let writes = r#"{"kind":"disk","name":"a"}"#;
        let reads = r#"{"kind":"disk","name":"a","readonly":true}"#;
        let first = attach(writes).unwrap();
        for text in [writes, reads] {
            assert_eq!(attach(text).unwrap_err().code, Code::Conflict);
        }
        drop(first);
        let _reader = attach(reads).unwrap();
        attach(reads).unwrap();
        assert_eq!(attach(writes).unwrap_err().code, Code::Conflict);
    }
}
