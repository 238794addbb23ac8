//! Escape sequences of a terminal that is a guest's console: what the user
//! says to the program in between and not to the guest.
//!
//! Ctrl-A begins a sequence, and a key ends it; which keys mean what is for
//! the caller to say, the console of `plinth run` with its
//! [`keys`](super::keys) and `plinth vm console` with its own. Pure: bytes in,
//! [`Typed`] out, so that a sequence may be torn over any number of reads.

/// Ctrl-A.
const PREFIX: u8 = 0x01;

/// What keys after Ctrl-A mean, each with its meaning. Ctrl-A itself is none:
/// after another it is one for the guest.
pub type Keys<M> = &'static [(u8, M)];

/// One thing the user typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed<M> {
    /// A byte for the guest.
    Byte(u8),
    /// A key after Ctrl-A, by its meaning.
    Key(M),
}

/// The parser: remembers whether the last byte was a Ctrl-A.
#[derive(Clone, Copy, Debug)]
pub struct Escape<M: 'static> {
    keys: Keys<M>,
    prefixed: bool,
}

impl<M: Copy> Escape<M> {
    /// A parser for sequences that end with one of `keys`.
    pub fn new(keys: Keys<M>) -> Self {
        Self {
            keys,
            prefixed: false,
        }
    }

    /// Calls `each` for everything that `bytes` completes, in order. Ctrl-A
    /// with a byte that has no meaning reaches the guest as typed; so at most
    /// one byte more than `bytes` holds comes out.
    pub fn parse(&mut self, bytes: &[u8], mut each: impl FnMut(Typed<M>)) {
        for &byte in bytes {
            if !self.prefixed && byte == PREFIX {
                self.prefixed = true;
                continue;
            }
            let prefixed = std::mem::take(&mut self.prefixed);
            match self.keys.iter().find(|(key, _)| prefixed && *key == byte) {
                Some((_, meaning)) => each(Typed::Key(*meaning)),
                None if prefixed && byte != PREFIX => {
                    each(Typed::Byte(PREFIX));
                    each(Typed::Byte(byte));
                }
                None => each(Typed::Byte(byte)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Typed::{Byte, Key};
    use super::*;
    use proptest::prelude::*;

    fn parse(chunks: &[&[u8]]) -> Vec<Typed<char>> {
        let mut escape = Escape::new(&[(b'x', 'X'), (b'h', 'H')]);
        let mut typed = Vec::new();
        for chunk in chunks {
            escape.parse(chunk, |t| typed.push(t));
        }
        typed
    }

    #[test]
    fn plain_bytes_pass() {
        assert_eq!(parse(&[b"xh"]), [Byte(b'x'), Byte(b'h')]);
    }

    #[test]
    fn a_key_after_ctrl_a_has_its_meaning() {
        assert_eq!(parse(&[b"\x01x\x01h"]), [Key('X'), Key('H')]);
        assert_eq!(parse(&[b"\x01xx"]), [Key('X'), Byte(b'x')]);
        assert_eq!(
            parse(&[b"\x01\x01x"]),
            [Byte(1), Byte(b'x')],
            "the second Ctrl-A ends the sequence"
        );
    }

    #[test]
    fn an_unknown_sequence_reaches_the_guest() {
        assert_eq!(parse(&[b"\x01l"]), [Byte(1), Byte(b'l')]);
    }

    proptest! {
        #[test]
        fn where_the_input_is_torn_does_not_matter(
            input in prop::collection::vec(prop_oneof![Just(1u8), Just(b'x'), Just(b'h'), any::<u8>()], 0..50),
            at in any::<prop::sample::Index>(),
        ) {
            let (head, tail) = input.split_at(at.index(input.len() + 1));
            prop_assert_eq!(parse(&[head, tail]), parse(&[&input]));
        }
    }
}
