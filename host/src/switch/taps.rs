//! The taps that are ports of a switch, of whatever kind. Their other ends are a
//! machine's, and with its descriptors they are gone.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use network::port::TAP_PREFIX;
use vmm::{Mtu, QueueCount};

use super::kernel::tap::{self, NewTap};
use super::kernel::{KernelError, LinkKind, Namespace, Netlink};

/// The names of those that are plugged in where `net` is.
pub(super) fn plugged(net: &Netlink) -> Result<BTreeSet<String>, KernelError> {
    let links = net.links()?.into_iter();
    let taps = links
        .filter(|link| matches!(link.kind, LinkKind::Tap(_)) && link.name.starts_with(TAP_PREFIX));
    Ok(taps.map(|link| link.name).collect())
}

/// Makes the one called `name` in `namespace`, which is down at first: the other end
/// is the descriptors.
pub(super) fn make(
    namespace: &Namespace,
    name: &str,
    queues: QueueCount,
    mtu: Mtu,
) -> Result<Vec<OwnedFd>, KernelError> {
    let tap = NewTap {
        name,
        queues,
        mac: None,
        mtu: Some(mtu),
        owner: None,
    };
    tap::create(namespace, &tap)
}
