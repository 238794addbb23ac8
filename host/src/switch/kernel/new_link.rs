//! Links are made: bridges, cables, tunnels and sinks.
//!
//! Of what is asked for and there already, only what makes it what it is counts:
//! its kind, a cable's other end, a tunnel's particulars. New links are down.

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use rustix::io::Errno;

use super::error::KernelError;
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

    /// Makes a tunnel for Ethernet frames.
    ///
    /// # Errors
    /// As [`Netlink::add_bridge`], or another tunnel of the host has its number
    /// and port.
    pub fn add_vxlan(&self, name: &str, vxlan: &Vxlan) -> Result<LinkIndex, KernelError> {
        let data = InfoData::Vxlan(vxlan.data());
        self.add_link(name, InfoKind::Vxlan, Some(data), |link| {
            Ok(link.kind == LinkKind::Vxlan(vxlan.clone()))
        })
    }

    fn add_link(
        &self,
        name: &str,
        kind: InfoKind,
        data: Option<InfoData>,
        is_same: impl Fn(&Link) -> Result<bool, KernelError>,
    ) -> Result<LinkIndex, KernelError> {
        let task = || self.task(format_args!("{kind} {name} cannot be made"));
        if let Some(link) = self.link(name)? {
            return match is_same(&link)? {
                true => Ok(link.index),
                false => Err(KernelError::Taken {
                    task: task(),
                    there: format!("another link of this name, a {},", link.kind),
                }),
            };
        }
        let mut infos = vec![LinkInfo::Kind(kind.clone())];
        infos.extend(data.map(LinkInfo::Data));
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.into()),
            LinkAttribute::LinkInfo(infos),
        ];
        let made = self.change(
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        );
        match made {
            Ok(()) => {}
            Err(refusal) if refusal.errno == Errno::OPNOTSUPP => {
                let feature = kind.to_string();
                let task = task();
                return Err(KernelError::NoSupport { task, feature });
            }
            // Made since the look above, or it is the cable's other end.
            Err(refusal) if refusal.errno == Errno::EXIST => {
                return Err(KernelError::Taken {
                    task: task(),
                    there: "a link that is in its way".into(),
                });
            }
            Err(refusal) => return Err(refusal.at(task())),
        }
        let made = self.link(name)?;
        made.map(|link| link.index)
            .ok_or_else(|| KernelError::Gone { task: task() })
    }

    /// Whether `link` is an end of a cable, the other being `peer` there.
    fn is_cable_to(
        &self,
        link: &Link,
        peer: &str,
        peer_namespace: &Namespace,
    ) -> Result<bool, KernelError> {
        let LinkKind::Veth {
            peer: other_end,
            peer_namespace: other_namespace,
        } = link.kind
        else {
            return Ok(false);
        };
        let there = Netlink::in_namespace(peer_namespace)?.link(peer)?;
        let Some(there) = there else {
            return Ok(false);
        };
        // Two numbers that fit each other say nothing of links elsewhere.
        Ok(Some(there.index) == other_end
            && other_namespace == self.number_of(peer_namespace, there.kind)?)
    }

    /// The number of `namespace` in this one. None, if a cable that ends in it
    /// as `end` has both its ends in the same.
    fn number_of(&self, namespace: &Namespace, end: LinkKind) -> Result<Option<i32>, KernelError> {
        if let LinkKind::Veth {
            peer_namespace: None,
            ..
        } = end
        {
            return Ok(None);
        }
        let fd = namespace.as_fd().as_raw_fd();
        let fd = u32::try_from(fd).expect("an open descriptor is not negative");
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(fd));
        let answer = self
            .ask(RouteNetlinkMessage::GetNsId(message))
            .map_err(|refusal| {
                refusal.at(self.task(format_args!("{namespace} cannot be looked up")))
            })?;
        let RouteNetlinkMessage::NewNsId(answer) = answer else {
            return Ok(None);
        };
        let mut numbers = answer.attributes.iter().map(|attribute| match attribute {
            NsidAttribute::Id(number) if *number >= 0 => Some(*number),
            _ => None,
        });
        Ok(numbers.find_map(|number| number))
    }
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
        assert_eq!(there.net().add_veth("b", "a", &here).unwrap().get(), {
            link(&there.net(), "b").index.get()
        });
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
    fn a_tunnel_is_known_by_its_particulars() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let vxlan = Vxlan {
            id: 0x00ab_cdef,
            local: [192, 0, 2, 1].into(),
            remote: Some([192, 0, 2, 2].into()),
            port: 4789,
            learning: false,
        };
        let end = net.add_vxlan("vx", &vxlan).unwrap();
        assert_eq!(net.add_vxlan("vx", &vxlan).unwrap(), end);
        assert_eq!(link(&net, "vx").kind, LinkKind::Vxlan(vxlan.clone()));
        let other = Vxlan { id: 7, ..vxlan };
        assert!(is_taken(net.add_vxlan("vx", &other)));
        let six = Vxlan {
            id: 7,
            local: "2001:db8::1".parse().unwrap(),
            remote: None,
            port: 8472,
            learning: true,
        };
        net.add_vxlan("vx6", &six).unwrap();
        assert_eq!(link(&net, "vx6").kind, LinkKind::Vxlan(six));
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
