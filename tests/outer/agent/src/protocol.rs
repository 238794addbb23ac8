//! The frames between host and agent: one kind byte, a little-endian length,
//! the payload. Spoken over virtio-serial (and, one way, over a UART).
//!
//! Commands run one at a time. The host sends `Run`, then any number of
//! `Stdin` and at most one `Kill`; the agent answers with output and beats,
//! and ends with exactly one `Exited` or `Refused`. No answer means that the
//! outer machine failed, never that the command passed.

use std::fmt;

/// No payload is longer; a longer one means that the stream is not ours.
const MAX_PAYLOAD: usize = 1 << 20;
const HEADER: usize = 5;

/// How much output one frame carries at most, in bytes.
pub const CHUNK: usize = 64 << 10;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// To the host: set up, waiting for commands.
    Ready,
    /// To the agent: run this.
    Run(Run),
    /// To the agent: input for the command; empty at its end.
    Stdin(Vec<u8>),
    /// To the agent: kill the command.
    Kill,
    /// To the agent: power off.
    PowerOff,
    /// To the host: what the command wrote to standard output.
    Stdout(Vec<u8>),
    /// To the host: what the command wrote to standard error.
    Stderr(Vec<u8>),
    /// To the host, every second while a command runs: still alive.
    Beat,
    /// To the host: the command ended, with this status as of wait(2).
    Exited(i32),
    /// To the host: the command could not be started, and why.
    Refused(String),
}

/// A command to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Program and arguments; not empty.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment, as `NAME=value`.
    pub env: Vec<Vec<u8>>,
    /// Working directory.
    pub cwd: Vec<u8>,
    /// Give it a terminal of this many rows and columns.
    pub terminal: Option<(u16, u16)>,
}

/// The stream does not hold frames of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed frame")
    }
}

impl std::error::Error for Malformed {}

impl Frame {
    /// The frame's bytes on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, payload) = match self {
            Self::Ready => (0, Vec::new()),
            Self::Run(run) => (1, run.encode()),
            Self::Stdin(bytes) => (2, bytes.clone()),
            Self::Kill => (3, Vec::new()),
            Self::PowerOff => (4, Vec::new()),
            Self::Stdout(bytes) => (5, bytes.clone()),
            Self::Stderr(bytes) => (6, bytes.clone()),
            Self::Beat => (7, Vec::new()),
            Self::Exited(status) => (8, status.to_le_bytes().to_vec()),
            Self::Refused(why) => (9, why.clone().into_bytes()),
        };
        let mut bytes = vec![kind];
        bytes.extend(length(&payload));
        bytes.extend(payload);
        bytes
    }

    fn decode(kind: u8, payload: &[u8]) -> Result<Self, Malformed> {
        let bytes = || payload.to_vec();
        Ok(match kind {
            0 => Self::Ready,
            1 => Self::Run(Run::decode(payload).ok_or(Malformed)?),
            2 => Self::Stdin(bytes()),
            3 => Self::Kill,
            4 => Self::PowerOff,
            5 => Self::Stdout(bytes()),
            6 => Self::Stderr(bytes()),
            7 => Self::Beat,
            8 => Self::Exited(i32::from_le_bytes(
                payload.try_into().map_err(|_| Malformed)?,
            )),
            9 => Self::Refused(String::from_utf8_lossy(payload).into_owned()),
            _ => return Err(Malformed),
        })
    }
}

impl Run {
    fn encode(&self) -> Vec<u8> {
        let (rows, columns) = self.terminal.unwrap_or_default();
        let mut out = Vec::new();
        out.extend(rows.to_le_bytes());
        out.extend(columns.to_le_bytes());
        out.extend(length(&self.argv));
        for text in [&self.cwd].into_iter().chain(&self.argv).chain(&self.env) {
            out.extend(length(text));
            out.extend(text);
        }
        out
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let (rows, rest) = payload.split_first_chunk()?;
        let (columns, rest) = rest.split_first_chunk()?;
        let (count, mut rest) = split_length(rest)?;
        let terminal = (u16::from_le_bytes(*rows), u16::from_le_bytes(*columns));
        let mut texts = Vec::new();
        while !rest.is_empty() {
            let (size, tail) = split_length(rest)?;
            let (text, tail) = tail.split_at_checked(size)?;
            texts.push(text.to_vec());
            rest = tail;
        }
        let mut texts = texts.into_iter();
        let cwd = texts.next()?;
        let argv: Vec<_> = texts.by_ref().take(count).collect();
        (count > 0 && argv.len() == count).then_some(Self {
            argv,
            env: texts.collect(),
            cwd,
            terminal: (terminal != (0, 0)).then_some(terminal),
        })
    }
}

/// Puts frames together from a stream that arrives in pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend(bytes);
    }

    /// The next frame, if it is complete.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Malformed> {
        let Some((header, rest)) = self.pending.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let (size, _) = split_length(&header[1..]).ok_or(Malformed)?;
        if size > MAX_PAYLOAD {
            return Err(Malformed);
        }
        let Some(payload) = rest.get(..size) else {
            return Ok(None);
        };
        let frame = Frame::decode(header[0], payload)?;
        self.pending.drain(..HEADER + size);
        Ok(Some(frame))
    }
}

fn length<T>(items: &[T]) -> [u8; 4] {
    u32::try_from(items.len())
        .expect("a frame stays far below 4 GiB")
        .to_le_bytes()
}

fn split_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (size, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*size)).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Ready,
            Frame::Run(Run {
                argv: vec![b"sh".to_vec(), b"-c".to_vec(), b"".to_vec()],
                env: vec![b"A=b c".to_vec()],
                cwd: b"/".to_vec(),
                terminal: Some((24, 80)),
            }),
            Frame::Stdin(Vec::new()),
            Frame::Kill,
            Frame::PowerOff,
            Frame::Stdout(b"out\0\n".to_vec()),
            Frame::Stderr(vec![0xff; CHUNK]),
            Frame::Beat,
            Frame::Exited(-1),
            Frame::Refused("no such file".to_owned()),
        ]
    }

    #[test]
    fn frames_survive_a_stream_of_odd_pieces() {
        let stream: Vec<u8> = frames().iter().flat_map(Frame::encode).collect();
        for piece in [1, 7, stream.len()] {
            let mut decoder = Decoder::default();
            let mut decoded = Vec::new();
            for bytes in stream.chunks(piece) {
                decoder.push(bytes);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    decoded.push(frame);
                }
            }
            assert_eq!(decoded, frames());
        }
    }

    #[test]
    fn noise_is_refused() {
        for noise in [
            &b"\x63\0\0\0\0"[..],
            b"\x05\xff\xff\xff\xff",
            b"\x08\x01\0\0\0x",
        ] {
            let mut decoder = Decoder::default();
            decoder.push(noise);
            assert_eq!(decoder.next_frame(), Err(Malformed));
        }
    }

    #[test]
    fn a_run_cut_short_is_refused() {
        let whole = match &frames()[1] {
            Frame::Run(run) => run.encode(),
            _ => unreachable!(),
        };
        // Cutting whole texts off the end only shortens the environment.
        let argv_end = whole.len() - (4 + 5);
        for end in (0..whole.len()).filter(|end| *end != argv_end) {
            assert_eq!(Run::decode(&whole[..end]), None, "cut at {end}");
        }
    }
}
