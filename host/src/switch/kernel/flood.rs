//! Where a tunnel sends frames for everybody, and for addresses that it has not
//! learned (bridge(8), `bridge fdb`): to each of these ends, one by one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::error::KernelError;
use super::link::LinkIndex;
use super::netlink::Netlink;

/// The address that stands for all others.
const ANY: [u8; 6] = [0; 6];

impl Netlink {
    /// The ends that the tunnel `link` sends to.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn floods(&self, link: LinkIndex) -> Result<BTreeSet<IpAddr>, KernelError> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = link.get();
        let answers = self.list(&RouteNetlinkMessage::GetNeighbour(message));
        let answers = answers.map_err(|refusal| {
            let name = self.called(link);
            refusal.at(self.task(format_args!("the ends of tunnel {name} cannot be listed")))
        })?;
        let ends = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewNeighbour(entry) => end(link, &entry),
            _ => None,
        });
        Ok(ends.collect())
    }

    /// Has the tunnel `link` send to these ends and no others.
    ///
    /// # Errors
    /// It is no tunnel, or the privilege is missing.
    pub fn set_floods(&self, link: LinkIndex, ends: &BTreeSet<IpAddr>) -> Result<(), KernelError> {
        let there = self.floods(link)?;
        for gone in there.difference(ends) {
            let message = RouteNetlinkMessage::DelNeighbour(entry(link, *gone));
            match self.change(message, 0) {
                Err(refusal) if refusal.errno != Errno::NOENT => {
                    return Err(refusal.at(self.ending(link, gone)));
                }
                _ => {}
            }
        }
        for new in ends.difference(&there) {
            let message = RouteNetlinkMessage::NewNeighbour(entry(link, *new));
            self.change(message, NLM_F_CREATE | NLM_F_APPEND)
                .map_err(|refusal| refusal.at(self.ending(link, new)))?;
        }
        Ok(())
    }

    fn ending(&self, link: LinkIndex, end: &IpAddr) -> String {
        let name = self.called(link);
        self.task(format_args!("the end {end} of tunnel {name} cannot be set"))
    }
}

fn entry(link: LinkIndex, end: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = link.get();
    message.header.state = NeighbourState::Permanent;
    // The tunnel's own table, not the bridge's.
    message.header.flags = NeighbourFlags::Own;
    message.attributes = vec![
        NeighbourAttribute::LinkLayerAddress(ANY.into()),
        NeighbourAttribute::Destination(end.into()),
    ];
    message
}

/// The end that an entry is about, if it is one of `link`.
fn end(link: LinkIndex, entry: &NeighbourMessage) -> Option<IpAddr> {
    let is_any = |attribute: &NeighbourAttribute| {
        *attribute == NeighbourAttribute::LinkLayerAddress(ANY.into())
    };
    if entry.header.ifindex != link.get() || !entry.attributes.iter().any(is_any) {
        return None;
    }
    entry
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => Some((*v4).into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => Some((*v6).into()),
            // Entries are of a family of their own, and their addresses of any.
            NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
                let four = <[u8; 4]>::try_from(bytes.as_slice()).map(IpAddr::from);
                let six = <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from);
                four.or(six).ok()
            }
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::super::Vxlan;
    use super::super::fixture::Scratch;
    use super::*;

    fn ends(texts: &[&str]) -> BTreeSet<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_tunnel_has_the_ends_that_it_is_given() {
        let scratch = Scratch::new();
        let net = scratch.net();
        for (local, one, other, third) in [
            ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"),
            ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"),
        ] {
            let tunnel = Vxlan {
                id: 7,
                local: local.parse().unwrap(),
                remote: None,
                port: 4789,
                learning: true,
            };
            let link = net.add_vxlan("vx", &tunnel, &scratch).unwrap();
            for wanted in [
                ends(&[]),
                ends(&[one, other]),
                ends(&[one, other]),
                ends(&[other, third]),
                ends(&[]),
            ] {
                net.set_floods(link, &wanted).unwrap();
                assert_eq!(net.floods(link).unwrap(), wanted);
            }
            net.delete_link(link).unwrap();
        }
        let bridge = net.add_bridge("br0").unwrap();
        net.set_floods(bridge, &ends(&["192.0.2.2"])).unwrap_err();
    }
}
