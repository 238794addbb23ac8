//! The header of a vsock packet (virtio 1.3 §5.10.6): who speaks to whom, what
//! the packet means, and how much its sender may be sent.
//!
//! Plain values, as the driver wrote them: the
//! [`switchboard`](super::switchboard) judges them.

/// Bytes of a header.
pub(super) const SIZE: usize = 44;

/// The context id of the host (§5.10.4).
pub(super) const HOST_CID: u64 = 2;

/// The one type of packet there is here: of a stream (§5.10.6.2).
pub(super) const STREAM: u16 = 1;

/// What a packet means (§5.10.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Asks for a connection.
    Request,
    /// Accepts one.
    Response,
    /// Refuses or ends one.
    Reset,
    /// Says what its sender will not do any more, in [`Header::flags`].
    Shutdown,
    /// Carries data.
    Data,
    /// Carries nothing but the sender's credit, as every packet does.
    CreditUpdate,
    /// Asks for that.
    CreditRequest,
    /// A number that means nothing.
    Unknown(u16),
}

impl Operation {
    fn number(self) -> u16 {
        match self {
            Self::Request => 1,
            Self::Response => 2,
            Self::Reset => 3,
            Self::Shutdown => 4,
            Self::Data => 5,
            Self::CreditUpdate => 6,
            Self::CreditRequest => 7,
            Self::Unknown(number) => number,
        }
    }
}

impl From<u16> for Operation {
    fn from(number: u16) -> Self {
        match number {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Reset,
            4 => Self::Shutdown,
            5 => Self::Data,
            6 => Self::CreditUpdate,
            7 => Self::CreditRequest,
            other => Self::Unknown(other),
        }
    }
}

/// Flags of [`Operation::Shutdown`] (§5.10.6.6).
pub(super) mod shutdown {
    /// The sender will receive nothing more.
    pub(in crate::vsock) const RECEIVE: u32 = 1;
    /// The sender will send nothing more.
    pub(in crate::vsock) const SEND: u32 = 2;
    /// Both.
    pub(in crate::vsock) const BOTH: u32 = RECEIVE | SEND;
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) source_cid: u64,
    pub(super) destination_cid: u64,
    pub(super) source_port: u32,
    pub(super) destination_port: u32,
    /// Bytes of data that follow.
    pub(super) len: u32,
    /// [`STREAM`], if all is well.
    pub(super) kind: u16,
    pub(super) operation: Operation,
    pub(super) flags: u32,
    /// Bytes that the sender has room for, taken or not.
    pub(super) buffer_size: u32,
    /// Bytes that have left the sender's buffer so far, modulo 2^32.
    pub(super) forwarded: u32,
}

impl Header {
    /// Reads a header as it lies in memory, little-endian and packed.
    pub(super) fn parse(bytes: &[u8; SIZE]) -> Self {
        let long = |at| u64::from_le_bytes(field(bytes, at));
        let word = |at| u32::from_le_bytes(field(bytes, at));
        let half = |at| u16::from_le_bytes(field(bytes, at));
        Self {
            source_cid: long(0),
            destination_cid: long(8),
            source_port: word(16),
            destination_port: word(20),
            len: word(24),
            kind: half(28),
            operation: half(30).into(),
            flags: word(32),
            buffer_size: word(36),
            forwarded: word(40),
        }
    }

    /// The header as it lies in memory.
    pub(super) fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &self.source_cid.to_le_bytes());
        put(8, &self.destination_cid.to_le_bytes());
        put(16, &self.source_port.to_le_bytes());
        put(20, &self.destination_port.to_le_bytes());
        put(24, &self.len.to_le_bytes());
        put(28, &self.kind.to_le_bytes());
        put(30, &self.operation.number().to_le_bytes());
        put(32, &self.flags.to_le_bytes());
        put(36, &self.buffer_size.to_le_bytes());
        put(40, &self.forwarded.to_le_bytes());
        bytes
    }

    /// The answer that refuses this packet: back to where it came from.
    pub(super) fn refusal(&self) -> Self {
        Self {
            source_cid: self.destination_cid,
            destination_cid: self.source_cid,
            source_port: self.destination_port,
            destination_port: self.source_port,
            len: 0,
            kind: self.kind,
            operation: Operation::Reset,
            flags: 0,
            buffer_size: 0,
            forwarded: 0,
        }
    }
}

fn field<const N: usize>(bytes: &[u8; SIZE], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        let mut bytes = [0; SIZE];
        for (byte, at) in bytes.iter_mut().zip(0..) {
            *byte = at;
        }
        let header = Header::parse(&bytes);
        assert_eq!(header.source_cid, 0x0706_0504_0302_0100);
        assert_eq!(header.destination_port, 0x1716_1514);
        assert_eq!(header.kind, 0x1d1c);
        assert_eq!(header.operation, Operation::Unknown(0x1f1e));
        assert_eq!(header.forwarded, 0x2b2a_2928);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_header_and_back(bytes in any::<[u8; 22]>(), more in any::<[u8; 22]>()) {
            let mut whole = [0; SIZE];
            whole[..22].copy_from_slice(&bytes);
            whole[22..].copy_from_slice(&more);
            // Known operations are rare among random numbers.
            whole[30] %= 9;
            prop_assert_eq!(Header::parse(&whole).to_bytes(), whole);
        }
    }
}
