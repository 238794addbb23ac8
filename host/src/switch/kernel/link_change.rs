//! Changes to a link that is there.

use devices::net::{MacAddress, Mtu};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rustix::io::Errno;

use super::error::KernelError;
use super::link::LinkIndex;
use super::netlink::Netlink;

impl Netlink {
    /// Brings a link up.
    ///
    /// # Errors
    /// It is not there, or the kernel refuses.
    pub fn set_up(&self, link: LinkIndex) -> Result<(), KernelError> {
        self.set_flags(link, LinkFlags::Up, "brought up")
    }

    /// Takes a link down. Routes through it go.
    ///
    /// # Errors
    /// As [`Netlink::set_up`].
    pub fn set_down(&self, link: LinkIndex) -> Result<(), KernelError> {
        self.set_flags(link, LinkFlags::empty(), "taken down")
    }

    /// Sets a link's MTU.
    ///
    /// # Errors
    /// As [`Netlink::set_up`], or it is more than a link of this kind carries.
    pub fn set_mtu(&self, link: LinkIndex, mtu: Mtu) -> Result<(), KernelError> {
        let attribute = LinkAttribute::Mtu(mtu.get().into());
        self.set(link, attribute, format_args!("given an MTU of {mtu}"))
    }

    /// Gives a link an address.
    ///
    /// # Errors
    /// As [`Netlink::set_up`].
    pub fn set_mac(&self, link: LinkIndex, mac: MacAddress) -> Result<(), KernelError> {
        let attribute = LinkAttribute::Address(mac.octets().to_vec());
        self.set(link, attribute, format_args!("given the address {mac}"))
    }

    /// Makes a link a port of the bridge `master`, or of none.
    ///
    /// # Errors
    /// As [`Netlink::set_up`], or `master` is no bridge.
    pub fn set_master(
        &self,
        link: LinkIndex,
        master: Option<LinkIndex>,
    ) -> Result<(), KernelError> {
        let attribute = LinkAttribute::Controller(master.map_or(0, LinkIndex::get));
        self.set(link, attribute, "made a port of another link")
    }

    /// Notes something about a link, up to 254 bytes; nothing if `alias` is
    /// empty.
    ///
    /// # Errors
    /// As [`Netlink::set_up`], or it is too long.
    pub fn set_alias(&self, link: LinkIndex, alias: &str) -> Result<(), KernelError> {
        let attribute = LinkAttribute::IfAlias(alias.into());
        self.set(link, attribute, "given an alias")
    }

    /// Removes a link, if it is there, with its routes and addresses. The other
    /// end of a cable goes with it.
    ///
    /// # Errors
    /// It is one that cannot be removed.
    pub fn delete_link(&self, link: LinkIndex) -> Result<(), KernelError> {
        let mut message = LinkMessage::default();
        message.header.index = link.get();
        match self.change(RouteNetlinkMessage::DelLink(message), 0) {
            Err(refusal) if refusal.errno != Errno::NODEV => {
                let name = self.called(link);
                Err(refusal.at(self.task(format_args!("link {name} cannot be deleted"))))
            }
            _ => Ok(()),
        }
    }

    fn set_flags(
        &self,
        link: LinkIndex,
        flags: LinkFlags,
        how: &'static str,
    ) -> Result<(), KernelError> {
        let mut message = LinkMessage::default();
        message.header.flags = flags;
        message.header.change_mask = LinkFlags::Up;
        self.set_link(link, message, how)
    }

    fn set(
        &self,
        link: LinkIndex,
        attribute: LinkAttribute,
        how: impl std::fmt::Display,
    ) -> Result<(), KernelError> {
        let mut message = LinkMessage::default();
        message.attributes.push(attribute);
        self.set_link(link, message, how)
    }

    fn set_link(
        &self,
        link: LinkIndex,
        mut message: LinkMessage,
        how: impl std::fmt::Display,
    ) -> Result<(), KernelError> {
        message.header.index = link.get();
        self.change(RouteNetlinkMessage::SetLink(message), 0)
            .map_err(|refusal| {
                let name = self.called(link);
                refusal.at(self.task(format_args!("link {name} cannot be {how}")))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Scratch, link};
    use super::*;

    #[test]
    fn what_is_set_is_what_is_listed() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let bridge = net.add_bridge("br0").unwrap();
        let port = net.add_veth("port", "other", &scratch).unwrap();
        let mac = "02:00:00:00:00:07".parse().unwrap();
        net.set_up(port).unwrap();
        net.set_mtu(port, Mtu::new(9001).unwrap()).unwrap();
        net.set_mac(port, mac).unwrap();
        net.set_alias(port, "port of i-0123").unwrap();
        // A second time, it is the same already.
        net.set_master(port, Some(bridge)).unwrap();
        net.set_master(port, Some(bridge)).unwrap();
        let set = link(&net, "port");
        assert_eq!((set.up, set.mtu, set.mac), (true, 9001, Some(mac)));
        assert_eq!(set.alias.as_deref(), Some("port of i-0123"));
        assert_eq!(set.master, Some(bridge));

        net.set_down(port).unwrap();
        net.set_alias(port, "").unwrap();
        net.set_master(port, None).unwrap();
        let set = link(&net, "port");
        assert_eq!((set.up, set.alias, set.master), (false, None, None));
        assert_eq!(set.port, None);
    }

    #[test]
    fn a_link_that_is_gone_cannot_be_changed_but_deleted() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let bridge = net.add_bridge("br0").unwrap();
        for _ in 0..2 {
            net.delete_link(bridge).unwrap();
        }
        assert_eq!(net.link("br0").unwrap(), None);
        let gone = net.set_up(bridge).unwrap_err();
        assert!(matches!(gone, KernelError::Gone { .. }), "{gone:?}");
        let kept = net.delete_link(LinkIndex::LOOPBACK).unwrap_err();
        assert!(kept.to_string().contains("link lo"), "{kept}");
    }

    #[test]
    fn a_link_that_is_no_bridge_takes_no_port() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let port = net.add_veth("port", "other", &scratch).unwrap();
        let other = link(&net, "other").index;
        net.set_master(port, Some(other)).unwrap_err();
        net.set_mtu(port, Mtu::new(68).unwrap()).unwrap();
    }
}
