//! Links are made: bridges, cables, tunnels and sinks.
//!
//! Of what is asked for and there already, only what makes it what it is counts:
//! its kind, a cable's other end, a tunnel's particulars. New links are down.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, InfoVeth, LinkAttribute, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use rustix::fs::fstat;
use rustix::io::Errno;

use super::error::{KernelError, Refusal};
use super::link::{Link, LinkIndex, vet_name};
use super::link_kind::{LinkKind, Vxlan};
use super::namespace::Namespace;
use super::netlink::Netlink;

impl Netlink {
    /// Makes a bridge, without the spanning tree protocol.
    ///
    /// # Errors
    /// The name is taken, the kernel has no bridges, or the privilege is missing.
    pub fn add_bridge(&self, name: &str) -> Result<LinkIndex, KernelError> {
        self.add_link(name, InfoKind::Bridge, None, |link| {
            Ok(link.kind == LinkKind::Bridge)
        })
    }

    /// Makes a sink: all that is sent through it is lost.
    ///
    /// # Errors
    /// As [`Netlink::add_bridge`].
    pub fn add_dummy(&self, name: &str) -> Result<LinkIndex, KernelError> {
        self.add_link(name, InfoKind::Dummy, None, |link| {
            Ok(link.kind == LinkKind::Dummy)
        })
    }

    /// Makes a cable from `name` here to `peer` in `peer_namespace`, which may
    /// be this namespace; returns this end.
    ///
    /// # Errors
    /// As [`Netlink::add_bridge`], for either name.
    pub fn add_veth(
        &self,
        name: &str,
        peer: &str,
        peer_namespace: &Namespace,
    ) -> Result<LinkIndex, KernelError> {
        vet_name(peer)?;
        let mut end = LinkMessage::default();
        end.attributes = vec![
            LinkAttribute::IfName(peer.into()),
            LinkAttribute::NetNsFd(peer_namespace.as_fd().as_raw_fd()),
        ];
        let data = InfoData::Veth(InfoVeth::Peer(end));
        self.add_link(name, InfoKind::Veth, Some(data), |link| {
            self.is_cable_to(link, peer, peer_namespace)
        })
    }

    /// Makes a tunnel for Ethernet frames: its packets cross this network, and
    /// the link is in the namespace `inside`, which may be this one. Returns the
    /// link's number there.
    ///
    /// # Errors
    /// As [`Netlink::add_bridge`], or another tunnel of this network has its
    /// number and port.
    pub fn add_vxlan(
        &self,
        name: &str,
        tunnel: &Vxlan,
        inside: &Namespace,
    ) -> Result<LinkIndex, KernelError> {
        let there = Netlink::in_namespace(inside)?;
        let is_same = |link: &Link| match &link.kind {
            LinkKind::Vxlan {
                tunnel: other,
                underlay,
            } => Ok(other == tunnel && *underlay == there.number_of(self.namespace())?),
            _ => Ok(false),
        };
        if let Some(index) = there.find_same(name, &InfoKind::Vxlan, is_same)? {
            return Ok(index);
        }
        let mut message = new_link(name, InfoKind::Vxlan, Some(InfoData::Vxlan(tunnel.data())));
        let place = LinkAttribute::NetNsFd(inside.as_fd().as_raw_fd());
        message.attributes.push(place);
        self.make(name, &InfoKind::Vxlan, message)?;
        there.made(name, &InfoKind::Vxlan)
    }

    /// Makes a link in the namespace `inside` that sends and receives all frames of
    /// `lower`, a link here, in the place of this namespace. Returns its number
    /// there.
    ///
    /// # Errors
    /// As [`Netlink::add_bridge`], or `lower` has another user.
    pub fn add_passthrough(
        &self,
        name: &str,
        lower: LinkIndex,
        inside: &Namespace,
    ) -> Result<LinkIndex, KernelError> {
        let there = Netlink::in_namespace(inside)?;
        let is_same = |link: &Link| match &link.kind {
            LinkKind::Passthrough {
                lower: other,
                lower_namespace,
            } => Ok(*other == Some(lower) && *lower_namespace == there.number_of(self.namespace())?),
            _ => Ok(false),
        };
        if let Some(index) = there.find_same(name, &InfoKind::MacVlan, is_same)? {
            return Ok(index);
        }
        let mode = InfoMacVlan::Mode(MacVlanMode::Passthrough);
        let data = InfoData::MacVlan(vec![mode]);
        let mut message = new_link(name, InfoKind::MacVlan, Some(data));
        message.attributes.push(LinkAttribute::Link(lower.get()));
        let place = LinkAttribute::NetNsFd(inside.as_fd().as_raw_fd());
        message.attributes.push(place);
        self.make(name, &InfoKind::MacVlan, message)?;
        there.made(name, &InfoKind::MacVlan)
    }

