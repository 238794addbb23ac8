//! The rest of the world, for tests: a host's own network, in which the test's thread
//! is from then on, and the internet behind it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::fixture::{BOUND, SILENCE};
use super::kernel::{LinkIndex, Namespace, Netlink, Route, Target};

/// The host's address in the network that it has in common with the internet.
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The internet's there.
pub(super) const NEAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Somebody further away.
pub(super) const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// What the internet sends to the host.
const ROUTED: &str = "203.0.113.0/24";

pub(super) struct Internet {
    pub(super) host: Namespace,
    pub(super) namespace: Namespace,
    names: [String; 2],
}

impl Internet {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let names = ["host", "internet"].map(|end| format!("test-{process}-{count}-{end}"));
        let [host, namespace] = names
            .each_ref()
            .map(|name| Namespace::create(name).unwrap());
        move_into_link_name_space(host.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let ends = [&host, &namespace].map(|end| Netlink::in_namespace(end).unwrap());
        let [net, far] = &ends;
        let eth0 = net.add_veth("eth0", "eth0", &namespace).unwrap();
        let other = far.link("eth0").unwrap().unwrap().index;
        for (net, link, address) in [(net, eth0, HOST), (far, other, NEAR)] {
            net.set_up(LinkIndex::LOOPBACK).unwrap();
            let prefix = format!("{address}/24").parse().unwrap();
            net.add_address(link, prefix).unwrap();
            net.set_up(link).unwrap();
        }
        let prefix = format!("{FAR}/32").parse().unwrap();
        far.add_address(LinkIndex::LOOPBACK, prefix).unwrap();
        let route = |destination: &str, address: Ipv4Addr, link| Route {
            destination: destination.parse().unwrap(),
            table: 254,
            target: Target::Gateway {
                address: address.into(),
                link,
            },
        };
        net.add_route(&route("0.0.0.0/0", NEAR, eth0)).unwrap();
        far.add_route(&route(ROUTED, HOST, other)).unwrap();
        Self {
            host,
            namespace,
            names,
        }
    }

    /// Has the internet send to the host what nobody should.
    pub(super) fn misroute(&self, destination: &str) {
        let net = Netlink::in_namespace(&self.namespace).unwrap();
        let link = net.link("eth0").unwrap().unwrap().index;
        let target = Target::Gateway {
            address: HOST.into(),
            link,
        };
        net.add_route(&Route {
            destination: destination.parse().unwrap(),
            table: 254,
            target,
        })
        .unwrap();
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Namespace::delete(name);
        }
    }
}

/// Has somebody in `namespace` tell those who come to `port`, by TCP or UDP, who they
/// are to them.
pub(super) fn tell(namespace: &Namespace, port: u16) {
    let at = (Ipv4Addr::UNSPECIFIED, port);
    let listener = namespace.within(|| TcpListener::bind(at)).unwrap().unwrap();
    let socket = namespace.within(|| UdpSocket::bind(at)).unwrap().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Ok(peer) = stream.peer_addr() else {
                continue;
            };
            let _ = stream.write_all(peer.ip().to_string().as_bytes());
        }
    });
    thread::spawn(move || {
        while let Ok((_, peer)) = socket.recv_from(&mut [0; 16]) {
            let _ = socket.send_to(peer.ip().to_string().as_bytes(), peer);
        }
    });
}

/// Who comes to `port` of `address` by TCP from `namespace`, as it is told there.
pub(super) fn seen(namespace: &Namespace, address: Ipv4Addr, port: u16) -> Option<IpAddr> {
    let ask = || -> io::Result<String> {
        let address = SocketAddr::from((address, port));
        let mut stream = TcpStream::connect_timeout(&address, SILENCE)?;
        // It is there: its answer comes, if late.
        stream.set_read_timeout(Some(BOUND))?;
        let mut told = String::new();
        stream.read_to_string(&mut told)?;
        Ok(told)
    };
    namespace.within(ask).unwrap().ok()?.parse().ok()
}

/// The same by UDP, from `socket`.
pub(super) fn seen_by_udp(socket: &UdpSocket, address: Ipv4Addr, port: u16) -> Option<IpAddr> {
    let mut told = [0; 64];
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket.send_to(b"who", (address, port)).ok()?;
    let (len, _) = socket.recv_from(&mut told).ok()?;
    std::str::from_utf8(&told[..len]).ok()?.parse().ok()
}

/// A socket in `namespace`.
pub(super) fn socket(namespace: &Namespace) -> UdpSocket {
    let bound = namespace.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
    bound.unwrap().unwrap()
}
