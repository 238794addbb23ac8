//! The driver's requests and the device's responses (virtio 1.3 §5.15.6).

use super::blocks::State;
use crate::virtio::buffers::Buffers;

/// Bytes in a request.
const REQUEST: usize = 24;

/// Blocks, as a request names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) address: u64,
    pub(super) count: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Plug(Span),
    Unplug(Span),
    UnplugAll,
    State(Span),
    /// Of no known type.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Response {
    Done,
    State(State),
    /// More is not wanted now.
    Refused,
    /// The host cannot, for the time being.
    Busy,
    /// No driver should ask for this.
    Error,
}

impl Request {
    /// Reads a request; none if it is cut off.
    pub(super) fn read(buffer: &mut Buffers) -> Option<Self> {
        let mut bytes = [0; REQUEST];
        buffer.read(&mut bytes).ok()?;
        // le16 type, le16 padding[3], le64 addr, le16 nb_blocks.
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let address = bytes[8..16].try_into().expect("eight bytes");
        let span = Span {
            address: u64::from_le_bytes(address),
            count: word(16),
        };
        Some(match word(0) {
            0 => Self::Plug(span),
            1 => Self::Unplug(span),
            2 => Self::UnplugAll,
            3 => Self::State(span),
            _ => Self::Unknown,
        })
    }
}

impl Response {
    /// Bytes in a response.
    pub(super) const LEN: u16 = 10;

    /// Writes the response to `buffer`, which has room for it. Returns its
    /// length.
    pub(super) fn write(self, buffer: &mut Buffers) -> u32 {
        let (kind, state): (u16, u16) = match self {
            Self::Done | Self::State(State::Plugged) => (0, 0),
            Self::State(State::Unplugged) => (0, 1),
            Self::State(State::Mixed) => (0, 2),
            Self::Refused => (1, 0),
            Self::Busy => (2, 0),
            Self::Error => (3, 0),
        };
        // le16 type, le16 padding[3], le16 state.
        let mut bytes = [0; Self::LEN as usize];
        bytes[..2].copy_from_slice(&kind.to_le_bytes());
        bytes[8..].copy_from_slice(&state.to_le_bytes());
        buffer.write(&bytes).expect("there is room");
        Self::LEN.into()
    }
}
