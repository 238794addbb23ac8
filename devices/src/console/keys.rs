//! The keys of a console whose user may end the machine: what `plinth run`'s
//! terminal understands after Ctrl-A.

use super::escape::Keys;

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// End the machine.
    Quit,
    /// Send a break.
    Break,
    /// Show [`HELP`].
    Help,
}

/// The keys.
pub const KEYS: Keys<Key> = &[(b'x', Key::Quit), (b'c', Key::Break), (b'h', Key::Help)];

/// What Ctrl-A h shows.
pub const HELP: &str = "\r\n\
    Ctrl-A x       end the virtual machine\r\n\
    Ctrl-A c       send a break to the guest\r\n\
    Ctrl-A Ctrl-A  send Ctrl-A to the guest\r\n\
    Ctrl-A h       show this help\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_key() {
        for (key, _) in KEYS {
            let line = format!("\r\nCtrl-A {} ", char::from(*key));
            assert!(HELP.contains(&line), "{line}");
        }
    }
}
