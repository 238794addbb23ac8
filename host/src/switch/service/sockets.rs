//! The sockets of a network: each at an address of the network's own, and those
//! by which a guest is known at its tap as well.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};

use network::plan::METADATA;
use socket2::{Domain, Socket, Type};

/// Connections that a guest may have waiting.
const BACKLOG: i32 = 32;

const DHCP: u16 = 67;
const DNS: u16 = 53;
const HTTP: u16 = 80;

/// What is opened for a port.
#[derive(Debug)]
pub(super) struct AtPort {
    /// Gets what is sent to everybody.
    pub(super) everybody: UdpSocket,
    /// Gets what is sent to the router, and sends as that.
    pub(super) router: UdpSocket,
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
    /// Those at `tap`, in the calling thread's network namespace.
    ///
    /// # Errors
    /// The tap is gone, or the kernel refuses.
    pub(super) fn open(tap: &str, router: Ipv4Addr) -> io::Result<Self> {
        let at_tap = |kind: Type, address, port| {
            let socket = socket(kind)?;
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
        })
    }
}

impl NameServer {
    /// The one at `address`, in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn open(address: Ipv4Addr) -> io::Result<Self> {
        let packets = socket(Type::DGRAM)?;
        bind(&packets, address, DNS)?;
        let streams = socket(Type::STREAM)?;
        bind(&streams, address, DNS)?;
        streams.listen(BACKLOG)?;
        Ok(Self {
            packets: packets.into(),
            streams: streams.into(),
        })
    }
}

fn socket(kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind, None)?;
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
