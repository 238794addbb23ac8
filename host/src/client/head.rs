//! The head of an answer: its status, and how long its body is.

use std::io::{self, BufRead};

use httparse::{EMPTY_HEADER, Response};

use super::Failure;
use super::body::Length;

/// Longest head that is read.
const MAX_HEAD: usize = 16 << 10;

/// Most headers that are read.
const MAX_HEADERS: usize = 32;

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status, from 100 to 599.
    pub status: u16,
    /// How long the body is.
    pub length: Length,
}

/// Reads a head up to its empty line, and nothing of what follows.
///
/// # Errors
/// The connection fails or ends, in the outer result; what comes is no head,
/// in the inner one.
pub fn read(stream: &mut impl BufRead) -> io::Result<Result<Head, Failure>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let room = MAX_HEAD - head.len();
        let line = io::Read::take(&mut *stream, room as u64).read_until(b'\n', &mut head)?;
        if line == 0 && room == 0 {
            return Ok(Err(Failure::Nonsense("its head is too long")));
        }
        if line == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(parse(&head))
}

fn parse(text: &[u8]) -> Result<Head, Failure> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut response = Response::new(&mut headers);
    let parsed = response.parse(text);
    if !parsed.is_ok_and(|parsed| parsed.is_complete()) {
        return Err(Failure::Nonsense("it is not HTTP/1.1"));
    }
    let status = response.code.unwrap_or(0);
    let find = |name: &str| {
        let mut headers = response.headers.iter();
        let header = headers.find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| str::from_utf8(header.value).ok())
    };
    // RFC 9112 §6.3: some answers have no body whatever the headers say.
    let length = if status == 204 || status < 200 {
        Length::Known(0)
    } else if find("transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked")) {
        Length::Chunked
    } else {
        let length = find("content-length").and_then(|length| length.trim().parse().ok());
        Length::Known(length.ok_or(Failure::Nonsense("its length is not told"))?)
    };
    Ok(Head { status, length })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Head, Failure> {
        read(&mut text.as_bytes()).unwrap()
    }

    #[test]
    fn status_and_length_are_found() {
        let mut stream = &b"HTTP/1.1 200 OK\r\ncontent-Length: 5\r\n\r\nhello"[..];
        let head = read(&mut stream).unwrap().unwrap();
        assert_eq!((head.status, head.length), (200, Length::Known(5)));
        assert_eq!(stream, b"hello");
        let head = parsed("HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        assert_eq!((head.status, head.length), (204, Length::Known(0)));
        let head = parsed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert_eq!(head.length, Length::Chunked);
    }

    #[test]
    fn what_is_no_head_is_refused() {
        assert!(parsed("hello\r\n\r\n").is_err());
        assert!(parsed("HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parsed("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n").is_err());
        assert!(parsed(&format!("HTTP/1.1 200 {}", "x".repeat(MAX_HEAD))).is_err());
        assert!(read(&mut &b"HTTP/1.1 200 OK\r\n"[..]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&mut bytes.as_slice());
        }
    }
}
