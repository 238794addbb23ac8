//! The keys of an attached console: what `plinth vm console` understands after
//! Ctrl-A. They do not end the machine.

use devices::console::escape::Keys;

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Detach.
    Detach,
    /// Show [`HELP`].
    Help,
}

/// The keys.
pub(super) const KEYS: Keys<Key> = &[(b'd', Key::Detach), (b'h', Key::Help)];

/// What Ctrl-A h shows.
pub(super) const HELP: &str = "\r\n\
    Ctrl-A d       detach; the machine runs on\r\n\
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
