//! The escape sequences of an attached console: what the user says to
//! `plinth vm console` and not to the guest. They begin as `plinth run`'s do.

/// Ctrl-A.
const PREFIX: u8 = 0x01;

/// What Ctrl-A h shows.
pub(super) const HELP: &str = "\r\n\
    Ctrl-A d       detach; the machine runs on\r\n\
    Ctrl-A Ctrl-A  send Ctrl-A to the guest\r\n\
    Ctrl-A h       show this help\r\n";

/// One thing the user typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// A byte for the guest.
    Byte(u8),
    /// Detach.
    Detach,
    /// Show [`HELP`].
    Help,
}

/// The parser: remembers whether the last byte was a Ctrl-A.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Escape {
    prefixed: bool,
}

impl Escape {
    /// Calls `each` for everything that `bytes` completes, up to a request to
    /// detach. Ctrl-A with a byte that has no meaning reaches the guest as
    /// typed.
    pub(super) fn parse(&mut self, bytes: &[u8], mut each: impl FnMut(Typed)) {
        for &byte in bytes {
            if !self.prefixed && byte == PREFIX {
                self.prefixed = true;
                continue;
            }
            let prefixed = std::mem::take(&mut self.prefixed);
            match byte {
                b'd' if prefixed => return each(Typed::Detach),
                b'h' if prefixed => each(Typed::Help),
                PREFIX => each(Typed::Byte(PREFIX)),
                other => {
                    if prefixed {
                        each(Typed::Byte(PREFIX));
                    }
                    each(Typed::Byte(other));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(chunks: &[&[u8]]) -> Vec<Typed> {
        let (mut escape, mut typed) = (Escape::default(), Vec::new());
        for chunk in chunks {
            escape.parse(chunk, |t| typed.push(t));
        }
        typed
    }

    #[test]
    fn each_sequence_has_its_meaning() {
        use Typed::{Byte, Detach, Help};
        assert_eq!(parse(&[b"dh"]), [Byte(b'd'), Byte(b'h')]);
        assert_eq!(parse(&[b"\x01h\x01d", b""]), [Help, Detach]);
        assert_eq!(parse(&[b"\x01\x01d"]), [Byte(1), Byte(b'd')]);
        assert_eq!(parse(&[b"\x01x"]), [Byte(1), Byte(b'x')]);
        assert_eq!(parse(&[b"a\x01dignored"]), [Byte(b'a'), Detach]);
    }

    proptest! {
        #[test]
        fn where_the_input_is_torn_does_not_matter(
            input in prop::collection::vec(prop_oneof![Just(1u8), Just(b'h'), any::<u8>()], 0..50),
            at in any::<prop::sample::Index>(),
        ) {
            let input: Vec<u8> = input.into_iter().filter(|byte| *byte != b'd').collect();
            let (head, tail) = input.split_at(at.index(input.len() + 1));
            prop_assert_eq!(parse(&[head, tail]), parse(&[&input]));
        }
    }
}
