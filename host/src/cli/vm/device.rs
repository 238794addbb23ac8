//! What a user calls a device of a machine.

use crate::registry::machine::Machine;
use crate::volume::directory::Volumes;

/// The name of the device of `machine` that the user calls `called`: that
/// name, or that of the volume's disk whose name or id it is, unless another
/// disk is called so.
pub(super) fn named(machine: &Machine, called: &str) -> String {
    let disks = &machine.record().disks;
    let volume = || {
        let volume = Volumes::of_this_user().ok()?.find(&called.parse().ok()?);
        let serial = volume.ok()?.record().id.serial();
        disks.contains_key(&serial).then_some(serial)
    };
    match disks.contains_key(called) {
        true => called.to_owned(),
        false => volume().unwrap_or_else(|| called.to_owned()),
    }
}
