//! Taps: the ports that machines are plugged into.
//!
//! A machine's process gets the descriptors and is in no network namespace of
//! its own; the interface is in that of the switch.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use devices::net::tap_create::create_tap;
use devices::net::tap_open::{TapOpenError, open_tap};
use devices::net::{MacAddress, Mtu};
use vmm::QueueCount;

use super::error::KernelError;
use super::link::{Link, vet_name};
use super::link_kind::LinkKind;
use super::namespace::Namespace;
use super::netlink::Netlink;

/// A tap to be made. It is down at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewTap<'a> {
    /// The interface's name.
    pub name: &'a str,
    /// How many queues are opened.
    pub queues: QueueCount,
    /// The address of the host's end, not the guest's; the kernel chooses one if
    /// it is not given.
    pub mac: Option<MacAddress>,
    /// 1500 if it is not given.
    pub mtu: Option<Mtu>,
    /// Without an owner, the tap vanishes with its descriptors. With one, it
    /// stays until it is deleted, and is this user's to open.
    pub owner: Option<u32>,
}

/// Makes a tap in `namespace`, in the mode that a machine's network device needs
/// ([`Tap::from_fds`](devices::net::Tap::from_fds)); returns the queues.
///
/// # Errors
/// [`KernelError::Taken`]: the name is taken, unless by a tap with the same owner
/// that is free. The privilege, or the tun driver, is missing.
pub fn create(namespace: &Namespace, tap: &NewTap<'_>) -> Result<Vec<OwnedFd>, KernelError> {
    vet_name(tap.name)?;
    let net = Netlink::in_namespace(namespace)?;
    let task = || format!("{namespace}: tap {} cannot be made", tap.name);
    if let Some(there) = net.link(tap.name)? {
        if !is_same(&there, tap) {
            let there = format!("another link of this name, a {},", there.kind);
            let task = task();
            return Err(KernelError::Taken { task, there });
        }
        let fds = open(namespace, tap.name, tap.queues)?;
        set_up(&net, tap)?;
        return Ok(fds);
    }
    let made = namespace.within(|| create_tap(tap.name, tap.queues, tap.owner))?;
    let fds = made.map_err(|error| explain(error, task()))?;
    if let Err(error) = set_up(&net, tap) {
        if let Some(link) = net.link(tap.name)? {
            net.delete_link(link.index)?;
        }
        return Err(error);
    }
    Ok(fds)
}

/// Opens a tap of `namespace` that is there and that nobody has open.
///
/// # Errors
/// There is none, it has not as many queues, or it is in use.
pub fn open(
    namespace: &Namespace,
    name: &str,
    queues: QueueCount,
) -> Result<Vec<OwnedFd>, KernelError> {
    let task = || format!("{namespace}: tap {name} cannot be opened");
    let opened = namespace.within(|| open_tap(name, queues))?;
    opened.map_err(|error| explain(error, task()))
}

/// Whether `link` is what [`create`] would make, but for what it can set.
fn is_same(link: &Link, tap: &NewTap<'_>) -> bool {
    match &link.kind {
        LinkKind::Tap(state) => {
            state.persistent
                && tap.owner.is_some()
                && state.owner == tap.owner
                && state.multi_queue == (tap.queues.get() > 1)
        }
        _ => false,
    }
}

fn set_up(net: &Netlink, tap: &NewTap<'_>) -> Result<(), KernelError> {
    let Some(link) = net.link(tap.name)? else {
        let task = net.task(format_args!("tap {} cannot be set up", tap.name));
        return Err(KernelError::Gone { task });
    };
    if let Some(mac) = tap.mac {
        net.set_mac(link.index, mac)?;
    }
    if let Some(mtu) = tap.mtu {
        net.set_mtu(link.index, mtu)?;
    }
    Ok(())
}