    fn add_link(
        &self,
        name: &str,
        kind: InfoKind,
        data: Option<InfoData>,
        is_same: impl Fn(&Link) -> Result<bool, KernelError>,
    ) -> Result<LinkIndex, KernelError> {
        if let Some(index) = self.find_same(name, &kind, is_same)? {
            return Ok(index);
        }
        self.make(name, &kind, new_link(name, kind.clone(), data))?;
        self.made(name, &kind)
    }

    /// The link called `name`, if there is one and it is what was asked for.
    fn find_same(
        &self,
        name: &str,
        kind: &InfoKind,
        is_same: impl Fn(&Link) -> Result<bool, KernelError>,
    ) -> Result<Option<LinkIndex>, KernelError> {
        let Some(link) = self.link(name)? else {
            return Ok(None);
        };
        if is_same(&link)? {
            return Ok(Some(link.index));
        }
        Err(KernelError::Taken {
            task: self.making(name, kind),
            there: format!("another link of this name, a {},", link.kind),
        })
    }

    fn make(&self, name: &str, kind: &InfoKind, message: LinkMessage) -> Result<(), KernelError> {
        let task = || self.making(name, kind);
        let taken = || KernelError::Taken {
            task: task(),
            there: "a link that is in its way".into(),
        };
        let made = self.change(
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        );
        made.map_err(|refusal| match refusal.errno {
            Errno::OPNOTSUPP => KernelError::NoSupport {
                task: task(),
                feature: kind.to_string(),
            },
            // Made since it was looked for, or it is the cable's other end or
            // another tunnel, or what it is to lie on has a user.
            Errno::EXIST | Errno::BUSY => taken(),
            // That user is such a link, too.
            Errno::INVAL if *kind == InfoKind::MacVlan => taken(),
            _ => refusal.at(task()),
        })
    }

    fn made(&self, name: &str, kind: &InfoKind) -> Result<LinkIndex, KernelError> {
        let task = || self.making(name, kind);
        let link = self.link(name)?;
        link.map(|link| link.index)
            .ok_or_else(|| KernelError::Gone { task: task() })
    }

    fn making(&self, name: &str, kind: &InfoKind) -> String {
        self.task(format_args!("{kind} {name} cannot be made"))
    }

    /// Whether `link` is an end of a cable, the other being `peer` there.
    fn is_cable_to(&self, link: &Link, peer: &str, there: &Namespace) -> Result<bool, KernelError> {
        let LinkKind::Veth {
            peer: other_end,
            peer_namespace,
        } = link.kind
        else {
            return Ok(false);
        };
        let found = Netlink::in_namespace(there)?.link(peer)?;
        // A number says nothing of links elsewhere.
        Ok(found.is_some_and(|found| Some(found.index) == other_end)
            && peer_namespace == self.number_of(there.as_fd())?)
    }

    /// The number of `namespace` in this one, negative if it has none here; no
    /// number if it is this one.
    fn number_of(&self, namespace: BorrowedFd<'_>) -> Result<Option<i32>, KernelError> {
        let task = || self.task("another network namespace cannot be looked up");
        let identity = |fd| fstat(fd).map(|file| (file.st_dev, file.st_ino));
        let is_this = identity(namespace).and_then(|it| Ok(it == identity(self.namespace())?));
        if is_this.map_err(|errno| Refusal::from(errno).at(task()))? {
            return Ok(None);
        }
        let fd = u32::try_from(namespace.as_raw_fd()).expect("an open descriptor is not negative");
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(fd));
        let answer = self.ask(RouteNetlinkMessage::GetNsId(message));
        let attributes = match answer.map_err(|refusal| refusal.at(task()))? {
            RouteNetlinkMessage::NewNsId(message) => message.attributes,
            _ => Vec::new(),
        };
        let numbers = attributes.iter().map(|attribute| match attribute {
            NsidAttribute::Id(number) => *number,
            _ => -1,
        });
        Ok(Some(numbers.max().unwrap_or(-1)))
    }
}

