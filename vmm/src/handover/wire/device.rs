//! A virtio device's configuration as it crosses an `exec`.

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use devices::block::mapped_disk::{FreezeFiles, Mapping};
use devices::block::open::{DiskOptions, EngineChoice};
use devices::net::device::NetOptions;
use devices::net::mtu::Mtu;
use devices::rate_limit::{Limit, Limits};
use devices::virtio::queue_count::QueueCount;
use devices::vsock::GuestCid;
use serde::{Deserialize, Serialize};

use super::super::HandoverError;
use super::super::inheritance::{Inheritance, bequeath};
use super::{WireConsole, bad};
use crate::config::{BlockConfig, DeviceConfig, NetConfig, VsockConfig};
use crate::description::OnErrorDescription;
use crate::sealed_key::{seal, unseal};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum WireDevice {
    Block {
        file: RawFd,
        id: String,
        engine: WireEngine,
        direct: bool,
        read_only: bool,
        queues: u16,
        on_error: OnErrorDescription,
        key: Option<RawFd>,
        limits: Option<WireLimits>,
        volume: Option<WireMapping>,
    },
    Net {
        cable: Vec<RawFd>,
        vhost: Vec<RawFd>,
        name: String,
        mac: String,
        mtu: Option<u16>,
        receive: Option<WireLimits>,
        transmit: Option<WireLimits>,
    },
    Rng,
    Vsock {
        cid: u32,
        listener: RawFd,
        directory: RawFd,
        stem: String,
    },
    Console(WireConsole),
    Balloon,
    Mem,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WireEngine {
    Auto,
    IoUring,
    Sync,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireMapping {
    map: RawFd,
    /// Each with its kept blocks.
    freezes: Vec<(RawFd, RawFd)>,
    loader: Option<RawFd>,
}

/// At least one of the two.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireLimits {
    operations: Option<WireLimit>,
    bytes: Option<WireLimit>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLimit {
    rate: u64,
    burst: u64,
}

impl WireDevice {
    pub(super) fn from_config(config: DeviceConfig) -> io::Result<Self> {
        Ok(match config {
            DeviceConfig::Block(block) => Self::Block {
                file: bequeath(block.file)?,
                id: block.id.to_string(),
                engine: match block.options.engine {
                    EngineChoice::Auto => WireEngine::Auto,
                    EngineChoice::IoUring => WireEngine::IoUring,
                    EngineChoice::Sync => WireEngine::Sync,
                },
                direct: block.options.direct,
                read_only: block.options.read_only,
                queues: block.options.queues.get(),
                on_error: block.options.on_error.into(),
                key: match block.key {
                    Some(key) => Some(bequeath(seal(&key)?)?),
                    None => None,
                },
                limits: block.limits.map(WireLimits::from_limits),
                volume: block.volume.map(WireMapping::bequeath).transpose()?,
            },
            DeviceConfig::Net(net) => Self::Net {
                name: net.name.to_string(),
                cable: bequeath_all(net.cable)?,
                vhost: bequeath_all(net.vhost)?,
                mac: net.options.mac.to_string(),
                mtu: net.options.mtu.map(Mtu::get),
                receive: net.receive.map(WireLimits::from_limits),
                transmit: net.transmit.map(WireLimits::from_limits),
            },
            DeviceConfig::Rng => Self::Rng,
            DeviceConfig::Vsock(vsock) => Self::Vsock {
                cid: vsock.cid.get(),
                listener: bequeath(vsock.listener)?,
                directory: bequeath(vsock.directory)?,
                stem: vsock.stem.to_string(),
            },
            DeviceConfig::Console(console) => Self::Console(WireConsole::from_config(console)?),
            DeviceConfig::Balloon => Self::Balloon,
            DeviceConfig::Mem => Self::Mem,
        })
    }

    pub(super) fn into_config(
        self,
        inheritance: &mut Inheritance,
    ) -> Result<DeviceConfig, HandoverError> {
        let mut fd = |number| inheritance.adopt(number);
        Ok(match self {
            Self::Block {
                file,
                id,
                engine,
                direct,
                read_only,
                queues,
                on_error,
                key,
                limits,
                volume,
            } => DeviceConfig::Block(BlockConfig {
                file: fd(file)?.into(),
                id: id.parse().map_err(bad("disk id"))?,
                options: DiskOptions {
                    engine: match engine {
                        WireEngine::Auto => EngineChoice::Auto,
                        WireEngine::IoUring => EngineChoice::IoUring,
                        WireEngine::Sync => EngineChoice::Sync,
                    },
                    direct,
                    read_only,
                    queues: QueueCount::new(queues.into()).map_err(bad("number of queues"))?,
                    on_error: on_error.into(),
                },
                key: match key {
                    Some(number) => Some(unseal(fd(number)?).map_err(bad("disk key"))?),
                    None => None,
                },
                limits: read(limits)?,
                volume: volume.map(|volume| volume.adopt(inheritance)).transpose()?,
            }),
            Self::Net {
                cable,
                vhost,
                name,
                mac,
                mtu,
                receive,
                transmit,
            } => DeviceConfig::Net(NetConfig {
                name: name.parse().map_err(bad("device name"))?,
                cable: cable.into_iter().map(&mut fd).collect::<Result<_, _>>()?,
                vhost: vhost.into_iter().map(&mut fd).collect::<Result<_, _>>()?,
                options: NetOptions {
                    mac: mac.parse().map_err(bad("MAC address"))?,
                    mtu: mtu.map(Mtu::new).transpose().map_err(bad("MTU"))?,
                },
                receive: read(receive)?,
                transmit: read(transmit)?,
            }),
            Self::Rng => DeviceConfig::Rng,
            Self::Vsock {
                cid,
                listener,
                directory,
                stem,
            } => DeviceConfig::Vsock(VsockConfig {
                cid: GuestCid::new(cid).map_err(bad("vsock context id"))?,
                listener: fd(listener)?,
                directory: fd(directory)?,
                stem: stem.parse().map_err(bad("vsock socket name"))?,
            }),
            Self::Console(console) => DeviceConfig::Console(console.into_config(inheritance)?),
            Self::Balloon => DeviceConfig::Balloon,
            Self::Mem => DeviceConfig::Mem,
        })
    }
}

fn bequeath_all(fds: Vec<OwnedFd>) -> io::Result<Vec<RawFd>> {
    fds.into_iter().map(bequeath).collect()
}

impl WireMapping {
    fn bequeath(mapping: Mapping) -> io::Result<Self> {
        let freezes = mapping.freezes.into_iter();
        let freezes = freezes.map(|files| Ok((bequeath(files.freeze)?, bequeath(files.kept)?)));
        Ok(Self {
            map: bequeath(mapping.map)?,
            freezes: freezes.collect::<io::Result<_>>()?,
            loader: mapping.loader.map(bequeath).transpose()?,
        })
    }

    fn adopt(self, inheritance: &mut Inheritance) -> Result<Mapping, HandoverError> {
        let mut fd = |number| inheritance.adopt(number);
        let mut freezes = Vec::with_capacity(self.freezes.len());
        for (freeze, kept) in self.freezes {
            freezes.push(FreezeFiles {
                freeze: fd(freeze)?.into(),
                kept: fd(kept)?.into(),
            });
        }
        Ok(Mapping {
            map: fd(self.map)?.into(),
            freezes,
            loader: self.loader.map(&mut fd).transpose()?,
        })
    }
}

impl WireLimits {
    fn from_limits(limits: Limits) -> Self {
        let wire = |limit: Limit| WireLimit {
            rate: limit.rate(),
            burst: limit.burst(),
        };
        Self {
            operations: limits.operations().map(wire),
            bytes: limits.bytes().map(wire),
        }
    }
}

fn read(limits: Option<WireLimits>) -> Result<Option<Limits>, HandoverError> {
    let Some(WireLimits { operations, bytes }) = limits else {
        return Ok(None);
    };
    let limit = |wire: WireLimit| Limit::per_second(wire.rate)?.with_burst(wire.burst);
    let limit = |wire: Option<WireLimit>| wire.map(limit).transpose().map_err(bad("rate limit"));
    Ok(Limits::new(limit(operations)?, limit(bytes)?))
}
