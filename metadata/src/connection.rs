//! A TCP connection to the metadata service, without the socket: the caller
//! brings what it received and takes away what is to be sent.
//!
//! What a guest can make a connection hold is bounded: a head, a short body,
//! and one answer at a time. A guest that does not go on is the caller's to be
//! rid of, after a time that it chooses.

use std::time::Duration;

use crate::options::HopLimit;
use crate::request::{self, MAX_BODY, MAX_HEAD, Method, Request};
use crate::response::Response;
use crate::service::Service;

/// A connection that a guest has made.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    received: Vec<u8>,
    closed: bool,
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// All of it.
    pub bytes: Vec<u8>,
    /// The IP time-to-live of the packets that it is sent in, if not the usual.
    pub hop_limit: Option<HopLimit>,
    /// Whether the connection is to be closed once it is sent.
    pub close: bool,
}

impl Connection {
    /// Bytes that can be received now; 0 if [`answer`](Self::answer) is to be
    /// called first, or the connection has had its last answer.
    pub fn room(&self) -> usize {
        match self.closed {
            true => 0,
            false => MAX_HEAD + MAX_BODY - self.received.len(),
        }
    }

    /// Takes what was received: as much of it as there is
    /// [`room`](Self::room) for, which is how many bytes it says.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.received.extend(&bytes[..taken]);
        taken
    }

    /// The answer to the next request, if it is whole. More may follow: this
    /// is to be called again when the answer has been sent.
    pub fn answer(&mut self, service: &mut Service, now: Duration) -> Option<Answer> {
        if self.closed {
            return None;
        }
        match request::parse(&self.received) {
            Ok(None) => None,
            Ok(Some(request)) => {
                let end = request.len + request.body_len;
                if self.received.len() < end {
                    return None;
                }
                self.received.drain(..end);
                let response = service.answer(&request, now);
                Some(self.finish(&response, Some(&request)))
            }
            Err(refusal) => Some(self.finish(&refusal, None)),
        }
    }

    /// Writes `response` to `request`; to none if what came was no request, and
    /// where the next begins cannot be known.
    fn finish(&mut self, response: &Response, request: Option<&Request>) -> Answer {
        self.closed = request.is_none_or(|request| request.close);
        if self.closed {
            self.received = Vec::new();
        }
        let connection = match request {
            _ if self.closed => Some("close"),
            Some(request) if request.keep_alive => Some("keep-alive"),
            _ => None,
        };
        let head_only = request.is_some_and(|request| request.method == Method::Head);
        let mut bytes = Vec::new();
        response.write(&mut bytes, connection, head_only);
        Answer {
            bytes,
            hop_limit: response.hop_limit,
            close: self.closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::token::TokenKey;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn service() -> Service {
        let instance = fixture::instance();
        Service::new(
            &instance,
            instance.interfaces[0].id,
            TokenKey::new(&[7; 32]),
        )
    }

    /// Sends `bytes`, and collects all answers.
    fn exchange(connection: &mut Connection, mut bytes: &[u8]) -> Vec<(String, bool)> {
        let mut service = service();
        let mut answers = Vec::new();
        loop {
            let taken = connection.receive(bytes);
            bytes = &bytes[taken..];
            match connection.answer(&mut service, NOW) {
                Some(answer) => {
                    let text = String::from_utf8_lossy(&answer.bytes).into_owned();
                    answers.push((text, answer.close));
                }
                None if taken == 0 => return answers,
                None => (),
            }
        }
    }

    #[test]
    fn requests_follow_each_other_until_one_is_the_last() {
        let text = "GET /latest/meta-data/mac HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyz\
                    HEAD /latest/user-data HTTP/1.1\r\nHost: x\r\n\r\n\
                    GET /latest/meta-data/mac HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\
                    GET /nothing HTTP/1.0\r\n\r\n\
                    GET / HTTP/1.0\r\n\r\n";
        let mut connection = Connection::default();
        let answers = exchange(&mut connection, text.as_bytes());
        assert_eq!(answers.len(), 4);
        assert!(
            answers[0].0.ends_with("\r\n\r\n02:00:00:00:00:00"),
            "{answers:?}"
        );
        assert!(
            answers[1].0.contains("Content-Length: 21\r\n") && answers[1].0.ends_with("\r\n\r\n")
        );
        assert!(answers[2].0.contains("Connection: keep-alive\r\n"));
        assert!(answers[3].0.starts_with("HTTP/1.1 404 ") && answers[3].1);
        assert_eq!((connection.room(), connection.receive(b"GET")), (0, 0));
    }

    #[test]
    fn a_token_comes_with_its_hop_limit() {
        let mut connection = Connection::default();
        let put = b"PUT /latest/api/token HTTP/1.1\r\nHost: x\r\n\
                    X-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n";
        connection.receive(put);
        let answer = connection.answer(&mut service(), NOW).unwrap();
        assert_eq!(answer.hop_limit, Some(HopLimit::default()));
        let text = String::from_utf8(answer.bytes).unwrap();
        assert!(
            text.to_lowercase()
                .contains("x-aws-ec2-metadata-token-ttl-seconds: 60\r\n")
        );
    }

    #[test]
    fn after_what_is_no_request_the_connection_ends() {
        let endless = "A".repeat(1 << 20);
        for text in [
            "hello\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.0\r\n\r\n",
            &endless,
        ] {
            let answers = exchange(&mut Connection::default(), text.as_bytes());
            assert_eq!(answers.len(), 1);
            assert!(answers[0].0.starts_with("HTTP/1.1 4") && answers[0].1);
        }
    }

    #[test]
    fn every_byte_can_come_alone() {
        let mut connection = Connection::default();
        let text = b"GET /latest/meta-data/mac HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";
        let (last, first) = text.split_last().unwrap();
        for byte in first {
            assert!(exchange(&mut connection, &[*byte]).is_empty());
        }
        assert_eq!(exchange(&mut connection, &[*last]).len(), 1);
    }

    proptest! {
        #[test]
        fn any_stream_is_answered_and_bounded(
            parts in prop::collection::vec(
                prop_oneof![
                    Just(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
                    Just(b"Content-Length: 1000\r\n".to_vec()),
                    prop::collection::vec(any::<u8>(), 0..3000),
                ],
                0..8,
            )
        ) {
            let mut connection = Connection::default();
            for part in parts {
                exchange(&mut connection, &part);
                prop_assert!(connection.received.len() <= MAX_HEAD + MAX_BODY);
            }
        }
    }
}
