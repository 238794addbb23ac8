//! The end that asks for a pattern, and is told or counts what arrived.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use super::flow::{DATAGRAM, SILENCE, count, drain, flood, pour};
use super::{Count, Pattern, Request, next};

/// The other end may be booting.
const PATIENCE: Duration = Duration::from_secs(60);

/// From one attempt to connect to the next.
const REST: Duration = Duration::from_millis(50);

pub(super) fn ask(address: SocketAddr, request: Request) -> io::Result<Count> {
    let mut connection = connect(address)?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(SILENCE))?;
    socket.connect(address)?;
    request.write(&mut connection)?;
    // It may still be listening for what somebody else sends.
    connection.read_exact(&mut [0])?;
    match request.pattern {
        Pattern::RoundTrips => round_trips(&socket, request.duration()),
        Pattern::StreamOut => {
            pour(&mut connection, request.duration())?;
            Count::read(&mut connection)
        }
        Pattern::StreamIn => drain(&mut connection),
        Pattern::PacketsOut => {
            flood(&socket, address, request.duration())?;
            Count::read(&mut connection)
        }
        Pattern::PacketsIn => {
            // So that the server knows where to.
            socket.send(&[0; DATAGRAM])?;
            count(&socket, request.duration())
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let start = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Err(_) if start.elapsed() < PATIENCE => thread::sleep(REST),
            connected => return connected,
        }
    }
}

fn round_trips(socket: &UdpSocket, duration: Duration) -> io::Result<Count> {
    let mut count = Count::default();
    let start = Instant::now();
    while count.time < duration {
        socket.send(&[0; DATAGRAM])?;
        if next(socket, &mut [0; DATAGRAM])?.is_none() {
            return Err(io::Error::other("a datagram did not come back"));
        }
        count.units += 1;
        count.time = start.elapsed();
    }
    Ok(count)
}
