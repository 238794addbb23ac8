//! The end that takes part in what it is asked for, one connection after the other.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use super::flow::{DATAGRAM, SILENCE, count, drain, flood, pour};
use super::{Pattern, Request};
use crate::programs::print;

pub(super) struct Server {
    listener: TcpListener,
    socket: UdpSocket,
}

impl Server {
    pub(super) fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
        let socket = UdpSocket::bind(listener.local_addr()?)?;
        socket.set_read_timeout(Some(SILENCE))?;
        Ok(Self { listener, socket })
    }

    /// Where it is.
    #[cfg(test)]
    pub(super) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Serves until it is killed. Who asks badly is told nothing.
    pub(super) fn run(self) -> io::Result<()> {
        print(format_args!("traffic: serving"))?;
        loop {
            let (connection, _) = self.listener.accept()?;
            if let Err(error) = self.serve(connection) {
                let _ = writeln!(io::stderr(), "guest: traffic: {error}");
            }
        }
    }

    fn serve(&self, mut connection: TcpStream) -> io::Result<()> {
        let request = Request::read(&mut connection)?;
        // From now on there is somebody to take what comes.
        connection.write_all(&[0])?;
        match request.pattern {
            Pattern::RoundTrips => self.echo(),
            Pattern::StreamOut => drain(&mut connection)?.write(&mut connection),
            Pattern::StreamIn => pour(&mut connection, request.duration()),
            Pattern::PacketsOut => count(&self.socket, request.duration())?.write(&mut connection),
            Pattern::PacketsIn => {
                let (_, from) = self.socket.recv_from(&mut [0; DATAGRAM])?;
                flood(&self.socket, from, request.duration())
            }
        }
    }

    /// Sends datagrams back until no more come.
    fn echo(&self) -> io::Result<()> {
        let mut datagram = [0; DATAGRAM];
        loop {
            match self.socket.recv_from(&mut datagram) {
                Ok((length, from)) => self.answer(&datagram[..length], from)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn answer(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.socket.send_to(datagram, to).map(drop)
    }
}
