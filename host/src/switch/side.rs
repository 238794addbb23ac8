//! The kernel's side of a switch, whatever its kind.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use network::id::{Id, OfPort};
use network::refused::Refused;
use vmm::QueueCount;

use crate::error::Error;

use super::live::Live;
use super::live_bridge::LiveBridge;
use super::record::Kind;

/// Makes it if it is not there; returns whether it was not.
///
/// # Errors
/// The privilege or something in the kernel is missing.
pub(super) fn bring_up(kind: &Kind) -> Result<bool, Error> {
    match kind {
        Kind::Vpc(vpc) => match Live::find(vpc)? {
            Some(_) => Ok(false),
            None => Live::bring_up(vpc).map(|_| true),
        },
        Kind::Bridge(bridge) => match LiveBridge::find(bridge)? {
            Some(_) => Ok(false),
            None => LiveBridge::bring_up(bridge).map(|_| true),
        },
    }
}

/// Has the kernel have all of it, and nothing else.
///
/// # Errors
/// It refuses.
pub(super) fn make(kind: &Kind) -> Result<(), Error> {
    match kind {
        Kind::Vpc(vpc) => Live::bring_up(vpc)?.make(vpc),
        Kind::Bridge(bridge) => LiveBridge::bring_up(bridge)?.make(bridge),
    }
}

/// Takes the kernel from `old`, which is there, to `new`.
///
/// # Errors
/// It refuses; some of it may be done then.
pub(super) fn change(old: &Kind, new: &Kind) -> Result<(), Error> {
    match (old, new) {
        (Kind::Vpc(old), Kind::Vpc(new)) => Live::bring_up(old)?.change(old, new),
        (_, Kind::Bridge(new)) => LiveBridge::bring_up(new)?.change(new),
        (Kind::Bridge(_), Kind::Vpc(_)) => make(new),
    }
}

/// Takes away what `new` has outside its namespace and `old` does not know of, which
/// is to be again.
///
/// # Errors
/// The kernel refuses.
pub(super) fn abandon(new: &Kind, old: &Kind) -> Result<(), Error> {
    match (new, old) {
        (Kind::Vpc(new), Kind::Vpc(old)) => Live::bring_up(old)?.abandon(new, old),
        // A bridge has the same uplink as long as it is there.
        _ => Ok(()),
    }
}

/// Takes it out of the kernel.
///
/// # Errors
/// The privilege is missing.
pub(super) fn remove(kind: &Kind) -> Result<(), Error> {
    match kind {
        Kind::Vpc(vpc) => Live::remove(vpc),
        Kind::Bridge(bridge) => LiveBridge::remove(bridge),
    }
}

/// The names of the taps that are plugged in; `None` if it is not in the kernel.
///
/// # Errors
/// The privilege is missing.
pub(super) fn plugged(kind: &Kind) -> Result<Option<BTreeSet<String>>, Error> {
    match kind {
        Kind::Vpc(vpc) => Live::find(vpc)?.map(|live| live.plugged()).transpose(),
        Kind::Bridge(bridge) => LiveBridge::find(bridge)?
            .map(|live| live.plugged())
            .transpose(),
    }
}

/// Makes the tap of the port `id`, whose other end is the descriptors, and with
/// them it is gone.
///
/// # Errors
/// There is no such port, or the kernel refuses.
pub(super) fn plug_in(
    kind: &Kind,
    id: Id<OfPort>,
    queues: QueueCount,
) -> Result<Vec<OwnedFd>, Error> {
    let unknown = || Error::configuration(Refused::UnknownPort(id).to_string());
    match kind {
        Kind::Vpc(vpc) => {
            let port = vpc.ports().get(&id).ok_or_else(unknown)?;
            Live::bring_up(vpc)?.plug_in(vpc, port, queues)
        }
        Kind::Bridge(bridge) => {
            let port = bridge.ports().get(&id).ok_or_else(unknown)?;
            LiveBridge::bring_up(bridge)?.plug_in(bridge, port, queues)
        }
    }
}

/// What in the kernel is not as it should be, a line each.
///
/// # Errors
/// The kernel does not tell.
pub(super) fn differences(kind: &Kind) -> Result<Vec<String>, Error> {
    match kind {
        Kind::Vpc(vpc) => Live::differences(vpc),
        Kind::Bridge(bridge) => LiveBridge::differences(bridge),
    }
}

/// What its namespace is called.
#[cfg(test)]
pub(super) fn namespace(kind: &Kind) -> String {
    match kind {
        Kind::Vpc(vpc) => super::live::namespace(vpc),
        Kind::Bridge(bridge) => super::live_bridge::namespace(bridge),
    }
}
