//! Questions about names: those of the network are answered, others asked of the
//! host's resolvers.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, TcpListener, UdpSocket};

use metadata::dns::{self, Transport};

use super::super::names::{self, Inquiry};
use super::super::stream::{Came, Next, Stream};
use super::sources::{Client, Source};
use super::{Service, TURN};

/// Connections that one guest may have to name servers.
const MOST_NAME_STREAMS: usize = 8;
/// Questions of one guest, and of all, that the host's resolvers are asked at a
/// time.
const MOST_OF_ONE: usize = 32;
const MOST_INQUIRIES: usize = 512;

/// The longest question, and one byte more (as in metadata::dns).
const LONGEST: usize = 4097;

impl Service {
    pub(super) fn answer_questions(&mut self, number: u64, socket: &UdpSocket) {
        let mut question = [0; LONGEST];
        for _ in 0..TURN {
            let Ok((len, from)) = socket.recv_from(&mut question) else {
                return;
            };
            let question = &question[..len];
            let answer = match dns::answer(&self.zone, question, Transport::Udp) {
                dns::Answer::Reply(bytes) => Some(bytes),
                dns::Answer::Ignore => None,
                dns::Answer::Forward => {
                    let server = number;
                    self.ask(Client::Packet { server, from }, question)
                }
            };
            if let Some(answer) = answer {
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    /// # Errors
    /// The last connection could not be taken.
    pub(super) fn accept_name_streams(&mut self, listener: &TcpListener) -> io::Result<()> {
        for _ in 0..TURN {
            let (socket, from) = listener.accept()?;
            let from = from.ip();
            let own =
                |source: &&Source| matches!(source, Source::NameStream(of, ..) if *of == from);
            if self.sources.all.values().filter(own).count() < MOST_NAME_STREAMS
                && let Ok(stream) = Stream::new(socket)
            {
                let source = Source::NameStream(from, stream, Vec::new());
                let _ = self.sources.add(source, Next::Read);
            }
        }
        Ok(())
    }

    pub(super) fn answer_stream(
        &mut self,
        number: u64,
        from: IpAddr,
        stream: &mut Stream,
        came: &mut Vec<u8>,
    ) -> io::Result<Next> {
        let mut bytes = [0; LONGEST];
        for _ in 0..TURN {
            if !stream.flush()? {
                return Ok(Next::Write);
            }
            if let Some(question) = names::message(came) {
                let answer = match dns::answer(&self.zone, &question, Transport::Tcp) {
                    dns::Answer::Reply(bytes) => Some(bytes),
                    dns::Answer::Ignore => return Err(ErrorKind::InvalidData.into()),
                    dns::Answer::Forward => self.ask(Client::Stream { number, from }, &question),
                };
                match answer {
                    Some(answer) => stream.send(names::framed(&answer), false),
                    None => return Ok(Next::Other),
                }
                continue;
            }
            if came.len() >= LONGEST {
                return Err(ErrorKind::InvalidData.into());
            }
            match stream.read(&mut bytes)? {
                Came::Bytes(len) => came.extend(&bytes[..len]),
                Came::Nothing => return Ok(Next::Read),
                Came::End => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(Next::Write)
    }

    /// Asks the host's resolvers; the answer to be given at once, if they cannot
    /// be asked.
    pub(super) fn ask(&mut self, client: Client, question: &[u8]) -> Option<Vec<u8>> {
        let inquiries = self.sources.all.values().filter_map(|source| match source {
            Source::Inquiry(of, _) => Some(of.address()),
            _ => None,
        });
        let (mut all, mut own) = (0, 0);
        for address in inquiries {
            all += 1;
            own += usize::from(address == client.address());
        }
        if all >= MOST_INQUIRIES || own >= MOST_OF_ONE {
            return dns::failure(question);
        }
        let transport = match client {
            Client::Packet { .. } => names::Transport::Packet,
            Client::Stream { .. } => names::Transport::Stream,
        };
        let (resolvers, port) = self.resolvers.clone();
        match Inquiry::begin(question.to_vec(), transport, resolvers, port)
            .and_then(|inquiry| self.sources.wait_for(client, inquiry))
        {
            Ok(()) => None,
            Err(_) => dns::failure(question),
        }
    }

    /// Asks the next resolver, or says that none knows.
    pub(super) fn ask_next(&mut self, client: Client, inquiry: Inquiry) {
        let failure = dns::failure(&inquiry.question);
        let next = inquiry.go_on();
        if let (Err(_), Some(failure)) = (
            next.and_then(|inquiry| self.sources.wait_for(client, inquiry)),
            failure,
        ) {
            self.tell(client, &failure);
        }
    }

    /// Passes an answer on, if who asked is still there.
    pub(super) fn tell(&mut self, client: Client, answer: &[u8]) {
        match client {
            Client::Packet { server, from } => {
                if let Some(Source::Names(socket)) = self.sources.all.get(&server) {
                    let _ = socket.send_to(answer, from);
                }
            }
            Client::Stream { number, .. } => {
                if let Some(Source::NameStream(_, stream, _)) = self.sources.all.get_mut(&number) {
                    stream.send(names::framed(answer), false);
                    self.sources.wake(number);
                }
            }
        }
    }
}
