//! Links: the network interfaces of a namespace.

use std::fmt;
use std::num::NonZeroU32;

use devices::net::MacAddress;
use devices::net::tap_open::is_interface_name;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage};
use rustix::io::Errno;

use super::bridge_port::PortFlags;
use super::error::{KernelError, Refusal};
use super::link_kind::LinkKind;
use super::netlink::{Answer, Netlink};

/// A link's number. No other link of the namespace has it, until the kernel has
/// counted through them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkIndex(NonZeroU32);

impl LinkIndex {
    /// The loopback interface of any namespace.
    pub const LOOPBACK: Self = Self(NonZeroU32::MIN);

    pub(super) fn new(index: u32) -> Option<Self> {
        NonZeroU32::new(index).map(Self)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for LinkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A link as it was when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Its number.
    pub index: LinkIndex,
    /// Its name, 1 to 15 bytes.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// Whether it is meant to carry packets; it does so if its other end is up.
    pub up: bool,
    /// In bytes, without the Ethernet header.
    pub mtu: u32,
    /// Its address; the loopback interface has none.
    pub mac: Option<MacAddress>,
    /// The bridge that it is a port of.
    pub master: Option<LinkIndex>,
    /// How it is a port of that.
    pub port: Option<PortFlags>,
    /// What somebody noted about it.
    pub alias: Option<String>,
}

impl Link {
    pub(super) fn from_message(message: LinkMessage) -> Option<Self> {
        let mut link = Self {
            index: LinkIndex::new(message.header.index)?,
            name: String::new(),
            kind: LinkKind::Physical,
            up: message.header.flags.contains(LinkFlags::Up),
            mtu: 0,
            mac: None,
            master: None,
            port: None,
            alias: None,
        };
        link.kind = LinkKind::from_attributes(&message.attributes);
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Address(octets) => link.mac = mac(&octets),
                LinkAttribute::Controller(master) => link.master = LinkIndex::new(master),
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
                LinkAttribute::LinkInfo(infos) => link.port = PortFlags::from_infos(&infos),
                _ => {}
            }
        }
        Some(link)
    }
}

/// The address in an attribute, if it is one.
pub(super) fn mac(octets: &[u8]) -> Option<MacAddress> {
    MacAddress::new(octets.try_into().ok()?).ok()
}

/// Checks that a link can be called `name`.
pub(super) fn vet_name(name: &str) -> Result<(), KernelError> {
    if is_interface_name(name) {
        return Ok(());
    }
    Err(KernelError::BadName {
        name: name.to_owned(),
        what: "an interface",
        rule: "1 to 15 bytes, no slash, colon, percent sign or space, and neither . nor ..",
    })
}

impl Netlink {
    /// All links.
    ///
    /// # Errors
    /// The kernel refuses, or has a link that cannot be made sense of.
    pub fn links(&self) -> Result<Vec<Link>, KernelError> {
        let mut message = LinkMessage::default();
        message.attributes.push(without_statistics());
        let answers = self.list(&RouteNetlinkMessage::GetLink(message));
        let answers = answers.map_err(|r| r.at(self.task("links cannot be listed")))?;
        Ok(answers.into_iter().filter_map(link).collect())
    }

    /// The link called `name`, if there is one.
    ///
    /// # Errors
    /// The kernel refuses, or the name is no name.
    pub fn link(&self, name: &str) -> Result<Option<Link>, KernelError> {
        vet_name(name)?;
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.into()));
        self.one_link(message)
            .map_err(|r| r.at(self.task(format_args!("link {name} cannot be found"))))
    }

    /// The link with this number, if there is one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn link_at(&self, index: LinkIndex) -> Result<Option<Link>, KernelError> {
        self.find_at(index)
            .map_err(|r| r.at(self.task(format_args!("link {index} cannot be found"))))
    }

    /// What a message calls the link: its name if it has one.
    pub(super) fn called(&self, index: LinkIndex) -> String {
        match self.find_at(index) {
            Ok(Some(link)) => link.name,
            _ => format!("number {index}"),
        }
    }

    fn find_at(&self, index: LinkIndex) -> Result<Option<Link>, Refusal> {
        let mut message = LinkMessage::default();
        message.header.index = index.get();
        self.one_link(message)
    }

    fn one_link(&self, mut message: LinkMessage) -> Result<Option<Link>, Refusal> {
        message.attributes.push(without_statistics());
        match self.ask(RouteNetlinkMessage::GetLink(message)) {
            Ok(answer) => Ok(link(answer)),
            Err(refusal) if refusal.errno == Errno::NODEV => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

fn link(answer: Answer) -> Option<Link> {
    match answer {
        RouteNetlinkMessage::NewLink(message) => Link::from_message(message),
        _ => None,
    }
}

fn without_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

/// The first of a link's infos for which `pick` has an answer.
pub(super) fn find_info<'a, T>(
    attributes: &'a [LinkAttribute],
    pick: impl FnMut(&'a LinkInfo) -> Option<T>,
) -> Option<T> {
    let infos = attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos?.iter().find_map(pick)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Scratch;
    use super::*;

    #[test]
    fn a_new_namespace_has_a_loopback_interface_that_is_down() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let links = net.links().unwrap();
        let loopback = links.iter().find(|link| link.name == "lo").unwrap();
        assert_eq!(loopback.index, LinkIndex::LOOPBACK);
        assert_eq!(loopback.kind, LinkKind::Physical);
        assert_eq!((loopback.up, loopback.mac), (false, None));
        assert_eq!(net.link("lo").unwrap().as_ref(), Some(loopback));
        assert_eq!(
            net.link_at(loopback.index).unwrap().as_ref(),
            Some(loopback)
        );
        assert_eq!(net.link("no-such-link").unwrap(), None);
        assert!(net.link("a/b").is_err());
    }
}
