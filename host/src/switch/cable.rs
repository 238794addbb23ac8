//! A network's ends of the cables to the networks that it is peered with. Each network
//! sets up its own end, once its rules about it are there, and takes away the whole
//! cable. One whose other network is not in the kernel is made by that one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use network::peering::{LINK_PREFIX, MTU, Peering};
use network::plan::Plan;
use vmm::Mtu;

use super::kernel::{Address, KernelError, Link, LinkKind, Namespace, Netlink};
use super::live::PREFIX;

/// What is there of cables where `net` is, by the names of their ends.
struct Cables {
    links: BTreeMap<String, Link>,
    addresses: BTreeSet<Address>,
}

impl Cables {
    fn of(net: &Netlink) -> Result<Self, KernelError> {
        let links = net.links()?.into_iter();
        let ours = links.filter(is_cable);
        Ok(Self {
            links: ours.map(|link| (link.name.clone(), link)).collect(),
            addresses: net.addresses()?.into_iter().collect(),
        })
    }

    /// Those that `plan` does not know of.
    fn strange(&self, plan: &Plan) -> impl Iterator<Item = &Link> {
        let known: BTreeSet<String> = plan.peerings.iter().map(Peering::link).collect();
        let links = self.links.values();
        links.filter(move |link| !known.contains(&link.name))
    }

    fn has(&self, link: &Link, prefix: IpNet) -> bool {
        let link = link.index;
        self.addresses.contains(&Address { link, prefix })
    }
}

/// Makes the ends of the peerings of `plan` where `net` is.
pub(super) fn connect(plan: &Plan, net: &Netlink) -> Result<(), KernelError> {
    if plan.peerings.is_empty() {
        return Ok(());
    }
    let there = Cables::of(net)?;
    for peering in &plan.peerings {
        let (name, own) = (peering.link(), own(peering));
        let link = there.links.get(&name);
        if link.is_some_and(|link| is_connected(link) && there.has(link, own)) {
            continue;
        }
        let end = match link {
            Some(link) => link.index,
            None => match Namespace::open(&format!("{PREFIX}{}", peering.peer)) {
                Err(KernelError::Gone { .. }) => continue,
                other => net.add_veth(&name, &name, &other?)?,
            },
        };
        net.set_mtu(end, Mtu::new(MTU).expect("Ethernet has it"))?;
        net.add_address(end, own)?;
        net.set_up(end)?;
    }
    Ok(())
}

/// Takes away the cables that `plan` does not know of.
pub(super) fn disconnect(plan: &Plan, net: &Netlink) -> Result<(), KernelError> {
    let there = Cables::of(net)?;
    let mut strange = there.strange(plan);
    strange.try_for_each(|link| net.delete_link(link.index))
}

/// What is not as `plan` says, a line each.
pub(super) fn compare(plan: &Plan, net: &Netlink) -> Result<Vec<String>, KernelError> {
    let there = Cables::of(net)?;
    let mut found = Vec::new();
    for peering in &plan.peerings {
        let (name, peer) = (peering.link(), &peering.peer_name);
        let Some(link) = there.links.get(&name) else {
            found.push(format!("the cable {name} to network '{peer}' is missing"));
            continue;
        };
        if !is_connected(link) {
            found.push(format!(
                "the cable {name} to network '{peer}' is not up with an MTU of {MTU}"
            ));
        }
        let own = own(peering);
        if !there.has(link, own) {
            found.push(format!("address {own} of {name} is missing"));
        }
    }
    let strange = there.strange(plan);
    found.extend(strange.map(|link| format!("the cable {} leads nowhere", link.name)));
    Ok(found)
}

fn is_connected(link: &Link) -> bool {
    link.up && link.mtu == u32::from(MTU)
}

fn is_cable(link: &Link) -> bool {
    matches!(link.kind, LinkKind::Veth { .. }) && link.name.starts_with(LINK_PREFIX)
}

fn own(peering: &Peering) -> IpNet {
    IpNet::from(IpAddr::from(peering.own()))
}
