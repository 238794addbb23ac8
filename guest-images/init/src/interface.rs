#![allow(unsafe_code)]
//! An IPv4 address on a network interface, set by the classic ioctls
//! (netdevice(7)) so that no tool is needed. `command_line` parses one,
//! `boot` applies it, `ending` takes interfaces down. Unsafe because an ioctl's argument is an untyped pointer.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::str::FromStr;

use rustix::ioctl::{Opcode, Setter, ioctl};
use rustix::net::{AddressFamily, SocketType, socket};

// linux/sockios.h
const SIOCADDRT: Opcode = 0x890b;
const SIOCSIFFLAGS: Opcode = 0x8914;
const SIOCSIFADDR: Opcode = 0x8916;
const SIOCSIFNETMASK: Opcode = 0x891c;

/// An interface with its address and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) name: String,
    address: Ipv4Addr,
    prefix: u32,
    gateway: Option<Ipv4Addr>,
}

impl FromStr for Address {
    type Err = ();

    /// Reads `[NAME:]ADDRESS/PREFIX[,GATEWAY]`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, rest) = text.split_once(':').unwrap_or(("eth0", text));
        let (network, gateway) = match rest.split_once(',') {
            Some((network, gateway)) => (network, Some(gateway.parse().map_err(drop)?)),
            None => (rest, None),
        };
        let (address, prefix) = network.split_once('/').ok_or(())?;
        let prefix = prefix.parse().ok().filter(|bits| *bits <= 32).ok_or(())?;
        if name.is_empty() || name.len() >= libc::IFNAMSIZ {
            return Err(());
        }
        Ok(Self {
            name: name.to_owned(),
            address: address.parse().map_err(drop)?,
            prefix,
            gateway,
        })
    }
}

impl Address {
    /// Sets address and mask, brings the interface up and adds the route.
    pub(crate) fn apply(&self) -> io::Result<()> {
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        let mask = Ipv4Addr::from(u32::MAX.checked_shl(32 - self.prefix).unwrap_or(0));
        set::<SIOCSIFADDR>(&socket, &self.name, to_address(self.address))?;
        set::<SIOCSIFNETMASK>(&socket, &self.name, to_address(mask))?;
        set::<SIOCSIFFLAGS>(&socket, &self.name, UP)?;
        match self.gateway {
            Some(gateway) => add_default_route(&socket, gateway),
            None => Ok(()),
        }
    }
}

/// Brings the loopback interface up.
pub(crate) fn enable_loopback() -> io::Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    set::<SIOCSIFFLAGS>(&socket, "lo", UP)
}

/// Takes all interfaces down, whichever of them refuses.
pub(crate) fn disable_all() -> io::Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let interfaces = fs::read_dir("/sys/class/net")?;
    let disable = |entry: io::Result<fs::DirEntry>| {
        let name = entry?.file_name();
        set::<SIOCSIFFLAGS>(&socket, &name.to_string_lossy(), DOWN)
    };
    interfaces.map(disable).fold(Ok(()), io::Result::and)
}

/// What an `ifreq` says of its interface.
type Value = libc::__c_anonymous_ifr_ifru;

const UP: Value = Value {
    ifru_flags: 0x41, // IFF_UP | IFF_RUNNING
};
const DOWN: Value = Value { ifru_flags: 0 };

fn to_address(address: Ipv4Addr) -> Value {
    Value {
        ifru_addr: socket_address(address),
    }
}

/// One `ifreq` request.
fn set<const REQUEST: Opcode>(socket: &OwnedFd, name: &str, ifr_ifru: Value) -> io::Result<()> {
    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let request = libc::ifreq { ifr_name, ifr_ifru };
    // SAFETY: these requests read one ifreq, which is what they are given.
    unsafe { ioctl(socket, Setter::<REQUEST, _>::new(request))? };
    Ok(())
}

fn add_default_route(socket: &OwnedFd, gateway: Ipv4Addr) -> io::Result<()> {
    const TO_A_GATEWAY: libc::c_ushort = 0x3; // RTF_UP | RTF_GATEWAY
    // SAFETY: rtentry is numbers and pointers, for which zero is a value.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = socket_address(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = socket_address(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = socket_address(gateway);
    route.rt_flags = TO_A_GATEWAY;
    // SAFETY: SIOCADDRT reads one rtentry, which is what it is given.
    unsafe { ioctl(socket, Setter::<SIOCADDRT, _>::new(route))? };
    Ok(())
}

/// A `sockaddr_in` without a port, laid out as its general form: two bytes of
/// port, then the address (ip(7)).
fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut sa_data = [0; 14];
    for (to, from) in sa_data[2..6].iter_mut().zip(address.octets()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    libc::sockaddr {
        sa_family: AddressFamily::INET.as_raw(),
        sa_data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_means_eth0() {
        let address: Address = "10.0.0.2/24,10.0.0.1".parse().unwrap();
        assert_eq!(address.name, "eth0");
        assert_eq!(address.address, Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(address.prefix, 24);
        assert_eq!(address.gateway, Some(Ipv4Addr::new(10, 0, 0, 1)));
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for text in [
            "",
            "10.0.0.2",
            "10.0.0.2/33",
            "10.0.0/24",
            "10.0.0.2/24,",
            ":10.0.0.2/24",
            "much-too-long-a-name:10.0.0.2/24",
        ] {
            assert_eq!(text.parse::<Address>(), Err(()), "{text}");
        }
    }

    #[test]
    fn a_socket_address_holds_the_address_after_the_port() {
        let general = socket_address(Ipv4Addr::new(1, 2, 3, 4));
        assert_eq!(general.sa_data[..7], [0, 0, 1, 2, 3, 4, 0]);
    }
}
