//! A request to a machine, and how it is sent.

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use rustix::io::retry_on_intr;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::Value;
use vmm::api::MAX_DESCRIPTORS;

/// A request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    method: &'static str,
    path: String,
    body: Option<Value>,
    descriptors: Vec<BorrowedFd<'a>>,
    upgrade: Option<&'static str>,
}

impl<'a> Request<'a> {
    /// Asks for what is at `path`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path.into())
    }

    /// Has `path` do something.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new("POST", path.into())
    }

    /// Sets what is at `path`.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new("PUT", path.into())
    }

    fn new(method: &'static str, path: String) -> Self {
        Self {
            method,
            path,
            body: None,
            descriptors: Vec::new(),
            upgrade: None,
        }
    }

    /// With `body`, as JSON.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// With open descriptors, which go along with the first byte.
    #[must_use]
    pub fn descriptors(mut self, descriptors: impl IntoIterator<Item = BorrowedFd<'a>>) -> Self {
        self.descriptors.extend(descriptors);
        self
    }

    /// To speak `protocol` from then on.
    #[must_use]
    pub fn upgrade(mut self, protocol: &'static str) -> Self {
        self.upgrade = Some(protocol);
        self
    }

    pub(super) fn send(&self, stream: &mut UnixStream) -> io::Result<()> {
        let bytes = self.bytes();
        let sent = match &self.descriptors[..] {
            [] => 0,
            descriptors => send_with(stream, &bytes, descriptors)?,
        };
        stream.write_all(&bytes[sent..])
    }

    fn bytes(&self) -> Vec<u8> {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut text = format!("{} {} HTTP/1.1\r\nHost: plinth\r\n", self.method, self.path);
        if let Some(protocol) = self.upgrade {
            text += &format!("Connection: Upgrade\r\nUpgrade: {protocol}\r\n");
        }
        if self.body.is_some() {
            text += "Content-Type: application/json\r\n";
        }
        if self.method != "GET" {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        text += &body;
        text.into_bytes()
    }
}

/// Sends the beginning of `bytes` together with `descriptors`, and says how
/// much it was.
fn send_with(
    stream: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("no request has so many descriptors"));
    }
    let sent = retry_on_intr(|| {
        sendmsg(
            stream,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })?;
    Ok(sent)
}

/// `name` as one segment of a path (RFC 3986 §2.1).
pub fn segment(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::fd::AsFd;

    fn text(request: &Request<'_>) -> String {
        String::from_utf8(request.bytes()).unwrap()
    }

    #[test]
    fn a_request_says_how_long_it_is() {
        assert_eq!(
            text(&Request::get("/v1/vm")),
            "GET /v1/vm HTTP/1.1\r\nHost: plinth\r\n\r\n"
        );
        let stop = Request::post("/v1/vm/stop").body(json!({"deadline_ms": 5}));
        assert!(text(&stop).ends_with("Content-Length: 17\r\n\r\n{\"deadline_ms\":5}"));
        assert!(text(&Request::post("/x")).ends_with("Content-Length: 0\r\n\r\n"));
        let console = Request::post("/c").upgrade("plinth-console");
        assert!(text(&console).contains("Connection: Upgrade\r\nUpgrade: plinth-console\r\n"));
    }

    #[test]
    fn as_many_descriptors_go_as_a_machine_takes_and_many_more_are_refused() {
        let (here, _there) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let descriptors = vec![file.as_fd(); 2 * MAX_DESCRIPTORS];
        let sent = send_with(&here, b"bytes", &descriptors[..MAX_DESCRIPTORS]);
        assert_eq!(sent.unwrap(), 5);
        assert!(send_with(&here, b"bytes", &descriptors).is_err());
    }

    #[test]
    fn any_device_s_name_is_one_segment() {
        assert_eq!(segment("disk-0.a_b~"), "disk-0.a_b~");
        assert_eq!(segment("a/b:c%?"), "a%2Fb%3Ac%25%3F");
    }
}