fn explain(error: TapOpenError, task: String) -> KernelError {
    match error {
        TapOpenError::NotPermitted { .. } => KernelError::NoPrivilege { task },
        TapOpenError::Missing { .. } => KernelError::Gone { task },
        TapOpenError::NoDriver { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            KernelError::NoPrivilege { task }
        }
        TapOpenError::NoDriver { .. } => KernelError::NoSupport {
            task,
            feature: "tun".into(),
        },
        TapOpenError::Exists { .. } => KernelError::Taken {
            task,
            there: "another link of this name".into(),
        },
        error => KernelError::Other {
            task,
            source: error.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Scratch, link, set_up, without_privilege};
    use super::super::link_kind::TapState;
    use super::super::neighbour::Neighbour;
    use super::*;
    use std::time::{Duration, Instant};

    use devices::net::Tap;
    use rustix::io::Errno;

    /// The header before a frame, unless somebody sets its size.
    const VNET: usize = 10;

    fn new(name: &str, queues: u64) -> NewTap<'_> {
        NewTap {
            name,
            queues: QueueCount::new(queues).unwrap(),
            mac: None,
            mtu: None,
            owner: None,
        }
    }

    fn state(net: &Netlink, name: &str) -> TapState {
        match link(net, name).kind {
            LinkKind::Tap(state) => state,
            kind => panic!("{name} is a {kind}"),
        }
    }

    #[test]
    fn a_tap_has_as_many_queues_as_asked_for_and_goes_with_them() {
        let scratch = Scratch::new();
        let net = scratch.net();
        for queues in [1, 4] {
            let fds = create(&scratch, &new("tap0", queues)).unwrap();
            let seen = state(&net, "tap0");
            assert_eq!(seen.multi_queue, queues > 1);
            assert_eq!(seen.queues, (queues > 1).then_some(4));
            assert!(!seen.persistent);
            // What a machine's network device takes.
            let taps = Tap::from_fds(fds).unwrap();
            assert_eq!(taps.len() as u64, queues);
            let taken = create(&scratch, &new("tap0", queues)).unwrap_err();
            assert!(matches!(taken, KernelError::Taken { .. }), "{taken:?}");
            drop(taps);
            assert_eq!(net.link("tap0").unwrap(), None);
        }
    }

    #[test]
    fn what_the_switch_sends_comes_out_of_the_descriptor_in_any_namespace() {
        let scratch = Scratch::new();
        let net = scratch.net();
        let fds = create(&scratch, &new("tap0", 1)).unwrap();
        let link = set_up(&net, "tap0", "192.0.2.1/24");
        let mac: MacAddress = "02:00:00:00:00:07".parse().unwrap();
        net.add_neighbour(&Neighbour {
            link,
            address: [192, 0, 2, 7].into(),
            mac,
        })
        .unwrap();
        let socket = scratch.socket("192.0.2.1");
        socket.send_to(b"hello", "192.0.2.7:7").unwrap();
        // Others may be there before it: the kernel greets IPv6 neighbours.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let mut frame = [0; 256];
            match rustix::io::read(&fds[0], &mut frame) {
                Ok(len) if frame[VNET..].starts_with(&mac.octets()) => {
                    assert!(frame[..len].ends_with(b"hello"));
                    break;
                }
                Ok(_) | Err(Errno::AGAIN) => assert!(Instant::now() < deadline),
                Err(errno) => panic!("{errno}"),
            }
        }
    }

    #[test]
    fn a_tap_has_the_address_and_the_mtu_that_were_asked_for() {
        let scratch = Scratch::new();
        let mac = "02:00:00:00:00:07".parse().unwrap();
        let tap = NewTap {
            mac: Some(mac),
            mtu: Some(Mtu::new(9001).unwrap()),
            ..new("tap0", 1)
        };
        let _fds = create(&scratch, &tap).unwrap();
        let made = link(&scratch.net(), "tap0");
        assert_eq!((made.mac, made.mtu, made.up), (Some(mac), 9001, false));
        // More than a tap carries: nothing is left behind.
        let large = NewTap {
            mtu: Some(Mtu::new(u16::MAX).unwrap()),
            owner: Some(0),
            ..new("tap1", 1)
        };
        create(&scratch, &large).unwrap_err();
        assert_eq!(scratch.net().link("tap1").unwrap(), None);
    }

    #[test]
    fn a_tap_with_an_owner_stays_and_can_be_opened_again() {
        let scratch = Scratch::new();
        let net = scratch.net();
        for queues in [1, 2] {
            let tap = NewTap {
                owner: Some(1234),
                ..new("tap0", queues)
            };
            drop(create(&scratch, &tap).unwrap());
            let index = link(&net, "tap0").index;
            let seen = state(&net, "tap0");
            assert_eq!((seen.persistent, seen.owner), (true, Some(1234)));
            let fds = open(&scratch, "tap0", tap.queues).unwrap();
            assert_eq!(fds.len() as u64, queues);
            drop(fds);
            // Making it again is opening it.
            drop(create(&scratch, &tap).unwrap());
            assert_eq!(link(&net, "tap0").index, index);
            for other in [
                new("tap0", queues),
                NewTap {
                    owner: Some(7),
                    ..tap
                },
            ] {
                let taken = create(&scratch, &other).unwrap_err();
                assert!(matches!(taken, KernelError::Taken { .. }), "{taken:?}");
            }
            net.delete_link(index).unwrap();
            let gone = open(&scratch, "tap0", tap.queues).unwrap_err();
            assert!(matches!(gone, KernelError::Gone { .. }), "{gone:?}");
        }
    }

    #[test]
    fn a_link_of_another_kind_is_in_the_way() {
        let scratch = Scratch::new();
        scratch.net().add_bridge("br0").unwrap();
        let taken = create(&scratch, &new("br0", 1)).unwrap_err();
        assert!(taken.to_string().contains("a bridge"), "{taken}");
        // Whoever makes it in between is in the way as well.
        let made = scratch
            .within(|| create_tap("br0", QueueCount::default(), None))
            .unwrap();
        let exists = made.unwrap_err();
        assert!(matches!(exists, TapOpenError::Exists { .. }), "{exists:?}");
    }

    #[test]
    fn making_a_tap_takes_privilege() {
        let name = "plinth-test-tap";
        let made = without_privilege(|| create_tap(name, QueueCount::default(), None));
        let error = explain(made.unwrap_err(), "it cannot be made".into());
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    }
}
