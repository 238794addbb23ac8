//! The sockets of a network: each at an address of the network's own, and those
//! by which a guest is known at its tap as well.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6, TcpListener, UdpSocket};

use metadata::router::ADVERTISED_HOPS;
use network::plan::{METADATA, METADATA6};
use socket2::{Domain, Protocol, Socket, Type};

use super::super::kernel::LinkIndex;
use super::super::kernel::sysctl::has_ipv6;

/// Connections that a guest may have waiting.
const BACKLOG: i32 = 32;

const DHCP: u16 = 67;
const DNS: u16 = 53;
const HTTP: u16 = 80;

/// All routers of a link (RFC 4291 §2.7.1).
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// What is opened for a port.
#[derive(Debug)]
pub(super) struct AtPort {
    /// Gets what is sent to everybody.
    pub(super) everybody: UdpSocket,
    /// Gets what is sent to the router, and sends as that.
    pub(super) router: UdpSocket,
    /// The metadata service.
    pub(super) metadata: TcpListener,
    /// What is opened by IPv6, where the host has that.
    pub(super) link: Option<OnLink>,
}

/// What is opened on the link between a guest and its tap.
#[derive(Debug)]
pub(super) struct OnLink {
    /// Gets what is sent to all routers: messages of ICMPv6.
    pub(super) routers: UdpSocket,
    /// The metadata service.
    pub(super) metadata: TcpListener,
}

/// What is opened for a name server.
#[derive(Debug)]
pub(super) struct NameServer {
    pub(super) packets: UdpSocket,
    pub(super) streams: TcpListener,
}

impl AtPort {
    /// Those at `tap`, which has the number `index`, in the calling thread's network
    /// namespace.
    ///
    /// # Errors
    /// The tap is gone, or the kernel refuses.
    pub(super) fn open(tap: &str, index: LinkIndex, router: Ipv4Addr) -> io::Result<Self> {
        let at_tap = |kind: Type, address, port| {
            let socket = socket(Domain::IPV4, kind, None)?;
            socket.bind_device(Some(tap.as_bytes()))?;
            bind(&socket, address, port)?;
            io::Result::Ok(socket)
        };
        let everybody = at_tap(Type::DGRAM, Ipv4Addr::UNSPECIFIED, DHCP)?;
        let own = at_tap(Type::DGRAM, router, DHCP)?;
        own.set_broadcast(true)?;
        let metadata = at_tap(Type::STREAM, METADATA, HTTP)?;
        metadata.listen(BACKLOG)?;
        Ok(Self {
            everybody: everybody.into(),
            router: own.into(),
            metadata: metadata.into(),
            link: has_ipv6().then(|| OnLink::open(tap, index)).transpose()?,
        })
    }
}

impl OnLink {
    fn open(tap: &str, index: LinkIndex) -> io::Result<Self> {
        let at_tap = |kind: Type, protocol| {
            let socket = socket(Domain::IPV6, kind, protocol)?;
            socket.bind_device(Some(tap.as_bytes()))?;
            io::Result::Ok(socket)
        };
        let routers = at_tap(Type::from(libc::SOCK_RAW), Some(Protocol::ICMPV6))?;
        routers.join_multicast_v6(&ALL_ROUTERS, index.get())?;
        routers.set_unicast_hops_v6(ADVERTISED_HOPS)?;
        let metadata = at_tap(Type::STREAM, None)?;
        metadata.set_only_v6(true)?;
        // Whoever plugs the guest in may give the address only now.
        metadata.set_freebind_v6(true)?;
        metadata.bind(&SocketAddrV6::new(METADATA6, HTTP, 0, 0).into())?;
        metadata.listen(BACKLOG)?;
        Ok(Self {
            routers: routers.into(),
            metadata: metadata.into(),
        })
    }
}

impl NameServer {
    /// The one at `address`, in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn open(address: Ipv4Addr) -> io::Result<Self> {
        let packets = socket(Domain::IPV4, Type::DGRAM, None)?;
        bind(&packets, address, DNS)?;
        let streams = socket(Domain::IPV4, Type::STREAM, None)?;
        bind(&streams, address, DNS)?;
        streams.listen(BACKLOG)?;
        Ok(Self {
            packets: packets.into(),
            streams: streams.into(),
        })
    }
}

fn socket(domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, protocol)?;
    socket.set_nonblocking(true)?;
    // An earlier service's connections may linger.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn bind(socket: &Socket, address: Ipv4Addr, port: u16) -> io::Result<()> {
    // Whoever brings the network up may give the address only now.
    socket.set_freebind_v4(true)?;
    socket.bind(&SocketAddrV4::new(address, port).into())
}
