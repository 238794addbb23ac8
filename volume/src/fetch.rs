//! How the process of a virtual machine asks a loader for blocks that are still
//! in a snapshot: messages on a socket of type SOCK_SEQPACKET.
//!
//! ```text
//! request  byte 0  4  block      answer  byte 0  4  block
//!               4  4  its wish                4  4  1 if `data` holds it now,
//!                                                   0 if it cannot be had
//! ```
//!
//! All numbers are little-endian. The loader writes the block into `data` before
//! it answers, and touches that block at no other time. Each request has one
//! answer, but for a [`Wish::Hurry`], which has none: once a block is answered
//! for, nobody is at it. A block that was answered for is not asked for again
//! unless it could not be had, or is lost.

/// Bytes of either message.
pub const SIZE: usize = 8;

/// Something is wished of the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// For which block.
    pub block: u32,
    /// What.
    pub wish: Wish,
}

/// What is wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The block, at the loader's rate. 0 in a message.
    Load,
    /// The block, at once: a guest waits for it. 1 in a message.
    Urgent,
    /// That the block which was asked for comes at once: now a guest waits for
    /// it. 2 in a message.
    Hurry,
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
        let wish = match self.wish {
            Wish::Load => 0,
            Wish::Urgent => 1,
            Wish::Hurry => 2,
        };
        encode(self.block, wish)
    }

    /// What was sent; `None` if that was no request.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let (block, wish) = decode(message)?;
        let wish = match wish {
            0 => Wish::Load,
            1 => Wish::Urgent,
            2 => Wish::Hurry,
            _ => return None,
        };
        Some(Self { block, wish })
    }
}

impl Answer {
    /// As it is sent.
    pub fn encode(self) -> [u8; SIZE] {
        encode(self.block, self.loaded.into())
    }

    /// What was sent; `None` if that was no answer.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let (block, loaded) = decode(message)?;
        let loaded = match loaded {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Self { block, loaded })
    }
}

fn encode(block: u32, what: u32) -> [u8; SIZE] {
    let mut message = [0; SIZE];
    message[..4].copy_from_slice(&block.to_le_bytes());
    message[4..].copy_from_slice(&what.to_le_bytes());
    message
}

fn decode(message: &[u8]) -> Option<(u32, u32)> {
    let (block, rest) = message.split_first_chunk()?;
    let what = rest.try_into().ok()?;
    Some((u32::from_le_bytes(*block), u32::from_le_bytes(what)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_sent_arrives(block: u32, loaded: bool) {
            for wish in [Wish::Load, Wish::Urgent, Wish::Hurry] {
                let request = Request { block, wish };
                prop_assert_eq!(Request::decode(&request.encode()), Some(request));
            }
            let answer = Answer { block, loaded };
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