fn new_link(name: &str, kind: InfoKind, data: Option<InfoData>) -> LinkMessage {
    let mut infos = vec![LinkInfo::Kind(kind)];
    infos.extend(data.map(LinkInfo::Data));
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.into()),
        LinkAttribute::LinkInfo(infos),
    ];
    message
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Scratch, link};
    use super::*;

    fn is_taken<T: std::fmt::Debug>(result: Result<T, KernelError>) -> bool {
        matches!(result.unwrap_err(), KernelError::Taken { .. })
    }

    #[test]
    fn a_bridge_that_is_there_is_kept_and_another_link_is_in_the_way() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let bridge = net.add_bridge("br0").unwrap();
        assert_eq!(net.add_bridge("br0").unwrap(), bridge);
        assert_eq!(link(&net, "br0").kind, LinkKind::Bridge);
        assert!(is_taken(net.add_veth("br0", "x", &scratch)));
        assert!(is_taken(net.add_bridge("lo")));
        for name in ["", "a/b", "sixteen-bytes-aa"] {
            let refused = net.add_bridge(name).unwrap_err();
            assert!(matches!(refused, KernelError::BadName { .. }), "{name:?}");
        }
    }

    #[test]
    fn a_cable_is_known_by_both_its_ends() {
        let (here, there, elsewhere) = (Scratch::new(), Scratch::new(), Scratch::new());
        let net = here.net();
        let end = net.add_veth("a", "b", &there).unwrap();
        assert_eq!(net.add_veth("a", "b", &there).unwrap(), end);
        let other = link(&there.net(), "b").index;
        assert_eq!(there.net().add_veth("b", "a", &here).unwrap(), other);
        assert!(is_taken(net.add_veth("a", "c", &there)));
        assert!(is_taken(net.add_veth("a", "b", &elsewhere)));
        // Another cable, whose ends have the same names and numbers.
        let twin = Scratch::new();
        elsewhere.net().add_veth("a", "b", &twin).unwrap();
        assert!(is_taken(net.add_veth("a", "b", &twin)));
        // The other end's name is taken.
        assert!(is_taken(net.add_veth("new", "b", &there)));
        assert_eq!(net.link("new").unwrap(), None);
        // An end takes the other with it.
        net.delete_link(end).unwrap();
        assert_eq!(there.net().link("b").unwrap(), None);
    }

    #[test]
    fn a_cable_may_begin_and_end_in_one_namespace() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let end = net.add_veth("a", "b", &scratch).unwrap();
        assert_eq!(net.add_veth("a", "b", &scratch).unwrap(), end);
        net.add_veth("c", "d", &scratch).unwrap();
        assert!(is_taken(net.add_veth("a", "d", &scratch)));
    }

    #[test]
    fn a_tunnel_is_known_by_its_particulars_and_by_the_network_it_crosses() {
        let (host, inside) = (Scratch::new(), Scratch::new());
        let net = host.net();
        let tunnel = Vxlan {
            id: 0x00ab_cdef,
            local: [192, 0, 2, 1].into(),
            remote: Some([192, 0, 2, 2].into()),
            port: 4789,
            learning: false,
        };
        let end = net.add_vxlan("vx", &tunnel, &inside).unwrap();
        assert_eq!(net.add_vxlan("vx", &tunnel, &inside).unwrap(), end);
        assert_eq!(net.link("vx").unwrap(), None);
        let made = link(&inside.net(), "vx");
        assert_eq!(made.index, end);
        assert!(matches!(&made.kind, LinkKind::Vxlan { tunnel: t, .. } if *t == tunnel));
        let other = Vxlan { id: 7, ..tunnel };
        assert!(is_taken(net.add_vxlan("vx", &other, &inside)));
        assert!(is_taken(inside.net().add_vxlan("vx", &tunnel, &inside)));
        assert!(is_taken(
            Scratch::new().net().add_vxlan("vx", &tunnel, &inside)
        ));
        // One of this number crosses the network already.
        assert!(is_taken(net.add_vxlan("vy", &tunnel, &host)));

        let six = Vxlan {
            id: 7,
            local: "2001:db8::1".parse().unwrap(),
            remote: None,
            port: 8472,
            learning: true,
        };
        let end = net.add_vxlan("vx6", &six, &host).unwrap();
        assert_eq!(net.add_vxlan("vx6", &six, &host).unwrap(), end);
        let kind = LinkKind::Vxlan {
            tunnel: six,
            underlay: None,
        };
        assert_eq!(link(&net, "vx6").kind, kind);
    }

    #[test]
    fn a_link_passes_its_frames_to_one_other() {
        let (host, inside) = (Scratch::new(), Scratch::new());
        let net = host.net();
        let lower = net.add_veth("eth1", "wire", &host).unwrap();
        let other = link(&net, "wire").index;
        let end = net.add_passthrough("up", lower, &inside).unwrap();
        assert_eq!(net.add_passthrough("up", lower, &inside).unwrap(), end);
        assert_eq!(link(&inside.net(), "up").index, end);
        assert!(is_taken(net.add_passthrough("up", other, &inside)));
        assert!(is_taken(net.add_passthrough("second", lower, &inside)));
        assert!(is_taken(net.add_passthrough("second", lower, &host)));
    }

    #[test]
    fn a_kernel_that_lacks_a_kind_of_link_is_said_to() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let kind = InfoKind::Other("plinth-none".into());
        let lacking = net.add_link("x", kind, None, |_| Ok(false)).unwrap_err();
        assert!(
            matches!(&lacking, KernelError::NoSupport { feature, .. } if feature == "plinth-none"),
            "{lacking:?}"
        );
        // Not every kernel has sinks; one that has is to make one.
        match net.add_dummy("sink") {
            Ok(sink) => assert_eq!(net.add_dummy("sink").unwrap(), sink),
            Err(lacking) => assert!(
                matches!(&lacking, KernelError::NoSupport { feature, .. } if feature == "dummy"),
                "{lacking:?}"
            ),
        }
    }
}
