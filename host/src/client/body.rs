//! The body of an answer, as the sender put it in: of a known length, or in
//! chunks until the last (RFC 9112 §7.1).

use std::io::{self, BufRead, Read};

/// Longest line before a chunk.
const MAX_LINE: u64 = 256;

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Known(u64),
    /// It is told chunk by chunk.
    Chunked,
}

/// A body that is being read.
#[derive(Debug)]
pub struct Body<R> {
    stream: R,
    /// Bytes left, of the body or of this chunk.
    left: u64,
    /// Whether there may be another chunk.
    chunked: bool,
    /// Whether a chunk has been read, which ends with an empty line.
    begun: bool,
}

impl<R: BufRead> Body<R> {
    /// A body of `length`, the next of `stream`.
    pub fn new(stream: R, length: Length) -> Self {
        let (left, chunked) = match length {
            Length::Known(left) => (left, false),
            Length::Chunked => (0, true),
        };
        Self {
            stream,
            left,
            chunked,
            begun: false,
        }
    }

    /// Reads the line before a chunk.
    fn next_chunk(&mut self) -> io::Result<()> {
        if self.begun && !self.line()?.is_empty() {
            return Err(invalid("a chunk does not end where it should"));
        }
        self.begun = true;
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        self.left = u64::from_str_radix(size, 16)
            .map_err(|_| invalid("a chunk does not begin with its length"))?;
        if self.left == 0 {
            self.chunked = false;
            // There are no trailers; only the empty line that ends them.
            self.line()?;
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        (&mut self.stream).take(MAX_LINE).read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Err(invalid("a chunk's line is too long or cut off")),
        }
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            if !self.chunked {
                return Ok(0);
            }
            self.next_chunk()?;
        }
        let read = (&mut self.stream).take(self.left).read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, length: Length) -> io::Result<String> {
        let mut body = String::new();
        Body::new(text.as_bytes(), length).read_to_string(&mut body)?;
        Ok(body)
    }

    #[test]
    fn a_body_ends_where_it_says() {
        assert_eq!(read("hello, world", Length::Known(5)).unwrap(), "hello");
        let chunks = "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\nmore";
        assert_eq!(read(chunks, Length::Chunked).unwrap(), "abc0123456789");
    }

    #[test]
    fn a_body_that_is_cut_off_or_garbled_is_an_error() {
        assert!(read("hell", Length::Known(5)).is_err());
        for chunks in [
            "3\r\nab",
            "3\r\nabcd\r\n",
            "x\r\n",
            "3\r\nabc\r\n",
            "",
            "0\r\n",
        ] {
            assert!(read(chunks, Length::Chunked).is_err(), "{chunks:?}");
        }
    }

    proptest! {
        #[test]
        fn no_chunks_panic(text in "[0-9a-f\r\n;xyz]{0,60}") {
            let _ = read(&text, Length::Chunked);
        }
    }
}
