//! The console's escape sequences: what the user says to the machine and not
//! to the guest.
//!
//! Ctrl-A begins a sequence. Pure: bytes in, [`Typed`] out, so that a
//! sequence may be torn over any number of reads.

/// Ctrl-A.
const PREFIX: u8 = 0x01;

/// What Ctrl-A h shows.
pub const HELP: &str = "\r\n\
    Ctrl-A x       end the virtual machine\r\n\
    Ctrl-A c       send a break to the guest\r\n\
    Ctrl-A Ctrl-A  send Ctrl-A to the guest\r\n\
    Ctrl-A h       show this help\r\n";

/// One thing the user typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A byte for the guest.
    Byte(u8),
    /// Send a break.
    Break,
    /// End the machine.
    Quit,
    /// Show [`HELP`].
    Help,
}

/// The parser: remembers whether the last byte was a Ctrl-A.
#[derive(Clone, Copy, Debug, Default)]
pub struct Escape {
    prefixed: bool,
}

impl Escape {
    /// Calls `each` for everything that `bytes` completes, in order. Ctrl-A
    /// with a byte that has no meaning reaches the guest as typed; so at most
    /// one byte more than `bytes` holds comes out.
    pub fn parse(&mut self, bytes: &[u8], mut each: impl FnMut(Typed)) {
        for &byte in bytes {
            if !self.prefixed {
                if byte == PREFIX {
                    self.prefixed = true;
                } else {
                    each(Typed::Byte(byte));
                }
                continue;
            }
            self.prefixed = false;
            match byte {
                b'x' => each(Typed::Quit),
                b'c' => each(Typed::Break),
                b'h' => each(Typed::Help),
                PREFIX => each(Typed::Byte(PREFIX)),
                other => {
                    each(Typed::Byte(PREFIX));
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
    fn plain_bytes_pass() {
        assert_eq!(parse(&[b"xc"]), [Typed::Byte(b'x'), Typed::Byte(b'c')]);
    }

    #[test]
    fn each_sequence_has_its_meaning() {
        assert_eq!(parse(&[b"\x01x"]), [Typed::Quit]);
        assert_eq!(parse(&[b"\x01c"]), [Typed::Break]);
        assert_eq!(parse(&[b"\x01h"]), [Typed::Help]);
        assert_eq!(
            parse(&[b"\x01\x01x"]),
            [Typed::Byte(1), Typed::Byte(b'x')],
            "the second Ctrl-A ends the sequence"
        );
    }

    #[test]
    fn an_unknown_sequence_reaches_the_guest() {
        assert_eq!(parse(&[b"\x01l"]), [Typed::Byte(1), Typed::Byte(b'l')]);
    }

    proptest! {
        #[test]
        fn where_the_input_is_torn_does_not_matter(
            input in proptest::collection::vec(prop_oneof![Just(1u8), Just(b'x'), Just(b'c'), any::<u8>()], 0..50),
            at in any::<prop::sample::Index>(),
        ) {
            let (head, tail) = input.split_at(at.index(input.len() + 1));
            prop_assert_eq!(parse(&[head, tail]), parse(&[&input]));
        }
    }
}
