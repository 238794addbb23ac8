//! Bridges for tests, with guests on them, and hosts to be bridged to.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::ops::Deref;

use network::bridge::uplink::Uplink;
use network::name::Name;
use serde_json::Value;
use vmm::{MacAddress, QueueCount};

use super::change;
use super::fixture::{Guest, Host, Packet, SILENCE, name, soon};
use super::kernel::{Namespace, Netlink, nft};
use super::plug::{Machine, plug};
use crate::error::Error;
use crate::option::net::{NetEnd, NetOption};
use crate::option::uplink::UplinkOption;

/// The Ethernet address of all that are there.
pub(super) const EVERYBODY: [u8; 6] = [0xff; 6];

/// The address of guest `number`.
pub(super) fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, number)
}

/// As it is asked for.
pub(super) fn uplink(text: &str) -> Option<Uplink> {
    let option: UplinkOption = text.parse().unwrap();
    Some(option.0)
}

impl Host {
    /// A bridge without an uplink.
    pub(super) fn bridge(&self, text: &str) -> Name {
        self.bridge_with(text, None, None).unwrap();
        name(text)
    }

    pub(super) fn bridge_with(
        &self,
        text: &str,
        uplink: Option<Uplink>,
        mtu: Option<u16>,
    ) -> Result<(), Error> {
        change::create_bridge(&self.switches, name(text), uplink, mtu).map(drop)
    }

    /// Guest `number` of `bridge`, plugged in with these options.
    pub(super) fn bridge_guest(&self, bridge: &Name, options: &str, number: u8) -> Guest {
        let owner = self.unique("guest");
        let option: NetOption = format!("{bridge}{options}").parse().unwrap();
        let NetEnd::Port(port) = &option.end else {
            panic!("it is on a switch");
        };
        let queues = QueueCount::default();
        let plugged = plug(
            &self.switches,
            port,
            option.mac,
            queues,
            &Machine::called(&owner),
        )
        .unwrap();
        let nobody = MacAddress::new([2, 0, 0, 0, 0, 0xfe]).unwrap();
        Guest::new(
            &owner,
            (address(number), address(254)),
            (plugged.mac, nobody),
            plugged.taps,
            plugged.mtu,
        )
    }

    /// What in the kernel is not as it should be.
    pub(super) fn differences(&self, bridge: &Name) -> Vec<String> {
        change::check(&self.switches, bridge).unwrap()
    }

    /// How many frames the rules of a chain dropped.
    pub(super) fn dropped(&self, bridge: &Name, chain: &str) -> u64 {
        let namespace = Namespace::open(&self.namespace(bridge)).unwrap();
        let listing = nft::ruleset(&namespace).unwrap();
        let entries = listing["nftables"].as_array().unwrap().iter();
        let rules = entries.filter(|entry| entry["rule"]["chain"] == chain);
        let parts = rules.flat_map(|entry| entry["rule"]["expr"].as_array().unwrap());
        let packets = |part: &Value| part["counter"]["packets"].as_u64();
        parts.filter_map(packets).sum()
    }
}

/// Sends a datagram without a checksum from port 9 to `port` of `to`, in a frame for
/// `mac`.
pub(super) fn send(from: &Guest, mac: [u8; 6], to: Ipv4Addr, port: u16, text: &[u8]) {
    let len = u16::try_from(8 + text.len()).unwrap();
    let [high, low] = port.to_be_bytes();
    let mut payload = vec![0, 9, high, low];
    payload.extend(len.to_be_bytes());
    payload.extend([0, 0]);
    payload.extend(text);
    let packet = Packet {
        from: from.address,
        to,
        protocol: 17,
        fragment: (0, false),
        payload: &payload,
    };
    from.send_frame(mac, &[[0x08, 0x00].as_slice(), &packet.bytes()].concat());
}

/// Where what is sent to a guest arrives.
pub(super) struct Inbox(UdpSocket);

impl Inbox {
    pub(super) fn new(guest: &Guest, port: u16) -> Self {
        let socket = guest.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)));
        let socket = socket.unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// What came since.
    pub(super) fn came(&self) -> BTreeSet<String> {
        let mut texts = BTreeSet::new();
        let mut data = [0; 2048];
        while let Ok((len, _)) = self.0.recv_from(&mut data) {
            texts.insert(String::from_utf8_lossy(&data[..len]).into_owned());
        }
        texts
    }

    /// Waits until all of `wanted` came, and nothing else does.
    #[track_caller]
    pub(super) fn gets(&self, wanted: &BTreeSet<String>) {
        let mut came = BTreeSet::new();
        soon(|| {
            came.extend(self.came());
            came.is_superset(wanted)
        });
        std::thread::sleep(SILENCE);
        came.extend(self.came());
        assert_eq!(came, *wanted);
    }
}

/// A namespace that plays a host, or what is behind an uplink.
pub(super) struct Elsewhere {
    name: String,
    namespace: Namespace,
}

impl Elsewhere {
    pub(super) fn new(host: &Host, what: &str) -> Self {
        let name = host.unique(what);
        let namespace = Namespace::create(&name).unwrap();
        Self { name, namespace }
    }

    pub(super) fn net(&self) -> Netlink {
        Netlink::in_namespace(&self.namespace).unwrap()
    }

    /// Does `work` as a program of that host.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.within(work).unwrap()
    }

    /// A cable from `own` here to `other` there, which are up.
    pub(super) fn cable(&self, own: &str, there: &Self, other: &str) {
        let link = self.net().add_veth(own, other, &there.namespace).unwrap();
        self.net().set_up(link).unwrap();
        let link = there.net().link(other).unwrap().unwrap().index;
        there.net().set_up(link).unwrap();
    }

    /// Gives a link an address.
    pub(super) fn add_address(&self, link: &str, prefix: &str) {
        let net = self.net();
        let link = net.link(link).unwrap().unwrap().index;
        net.add_address(link, prefix.parse().unwrap()).unwrap();
    }

    /// Whether guest `number` answers from port 7.
    pub(super) fn reaches(&self, number: u8) -> bool {
        let socket = self.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
        let socket = socket.unwrap();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        let sent = socket.send_to(b"ping", (address(number), 7));
        sent.is_ok() && matches!(socket.recv_from(&mut [0; 16]), Ok((4, _)))
    }
}

impl Deref for Elsewhere {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = Namespace::delete(&self.name);
    }
}
