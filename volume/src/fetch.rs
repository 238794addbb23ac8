//! How the process of a virtual machine asks a loader for blocks that are still
//! in a snapshot: messages on a socket of type SOCK_SEQPACKET.
//!
//! ```text
//! request  byte 0  4  block      answer  byte 0  4  block
//!               4  4  1 if a guest            4  4  1 if `data` holds it now,
//!                     waits, else 0                 0 if it cannot be had
//! ```
//!
//! All numbers are little-endian. The loader writes the block into `data` before
//! it answers, and touches that block at no other time. A block that is asked
//! for again, because now a guest waits, is answered once or twice.

/// Bytes of either message.
pub const SIZE: usize = 8;

/// A block is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which.
    pub block: u32,
    /// A guest waits for it; else the loader keeps to its rate.
    pub urgent: bool,
}

/// A block was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which.
    pub block: u32,
    /// Whether `data` holds it now.
    pub loaded: bool,
}

impl Request {
    /// As it is sent.
    pub fn encode(self) -> [u8; SIZE] {
        encode(self.block, self.urgent)
    }

    /// What was sent; `None` if that was no request.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let (block, urgent) = decode(message)?;
        Some(Self { block, urgent })
    }
}

impl Answer {
    /// As it is sent.
    pub fn encode(self) -> [u8; SIZE] {
        encode(self.block, self.loaded)
    }

    /// What was sent; `None` if that was no answer.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let (block, loaded) = decode(message)?;
        Some(Self { block, loaded })
    }
}

fn encode(block: u32, flag: bool) -> [u8; SIZE] {
    let mut message = [0; SIZE];
    message[..4].copy_from_slice(&block.to_le_bytes());
    message[4] = u8::from(flag);
    message
}

fn decode(message: &[u8]) -> Option<(u32, bool)> {
    let (block, rest) = message.split_first_chunk()?;
    let flag = match rest {
        [0, 0, 0, 0] => false,
        [1, 0, 0, 0] => true,
        _ => return None,
    };
    Some((u32::from_le_bytes(*block), flag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_sent_arrives(block: u32, urgent: bool) {
            let request = Request { block, urgent };
            prop_assert_eq!(Request::decode(&request.encode()), Some(request));
            let answer = Answer { block, loaded: urgent };
            prop_assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }

        #[test]
        fn anything_else_is_no_message(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Some(request) = Request::decode(&bytes) {
                prop_assert_eq!(request.encode().to_vec(), bytes);
            }
        }
    }
}
