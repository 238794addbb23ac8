//! What a guest asks about itself: its address, by DHCP, and its metadata.

use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream, UdpSocket};

use metadata::connection::Connection;
use metadata::dhcp;
use metadata::options::HopLimit;
use metadata::router;
use network::id::{Id, OfPort};
use network::plan::METADATA6;
use socket2::SockRef;

use super::super::stream::{Came, Next, Stream};
use super::sources::Source;
use super::{Service, TURN};

/// Connections that one guest may have to the metadata service.
const MOST_METADATA: usize = 16;

impl Service {
    pub(super) fn give_addresses(&self, id: Id<OfPort>, socket: &UdpSocket, replies: &UdpSocket) {
        let Some(served) = self.ports.get(&id) else {
            return;
        };
        let mut message = [0; 2048];
        for _ in 0..TURN {
            let Ok(len) = socket.recv(&mut message) else {
                return;
            };
            if let Some(reply) = dhcp::answer(&served.guest.lease, &message[..len]) {
                // What does not reach it, it asks for again.
                let _ = replies.send_to(&reply.bytes, (reply.to, dhcp::CLIENT_PORT));
            }
        }
    }

    /// # Errors
    /// The last connection could not be taken.
    pub(super) fn accept_requests(
        &mut self,
        id: Id<OfPort>,
        listener: &TcpListener,
    ) -> io::Result<()> {
        for _ in 0..TURN {
            let (socket, _) = listener.accept()?;
            let own = |source: &&Source| matches!(source, Source::Request(of, ..) if *of == id);
            if self.sources.all.values().filter(own).count() < MOST_METADATA
                && let Ok(stream) = Stream::new(socket)
            {
                let source = Source::Request(id, stream, Connection::default());
                // What cannot be waited for is closed.
                let _ = self.sources.add(source, Next::Read);
            }
        }
        Ok(())
    }

    pub(super) fn answer_requests(
        &mut self,
        id: Id<OfPort>,
        stream: &mut Stream,
        connection: &mut Connection,
    ) -> io::Result<Next> {
        let served = self.ports.get_mut(&id).ok_or(ErrorKind::NotFound)?;
        let mut bytes = [0; 4096];
        for _ in 0..TURN {
            if !stream.flush()? {
                return Ok(Next::Write);
            }
            if let Some(answer) = connection.answer(&mut served.metadata, self.began.elapsed()) {
                // It stays: what is not acknowledged is sent again, as far as what is
                // sent then.
                if let Some(limit) = answer.hop_limit {
                    set_hops(&stream.socket, limit)?;
                }
                stream.send(answer.bytes, answer.close);
                continue;
            }
            let room = connection.room().min(bytes.len());
            match stream.read(&mut bytes[..room])? {
                Came::Bytes(len) => connection.receive(&bytes[..len]),
                Came::Nothing => return Ok(Next::Read),
                Came::End => return Err(ErrorKind::UnexpectedEof.into()),
            };
        }
        Ok(Next::Write)
    }
}

/// Tells whoever asks for a router where the metadata service is.
pub(super) fn tell_of_the_service(socket: &UdpSocket) {
    let mut message = [0; 2048];
    for _ in 0..TURN {
        let Ok((len, from)) = socket.recv_from(&mut message) else {
            return;
        };
        if let Some(answer) = router::answer(&message[..len], METADATA6) {
            // Who does not get it asks again.
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// Lets what is sent from now on go as far as `limit`.
fn set_hops(socket: &TcpStream, limit: HopLimit) -> io::Result<()> {
    let hops = HopLimit::get(limit).into();
    match socket.local_addr()?.is_ipv6() {
        true => SockRef::from(socket).set_unicast_hops_v6(hops),
        false => socket.set_ttl(hops),
    }
}
