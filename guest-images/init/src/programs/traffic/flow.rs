//! What flows, from either end: streams, and floods of datagrams.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::{Count, next};

/// Bytes in a datagram.
pub(super) const DATAGRAM: usize = 64;

/// A datagram that does not come for so long does not come any more.
pub(super) const SILENCE: Duration = Duration::from_millis(500);

/// Bytes of a stream that are moved at a time.
const CHUNK: usize = 128 << 10;

/// Sends for `duration`, and ends the stream.
pub(super) fn pour(connection: &mut TcpStream, duration: Duration) -> io::Result<()> {
    let chunk = vec![0; CHUNK];
    let start = Instant::now();
    while start.elapsed() < duration {
        connection.write_all(&chunk)?;
    }
    connection.shutdown(Shutdown::Write)
}

/// Takes a stream to its end. The first of it starts the clock, and is not counted.
pub(super) fn drain(connection: &mut TcpStream) -> io::Result<Count> {
    let mut chunk = vec![0; CHUNK];
    let mut count = Count::default();
    connection.read_exact(&mut chunk[..1])?;
    let start = Instant::now();
    loop {
        match connection.read(&mut chunk)? {
            0 => return Ok(count),
            length => {
                count.units += length as u64;
                count.time = start.elapsed();
            }
        }
    }
}

/// Sends datagrams to `to` for `duration`.
pub(super) fn flood(socket: &UdpSocket, to: SocketAddr, duration: Duration) -> io::Result<()> {
    let start = Instant::now();
    while start.elapsed() < duration {
        socket.send_to(&[0; DATAGRAM], to)?;
    }
    Ok(())
}

/// Takes what arrives of a flood of `duration`, until no more comes.
pub(super) fn count(socket: &UdpSocket, duration: Duration) -> io::Result<Count> {
    let mut datagram = [0; DATAGRAM];
    let mut count = Count {
        units: 0,
        // By the receiver's clock a flood of which only some arrived were shorter.
        time: duration,
    };
    while next(socket, &mut datagram)?.is_some() {
        count.units += 1;
    }
    Ok(count)
}
