//! Neighbours: which address of a link is whose.

use std::fmt;
use std::net::IpAddr;

use devices::net::MacAddress;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteType;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::error::{KernelError, Refusal};
use super::link::{LinkIndex, mac};
use super::netlink::Netlink;

/// Someone on a link, whose MAC address was told and not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Neighbour {
    /// The link.
    pub link: LinkIndex,
    /// The one address.
    pub address: IpAddr,
    /// The other.
    pub mac: MacAddress,
}

impl Netlink {
    /// The neighbours of `link` that were told; those that the kernel found out
    /// are left out.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn neighbours(&self, link: LinkIndex) -> Result<Vec<Neighbour>, KernelError> {
        let only = Some(NeighbourAttribute::IfIndex(link.get()));
        self.told(only).map_err(|refusal| {
            let name = self.called(link);
            refusal.at(self.task(format_args!("neighbours on link {name} cannot be listed")))
        })
    }

    /// The same of all links.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn all_neighbours(&self) -> Result<Vec<Neighbour>, KernelError> {
        self.told(None)
            .map_err(|refusal| refusal.at(self.task("neighbours cannot be listed")))
    }

    fn told(&self, only: Option<NeighbourAttribute>) -> Result<Vec<Neighbour>, Refusal> {
        let mut neighbours = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = NeighbourMessage::default();
            message.header.family = family;
            message.attributes.extend(only.clone());
            let answers = self.list(&RouteNetlinkMessage::GetNeighbour(message))?;
            neighbours.extend(answers.into_iter().filter_map(|answer| match answer {
                RouteNetlinkMessage::NewNeighbour(message) => neighbour(message),
                _ => None,
            }));
        }
        Ok(neighbours)
    }

    /// Tells of a neighbour, for good: in the place of what the kernel found out.
    ///
    /// # Errors
    /// [`KernelError::Taken`]: another MAC address was told for this one. The
    /// link is not there, or the privilege is missing.
    pub fn add_neighbour(&self, wanted: &Neighbour) -> Result<(), KernelError> {
        let task = || {
            let name = self.called(wanted.link);
            self.task(format_args!("{wanted} on link {name} cannot be added"))
        };
        let add = |flags| {
            let message = RouteNetlinkMessage::NewNeighbour(message(wanted));
            self.change(message, NLM_F_CREATE | flags)
        };
        match add(NLM_F_EXCL) {
            Err(refusal) if refusal.errno == Errno::EXIST => {}
            added => return added.map_err(|refusal| refusal.at(task())),
        }
        let has_it = |there: &Neighbour| there.address == wanted.address;
        match self.neighbours(wanted.link)?.into_iter().find(has_it) {
            Some(there) if there == *wanted => Ok(()),
            Some(there) => Err(KernelError::Taken {
                task: task(),
                there: there.to_string(),
            }),
            None => add(NLM_F_REPLACE).map_err(|refusal| refusal.at(task())),
        }
    }

    /// Forgets the neighbour with this address, if there is one.
    ///
    /// # Errors
    /// The privilege is missing.
    pub fn remove_neighbour(&self, link: LinkIndex, address: IpAddr) -> Result<(), KernelError> {
        let message = skeleton(link, address);
        match self.change(RouteNetlinkMessage::DelNeighbour(message), 0) {
            Err(refusal) if !matches!(refusal.errno, Errno::NOENT | Errno::NODEV) => {
                let name = self.called(link);
                Err(refusal.at(self.task(format_args!(
                    "the neighbour {address} on link {name} cannot be removed"
                ))))
            }
            _ => Ok(()),
        }
    }
}

fn skeleton(link: LinkIndex, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = link.get();
    let destination = NeighbourAttribute::Destination(address.into());
    message.attributes.push(destination);
    message
}

fn message(neighbour: &Neighbour) -> NeighbourMessage {
    let mut message = skeleton(neighbour.link, neighbour.address);
    message.header.state = NeighbourState::Permanent;
    message.header.kind = RouteType::Unicast;
    let octets = neighbour.mac.octets().to_vec();
    let mac = NeighbourAttribute::LinkLayerAddress(octets);
    message.attributes.push(mac);
    message
}

fn neighbour(message: NeighbourMessage) -> Option<Neighbour> {
    if message.header.state != NeighbourState::Permanent {
        return None;
    }
    let (mut address, mut octets) = (None, None);
    for attribute in message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(v4.into());
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(v6.into());
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => octets = Some(bytes),
            _ => {}
        }
    }
    Some(Neighbour {
        link: LinkIndex::new(message.header.ifindex)?,
        address: address?,
        mac: mac(&octets?)?,
    })
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the neighbour {} with {}", self.address, self.mac)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Scratch, set_up};
    use super::*;

    #[test]
    fn neighbours_are_told_and_forgotten() {
        let scratch = Scratch::new();
        let net = scratch.net();
        net.add_veth("a", "b", &scratch).unwrap();
        let link = set_up(&net, "a", "192.0.2.1/24");
        let told = |address: &str, mac: &str| Neighbour {
            link,
            address: address.parse().unwrap(),
            mac: mac.parse().unwrap(),
        };
        for address in ["192.0.2.7", "2001:db8::7"] {
            let neighbour = told(address, "02:00:00:00:00:07");
            net.add_neighbour(&neighbour).unwrap();
            net.add_neighbour(&neighbour).unwrap();
            assert_eq!(net.neighbours(link).unwrap(), [neighbour]);
            assert_eq!(net.all_neighbours().unwrap(), [neighbour]);
            assert_eq!(net.neighbours(LinkIndex::LOOPBACK).unwrap(), []);
            let other = told(address, "02:00:00:00:00:08");
            let taken = net.add_neighbour(&other).unwrap_err();
            assert!(matches!(taken, KernelError::Taken { .. }), "{taken:?}");
            for _ in 0..2 {
                net.remove_neighbour(link, neighbour.address).unwrap();
            }
            assert_eq!(net.neighbours(link).unwrap(), []);
        }
    }

    #[test]
    fn what_is_told_takes_the_place_of_what_the_kernel_looks_for() {
        let scratch = Scratch::new();
        let net = scratch.net();
        net.add_veth("a", "b", &scratch).unwrap();
        let link = set_up(&net, "a", "192.0.2.1/24");
        net.set_up(super::super::fixture::link(&net, "b").index)
            .unwrap();
        // Nobody has this address: the kernel goes on asking.
        let socket = scratch.socket("192.0.2.1");
        socket.send_to(b"", "192.0.2.7:7").unwrap();
        assert_eq!(net.neighbours(link).unwrap(), []);
        let neighbour = Neighbour {
            link,
            address: [192, 0, 2, 7].into(),
            mac: "02:00:00:00:00:07".parse().unwrap(),
        };
        net.add_neighbour(&neighbour).unwrap();
        assert_eq!(net.neighbours(link).unwrap(), [neighbour]);
    }
}
