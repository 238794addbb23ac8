//! Events on their way to one client: a chunked body (RFC 9112 §7.1) of lines.
//!
//! A client that does not keep up misses events, and hears how many.

use std::time::SystemTime;

use super::connection::MAX_WAITING;
use super::event_line;

/// What begins the response. Nothing follows it on its connection.
pub(super) const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\
    Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

/// A client's stream.
#[derive(Debug, Default)]
pub(super) struct EventStream {
    lost: u64,
}

impl EventStream {
    /// Appends `line` to what waits for the client, if there is room.
    pub(super) fn tell(&mut self, line: &[u8], waiting: &mut Vec<u8>) {
        self.tell_lost(waiting);
        if self.lost > 0 || waiting.len() + line.len() > MAX_WAITING {
            self.lost += 1;
        } else {
            chunk(line, waiting);
        }
    }

    /// `count` events could not even be offered.
    pub(super) fn lose(&mut self, count: u64) {
        self.lost += count;
    }

    /// Appends how many events were lost, if any were and the client has
    /// caught up.
    pub(super) fn tell_lost(&mut self, waiting: &mut Vec<u8>) {
        if self.lost > 0 && waiting.is_empty() {
            let lost = std::mem::take(&mut self.lost);
            chunk(&event_line::lost(lost, SystemTime::now()), waiting);
        }
    }

    /// Appends the end.
    pub(super) fn end(mut self, waiting: &mut Vec<u8>) {
        self.tell_lost(waiting);
        waiting.extend(b"0\r\n\r\n");
    }
}

fn chunk(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(format!("{:x}\r\n", bytes.len()).as_bytes());
    out.extend(bytes);
    out.extend(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_told_before_anything_else() {
        let mut stream = EventStream::default();
        let mut waiting = Vec::new();
        let line = [b'x'; 1000];
        while stream.lost == 0 {
            assert!(waiting.len() <= MAX_WAITING);
            stream.tell(&line, &mut waiting);
        }
        // Nothing overtakes what was lost.
        stream.tell(b"z\n", &mut waiting);
        stream.lose(5);
        waiting.clear();
        stream.tell(b"y\n", &mut waiting);
        let text = String::from_utf8(waiting).unwrap();
        let (lost, rest) = text.split_once("\"count\":7}\n\r\n").unwrap();
        assert!(lost.contains("\"lost\""), "{lost}");
        assert_eq!(rest, "2\r\ny\n\r\n");
    }

    #[test]
    fn the_end_is_an_empty_chunk() {
        let mut waiting = Vec::new();
        EventStream::default().end(&mut waiting);
        assert_eq!(waiting, b"0\r\n\r\n");
    }
}
