//! `guest vsock`: many connections over vsock, all open at once, each with data
//! that goes there and back and is compared. The guest connects to the host,
//! or listens and echoes.

use std::fs::File;
use std::io;
use std::thread;

use rustix::net::{Shutdown, shutdown};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::stream::{Stream, pass};
use super::vsock_socket::{connect, listen};
use super::{Outcome, print, size, usage};

pub(super) fn run(words: &[&str]) -> Outcome {
    raise_descriptor_limit();
    match *words {
        ["connect", port, connections, bytes, seed] => {
            let (port, count) = (port.parse()?, connections.parse()?);
            converse(port, count, size::parse(bytes)?, seed.parse()?)
        }
        ["echo", port, connections] => echo(port.parse()?, connections.parse()?),
        _ => usage(),
    }
}

/// Opens all connections, then sends a stream of its own over each and expects
/// it back.
fn converse(port: u32, count: u64, bytes: u64, seed: u64) -> Outcome {
    let connect = |_| connect(port).map(File::from);
    let connections: Vec<File> = (0..count).map(connect).collect::<io::Result<_>>()?;
    print(format_args!("vsock: {count} connections are open"))?;
    for (number, connection) in (0..).zip(connections) {
        let (sent, back) = exchange(&connection, Stream::new(seed + number, bytes))?;
        if sent != back {
            return Err(format!("connection {number}: sent {sent} and got {back}").into());
        }
    }
    print(format_args!(
        "vsock: {count} connections of {bytes} bytes verified"
    ))?;
    Ok(())
}

/// Sends and receives at the same time; what was sent and what came back.
fn exchange(connection: &File, stream: Stream) -> io::Result<(String, String)> {
    thread::scope(|scope| {
        let back = scope.spawn(|| pass(connection, &mut io::sink()));
        let sent = pass(stream, &mut &*connection)?;
        shutdown(connection, Shutdown::Write)?;
        let back = back
            .join()
            .map_err(|_| io::Error::other("the reader panicked"))??;
        Ok((sent.to_string(), back.to_string()))
    })
}

/// Takes connections one after the other, while others wait, and sends back
/// what comes.
fn echo(port: u32, count: u64) -> Outcome {
    let listener = listen(port)?;
    print(format_args!("vsock: listening on port {port}"))?;
    for _ in 0..count {
        let connection = File::from(rustix::net::accept(&listener)?);
        pass(&connection, &mut &connection)?;
    }
    print(format_args!("vsock: echoed on {count} connections"))?;
    Ok(())
}

fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current, ..limit });
}
