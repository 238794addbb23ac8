//! A network's ends of the cables to the networks that it is peered with. Each network
//! sets up its own end, once its rules about it are there, and takes away the whole
//! cable. One whose other network is not in the kernel is made by that one.

use std::net::IpAddr;

use ipnet::IpNet;
use network::peering::{LINK_PREFIX, MTU, Peering};
use network::plan::Plan;
use vmm::Mtu;

use super::kernel::{KernelError, LinkKind, Namespace, Netlink};
use super::live::PREFIX;

/// Makes the end of `peering` where `net` is.
pub(super) fn connect(peering: &Peering, net: &Netlink) -> Result<(), KernelError> {
    let name = peering.link();
    let end = match net.link(&name)? {
        Some(link) => link.index,
        None => match Namespace::open(&format!("{PREFIX}{}", peering.peer)) {
            Err(KernelError::Gone { .. }) => return Ok(()),
            other => net.add_veth(&name, &name, &other?)?,
        },
    };
    net.set_mtu(end, Mtu::new(MTU).expect("Ethernet has it"))?;
    net.add_address(end, own(peering))?;
    net.set_up(end)
}

/// Takes away the cables that `plan` does not know of.
pub(super) fn disconnect(plan: &Plan, net: &Netlink) -> Result<(), KernelError> {
    for link in net.links()? {
        let ours = link.name.starts_with(LINK_PREFIX) && is_cable(&link.kind);
        if ours && !plan.peerings.iter().any(|one| one.link() == link.name) {
            net.delete_link(link.index)?;
        }
    }
    Ok(())
}

/// What is not as `plan` says, a line each.
pub(super) fn compare(plan: &Plan, net: &Netlink) -> Result<Vec<String>, KernelError> {
    let mut found = Vec::new();
    for peering in &plan.peerings {
        let (name, peer) = (peering.link(), &peering.peer_name);
        let Some(link) = net.link(&name)? else {
            found.push(format!("the cable {name} to network '{peer}' is missing"));
            continue;
        };
        if !link.up || link.mtu != u32::from(MTU) {
            found.push(format!(
                "the cable {name} to network '{peer}' is not up with an MTU of {MTU}"
            ));
        }
        let (mut addresses, own) = (net.addresses()?.into_iter(), own(peering));
        if !addresses.any(|there| there.link == link.index && there.prefix == own) {
            found.push(format!("address {own} of {name} is missing"));
        }
    }
    for link in net.links()? {
        let ours = link.name.starts_with(LINK_PREFIX) && is_cable(&link.kind);
        if ours && !plan.peerings.iter().any(|one| one.link() == link.name) {
            found.push(format!("the cable {} leads nowhere", link.name));
        }
    }
    Ok(found)
}

fn is_cable(kind: &LinkKind) -> bool {
    matches!(kind, LinkKind::Veth { .. })
}

fn own(peering: &Peering) -> IpNet {
    IpNet::from(IpAddr::from(peering.own()))
}
