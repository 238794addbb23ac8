//! `guest net`: bulk transfers over TCP with a digest of what went by, so that
//! both ends can compare. The guest connects to send and to receive, and
//! listens to echo.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::stream::{Stream, pass};
use super::{Outcome, print, size, usage};

pub(super) fn run(words: &[&str]) -> Outcome {
    match *words {
        ["send", address, bytes, seed] => {
            let mut connection = TcpStream::connect(address)?;
            let stream = Stream::new(seed.parse()?, size::parse(bytes)?);
            let tally = pass(stream, &mut connection)?;
            deliver(connection)?;
            print(format_args!("net: sent {tally}"))?;
        }
        ["receive", address] => {
            let tally = pass(TcpStream::connect(address)?, &mut std::io::sink())?;
            print(format_args!("net: received {tally}"))?;
        }
        ["echo", port] => {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.parse()?))?;
            print(format_args!("net: listening on port {port}"))?;
            let (connection, _) = listener.accept()?;
            let tally = pass(&connection, &mut &connection)?;
            deliver(connection)?;
            print(format_args!("net: echoed {tally}"))?;
        }
        _ => return usage(),
    }
    Ok(())
}

/// Closes a connection once the other end has everything: the machine may be
/// turned off next, and what is still in the socket would be lost.
fn deliver(connection: TcpStream) -> std::io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(120);
    Ok(set_socket_linger(&connection, Some(PATIENCE))?)
}
