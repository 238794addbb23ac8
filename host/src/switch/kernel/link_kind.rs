//! What a link is, and what is particular to its kind.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, Nla};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, InfoTun, InfoVxlan, LinkAttribute, LinkInfo, MacVlanMode,
};

use super::link::{LinkIndex, find_info};

/// What a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkKind {
    /// The kernel names no kind: a network card, or the loopback interface.
    Physical,
    /// A bridge.
    Bridge,
    /// An end of a cable between two links, often in different namespaces.
    Veth {
        /// The number of the other end, in its own namespace.
        peer: Option<LinkIndex>,
        /// That namespace's number in this one; none if it is this one.
        peer_namespace: Option<i32>,
    },
    /// A tunnel for Ethernet frames (RFC 7348).
    Vxlan {
        /// Its particulars.
        tunnel: Vxlan,
        /// The number in this namespace of the one whose network its packets
        /// cross; none if it is this one.
        underlay: Option<i32>,
    },
    /// All that goes by another link, of which it is the only user: a macvlan in
    /// its mode `passthru`.
    Passthrough {
        /// The number of the other link, in its own namespace.
        lower: Option<LinkIndex>,
        /// That namespace's number in this one; none if it is this one.
        lower_namespace: Option<i32>,
    },
    /// A tap, or a tun device.
    Tap(TapState),
    /// A sink.
    Dummy,
    /// Another kind, by the kernel's name for it.
    Other(String),
}

/// The particulars of a tunnel for Ethernet frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// The number that its packets carry (VNI), 24 bits.
    pub id: u32,
    /// The host's address that it sends from.
    pub local: IpAddr,
    /// Where frames for unknown addresses go: the other end, or a group.
    pub remote: Option<IpAddr>,
    /// The UDP port of both ends; 4789 is the registered one.
    pub port: u16,
    /// Whether it learns behind which end an address is.
    pub learning: bool,
}

/// The particulars of a tap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TapState {
    /// Whether it was made for several queues.
    pub multi_queue: bool,
    /// How many are open and in use; known of those with several only.
    pub queues: Option<u32>,
    /// Whether it stays when nobody has it open.
    pub persistent: bool,
    /// The user who may open it without privilege.
    pub owner: Option<u32>,
}

// `IFLA_TUN_*` of linux/if_link.h.
const TUN_OWNER: u16 = 1;
const TUN_PERSIST: u16 = 6;
const TUN_MULTI_QUEUE: u16 = 7;
const TUN_QUEUES: u16 = 8;

impl LinkKind {
    pub(super) fn from_attributes(attributes: &[LinkAttribute]) -> Self {
        let kind = find_info(attributes, |info| match info {
            LinkInfo::Kind(kind) => Some(kind),
            _ => None,
        });
        let data = find_info(attributes, |info| match info {
            LinkInfo::Data(data) => Some(data),
            _ => None,
        });
        match (kind, data) {
            (None, _) => Self::Physical,
            (Some(InfoKind::Bridge), _) => Self::Bridge,
            (Some(InfoKind::Dummy), _) => Self::Dummy,
            (Some(InfoKind::Veth), _) => veth(attributes),
            (Some(InfoKind::Tun), Some(InfoData::Tun(data))) => Self::Tap(tap(data)),
            (Some(InfoKind::Vxlan), Some(InfoData::Vxlan(data))) => match vxlan(data) {
                Some(tunnel) => Self::Vxlan {
                    tunnel,
                    underlay: other_namespace(attributes),
                },
                None => Self::Other("vxlan".into()),
            },
            (Some(InfoKind::MacVlan), Some(InfoData::MacVlan(data)))
                if data.contains(&InfoMacVlan::Mode(MacVlanMode::Passthrough)) =>
            {
                Self::Passthrough {
                    lower: other_link(attributes),
                    lower_namespace: other_namespace(attributes),
                }
            }
            (Some(kind), _) => Self::Other(kind.to_string()),
        }
    }
}

fn veth(attributes: &[LinkAttribute]) -> LinkKind {
    LinkKind::Veth {
        peer: other_link(attributes),
        peer_namespace: other_namespace(attributes),
    }
}

/// The link that one is the other end of, or lies on.
fn other_link(attributes: &[LinkAttribute]) -> Option<LinkIndex> {
    attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) => LinkIndex::new(*index),
        _ => None,
    })
}

/// The namespace that the rest of a link is in.
fn other_namespace(attributes: &[LinkAttribute]) -> Option<i32> {
    attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkNetNsId(id) => Some(*id),
        _ => None,
    })
}

/// One without a local address, or whose packets say where they go, is none of
/// ours.
fn vxlan(data: &[InfoVxlan]) -> Option<Vxlan> {
    let (mut id, mut local, mut remote, mut port, mut learning) = (None, None, None, None, false);
    for datum in data {
        match datum {
            InfoVxlan::Id(number) => id = Some(*number),
            InfoVxlan::Local(address) => local = Some(IpAddr::V4(*address)),
            InfoVxlan::Local6(address) => local = Some(IpAddr::V6(*address)),
            InfoVxlan::Group(address) => remote = Some(IpAddr::V4(*address)),
            InfoVxlan::Group6(address) => remote = Some(IpAddr::V6(*address)),
            InfoVxlan::Port(number) => port = Some(*number),
            InfoVxlan::Learning(yes) => learning = *yes,
            InfoVxlan::CollectMetadata(true) => return None,
            _ => {}
        }
    }
    Some(Vxlan {
        id: id?,
        local: local?,
        remote,
        port: port?,
        learning,
    })
}

impl Vxlan {
    /// What makes it.
    pub(super) fn data(&self) -> Vec<InfoVxlan> {
        let mut data = vec![
            InfoVxlan::Id(self.id),
            InfoVxlan::Port(self.port),
            InfoVxlan::Learning(self.learning),
            match self.local {
                IpAddr::V4(address) => InfoVxlan::Local(address),
                IpAddr::V6(address) => InfoVxlan::Local6(address),
            },
        ];
        data.extend(self.remote.map(|remote| match remote {
            IpAddr::V4(address) => InfoVxlan::Group(address),
            IpAddr::V6(address) => InfoVxlan::Group6(address),
        }));
        data
    }
}

fn tap(data: &[InfoTun]) -> TapState {
    let mut tap = TapState::default();
    for datum in data {
        let InfoTun::Other(attribute) = datum else {
            continue;
        };
        let value = number(attribute);
        match attribute.kind() {
            TUN_OWNER => tap.owner = Some(value),
            TUN_PERSIST => tap.persistent = value != 0,
            TUN_MULTI_QUEUE => tap.multi_queue = value != 0,
            TUN_QUEUES => tap.queues = Some(value),
            _ => {}
        }
    }
    tap
}

/// The number of one to four bytes in an attribute.
fn number(attribute: &DefaultNla) -> u32 {
    let mut bytes = vec![0; attribute.value_len().max(4)];
    attribute.emit_value(&mut bytes[..attribute.value_len()]);
    u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Physical => f.write_str("network card"),
            Self::Bridge => f.write_str("bridge"),
            Self::Veth { .. } => f.write_str("veth"),
            Self::Vxlan { tunnel, .. } => write!(f, "vxlan {} of {}", tunnel.id, tunnel.local),
            Self::Passthrough { .. } => f.write_str("macvlan"),
            Self::Tap(_) => f.write_str("tap"),
            Self::Dummy => f.write_str("dummy"),
            Self::Other(kind) => f.write_str(kind),
        }
    }
}
