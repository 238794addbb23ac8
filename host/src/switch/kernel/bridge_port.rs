//! How a link is a port of its bridge (bridge(8), `bridge link set`).

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute, LinkInfo, LinkMessage,
};

use super::error::KernelError;
use super::link::LinkIndex;
use super::netlink::Netlink;

/// What a bridge does with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFlags {
    /// Frames never go between two isolated ports: a private VLAN.
    pub isolated: bool,
    /// The bridge learns which addresses are behind the port.
    pub learning: bool,
    /// Frames to addresses that it has not learned go to the port.
    pub flood: bool,
}

impl PortFlags {
    pub(super) fn from_infos(infos: &[LinkInfo]) -> Option<Self> {
        let data = infos.iter().find_map(|info| match info {
            LinkInfo::PortData(InfoPortData::BridgePort(data)) => Some(data),
            _ => None,
        })?;
        let mut flags = Self {
            isolated: false,
            learning: false,
            flood: false,
        };
        for datum in data {
            match datum {
                InfoBridgePort::Isolated(yes) => flags.isolated = *yes,
                InfoBridgePort::Learning(yes) => flags.learning = *yes,
                InfoBridgePort::UnicastFlood(yes) => flags.flood = *yes,
                _ => {}
            }
        }
        Some(flags)
    }
}

impl Netlink {
    /// Sets how the link is a port of the bridge it is on.
    ///
    /// # Errors
    /// It is not there, or on no bridge.
    pub fn set_port_flags(&self, port: LinkIndex, flags: PortFlags) -> Result<(), KernelError> {
        let data = vec![
            InfoBridgePort::Isolated(flags.isolated),
            InfoBridgePort::Learning(flags.learning),
            InfoBridgePort::UnicastFlood(flags.flood),
        ];
        let mut message = LinkMessage::default();
        message.header.index = port.get();
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(data)),
        ]));
        self.change(RouteNetlinkMessage::NewLink(message), 0)
            .map_err(|refusal| {
                let name = self.called(port);
                refusal.at(self.task(format_args!("link {name} cannot be set up as a port")))
            })
    }
}
