//! Taps: may this user attach to one, or make one?

use std::fs::{self, OpenOptions};
use std::io;

use super::finding::Finding;

const NAME: &str = "tap";

/// What gives a user the device: a group of its own kind, by a rule that
/// lasts, rather than a mode that gives it to everybody until the next boot.
pub const PERMISSION: &str = "\
    echo 'KERNEL==\"tun\", GROUP=\"kvm\", MODE=\"0660\", OPTIONS+=\"static_node=net/tun\"' | \
    sudo tee /etc/udev/rules.d/80-tun.rules && sudo udevadm control --reload && \
    sudo udevadm trigger /dev/net/tun && sudo usermod -aG kvm $USER, then log in again";

/// Bit of CAP_NET_ADMIN (linux/capability.h).
const CAP_NET_ADMIN: u64 = 1 << 12;

/// Probes taps.
pub fn probe() -> Finding {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun");
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    judge(
        opened.map(drop).map_err(|error| error.kind()),
        may_administer(&status),
        &own_taps(rustix::process::geteuid().as_raw()),
    )
}

fn judge(opened: Result<(), io::ErrorKind>, administrator: bool, own: &[String]) -> Finding {
    match opened {
        Err(io::ErrorKind::NotFound) => Finding::missing(
            NAME,
            "/dev/net/tun does not exist: guests have no network",
            "sudo modprobe tun",
        ),
        Err(io::ErrorKind::PermissionDenied) => {
            Finding::missing(NAME, "this user may not open /dev/net/tun", PERMISSION)
        }
        Err(error) => Finding::missing(
            NAME,
            format!("/dev/net/tun cannot be opened: {error}"),
            "sudo modprobe tun",
        ),
        Ok(()) if !own.is_empty() => {
            Finding::ok(NAME, format!("this user owns {}", own.join(", ")))
        }
        Ok(()) if administrator => Finding::ok(NAME, "this user may make taps and attach to any"),
        Ok(()) => Finding::warn(
            NAME,
            "usable, but this user owns no tap and may make none",
            "sudo ip tuntap add dev tap0 mode tap user $USER && sudo ip link set tap0 up",
        ),
    }
}

/// Whether the process has CAP_NET_ADMIN, by its /proc status.
fn may_administer(status: &str) -> bool {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    effective.is_some_and(|bits| bits & CAP_NET_ADMIN != 0)
}

/// The taps that belong to `user`.
fn own_taps(user: u32) -> Vec<String> {
    let Ok(interfaces) = fs::read_dir("/sys/class/net") else {
        return Vec::new();
    };
    interfaces
        .flatten()
        .filter(|interface| {
            let owner = fs::read_to_string(interface.path().join("owner"));
            owner.is_ok_and(|owner| owner.trim() == user.to_string())
        })
        .map(|interface| interface.file_name().to_string_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn the_capability_is_read_from_the_status() {
        assert!(may_administer("Name:\tx\nCapEff:\t0000000000001000\n"));
        assert!(!may_administer("CapEff:\t0000000000000fff\n"));
        assert!(!may_administer("CapEff:\tnonsense\n"));
    }

    #[test]
    fn a_tap_of_ones_own_or_the_capability_is_enough() {
        let own = ["tap0".to_string()];
        assert_eq!(judge(Ok(()), false, &own).level, Level::Ok);
        assert_eq!(judge(Ok(()), true, &[]).level, Level::Ok);
        assert_eq!(judge(Ok(()), false, &[]).level, Level::Warn);
    }

    #[test]
    fn a_device_that_cannot_be_opened_is_missing() {
        for (kind, remedy) in [
            (io::ErrorKind::NotFound, "modprobe"),
            (io::ErrorKind::PermissionDenied, "usermod -aG kvm $USER"),
            (io::ErrorKind::Other, "modprobe"),
        ] {
            let finding = judge(Err(kind), true, &[]);
            assert_eq!(finding.level, Level::Missing);
            assert!(finding.remedy.unwrap().contains(remedy));
        }
    }
}
