//! Addresses of links.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use rustix::io::Errno;

use super::error::KernelError;
use super::link::LinkIndex;
use super::netlink::{Answer, Netlink};
use super::route::family;

/// An address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The link.
    pub link: LinkIndex,
    /// The address, and the length of the prefix that is on the link with it.
    pub prefix: IpNet,
}

impl Netlink {
    /// All addresses, those that the kernel made by itself among them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn addresses(&self) -> Result<Vec<Address>, KernelError> {
        self.addresses_of(None)
    }

    /// Gives a link an address. An IPv6 address is in use at once, without a
    /// search for duplicates: whoever runs the switch knows them all.
    ///
    /// # Errors
    /// [`KernelError::Taken`]: the link has this address with another prefix
    /// length. The link is not there, or the privilege is missing.
    pub fn add_address(&self, link: LinkIndex, prefix: IpNet) -> Result<(), KernelError> {
        let task = || {
            let name = self.called(link);
            self.task(format_args!(
                "address {prefix} cannot be given to link {name}"
            ))
        };
        let has_it = |there: &Address| there.prefix.addr() == prefix.addr();
        match self.addresses_of(Some(link))?.into_iter().find(has_it) {
            Some(there) if there.prefix == prefix => return Ok(()),
            Some(there) => {
                let there = there.prefix.to_string();
                let task = task();
                return Err(KernelError::Taken { task, there });
            }
            None => {}
        }
        let mut message = message(link, prefix);
        if prefix.addr().is_ipv6() {
            let flags = AddressFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(flags));
        }
        self.change(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
        .map_err(|refusal| refusal.at(task()))
    }

    /// Takes an address from a link, if it has it.
    ///
    /// # Errors
    /// The privilege is missing.
    pub fn remove_address(&self, link: LinkIndex, prefix: IpNet) -> Result<(), KernelError> {
        match self.change(RouteNetlinkMessage::DelAddress(message(link, prefix)), 0) {
            // Neither the address nor perhaps the link is there.
            Err(refusal) if !matches!(refusal.errno, Errno::ADDRNOTAVAIL | Errno::NODEV) => {
                let name = self.called(link);
                Err(refusal.at(self.task(format_args!(
                    "address {prefix} cannot be taken from link {name}"
                ))))
            }
            _ => Ok(()),
        }
    }

    fn addresses_of(&self, link: Option<LinkIndex>) -> Result<Vec<Address>, KernelError> {
        let mut message = AddressMessage::default();
        message.header.index = link.map_or(0, LinkIndex::get);
        match self.list(&RouteNetlinkMessage::GetAddress(message)) {
            Ok(answers) => Ok(answers.into_iter().filter_map(address).collect()),
            Err(refusal) => Err(refusal.at(self.task("addresses cannot be listed"))),
        }
    }
}

fn message(link: LinkIndex, prefix: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = link.get();
    message.header.family = family(prefix);
    message.header.prefix_len = prefix.prefix_len();
    message.header.scope = AddressScope::Universe;
    let own = prefix.addr();
    message.attributes = vec![AddressAttribute::Local(own), AddressAttribute::Address(own)];
    message
}

fn address(answer: Answer) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = answer else {
        return None;
    };
    let (mut own, mut prefix): (Option<IpAddr>, Option<IpAddr>) = (None, None);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(address) => own = Some(address),
            AddressAttribute::Address(address) => prefix = Some(address),
            _ => {}
        }
    }
    // Of an IPv6 address that is on no point-to-point link there is only this.
    let own = own.or(prefix)?;
    Some(Address {
        link: LinkIndex::new(message.header.index)?,
        prefix: IpNet::new(own, message.header.prefix_len).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Scratch;
    use super::*;

    #[test]
    fn addresses_come_and_go_and_stay_the_same() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let (one, two) = (
            net.add_bridge("one").unwrap(),
            net.add_bridge("two").unwrap(),
        );
        for (prefix, longer) in [
            ("192.0.2.1/32", "192.0.2.1/31"),
            ("2001:db8::1/64", "2001:db8::1/65"),
        ] {
            let prefix: IpNet = prefix.parse().unwrap();
            for link in [one, two, one] {
                net.add_address(link, prefix).unwrap();
            }
            let taken = net.add_address(one, longer.parse().unwrap()).unwrap_err();
            assert!(matches!(taken, KernelError::Taken { .. }), "{taken:?}");
            assert!(taken.to_string().contains(&prefix.to_string()), "{taken}");
            let listed = net.addresses().unwrap();
            for link in [one, two] {
                assert!(listed.contains(&Address { link, prefix }), "{listed:?}");
            }
            for _ in 0..2 {
                net.remove_address(one, prefix).unwrap();
            }
            let listed = net.addresses().unwrap();
            assert!(!listed.contains(&Address { link: one, prefix }));
            assert!(listed.contains(&Address { link: two, prefix }));
        }
    }

    #[test]
    fn a_link_that_is_gone_has_no_address_to_take() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let link = net.add_bridge("one").unwrap();
        net.delete_link(link).unwrap();
        let prefix = "192.0.2.1/32".parse().unwrap();
        net.remove_address(link, prefix).unwrap();
        let gone = net.add_address(link, prefix).unwrap_err();
        assert!(matches!(gone, KernelError::Gone { .. }), "{gone:?}");
    }
}
