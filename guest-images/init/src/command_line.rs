//! The kernel command line's words for init, parsed once for `boot`:
//!
//! - `plinth.root=DEVICE`: switch to the root file system on this device, and
//!   wait up to five seconds for it. Without the word, /dev/vda is taken if it
//!   exists and holds /sbin/init; `plinth.root=none` never looks.
//! - `plinth.run=COMMAND`: run COMMAND through the shell instead; bytes that
//!   a command line cannot carry are written as %XX (a space is %20).
//! - `plinth.then=poweroff|reboot|halt|panic|shell`: what follows the command
//!   or the shell; poweroff if unsaid.
//! - `plinth.ip=[NAME:]ADDRESS/PREFIX[,GATEWAY]`: configure an interface (eth0
//!   if unnamed); may be repeated.
//! - `ro`: mount the root file system read-only.
//!
//! A word that cannot be understood is kept as a complaint, not guessed at.

use crate::interface::Address;

/// What to do once the command or the shell is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Then {
    #[default]
    PowerOff,
    Reboot,
    Halt,
    Panic,
    Shell,
}

/// Which root file system to switch to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Root {
    /// The first disk, if it has an init.
    #[default]
    IfPresent,
    /// This device or a shell.
    Device(String),
    None,
}

/// The words, understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    pub(crate) root: Root,
    pub(crate) read_only: bool,
    pub(crate) run: Option<String>,
    pub(crate) then: Then,
    pub(crate) addresses: Vec<Address>,
    pub(crate) complaints: Vec<String>,
}

impl CommandLine {
    /// Parses the text of /proc/cmdline.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for word in text.split_whitespace() {
            if parsed.take(word).is_none() {
                parsed.complaints.push(word.to_owned());
            }
        }
        parsed
    }

    /// None where a word of ours has a value that makes no sense.
    fn take(&mut self, word: &str) -> Option<()> {
        match word.split_once('=') {
            Some(("plinth.root", "none")) => self.root = Root::None,
            Some(("plinth.root", device)) => self.root = Root::Device(device.to_owned()),
            Some(("plinth.run", command)) => self.run = Some(decode(command)?),
            Some(("plinth.then", then)) => {
                self.then = match then {
                    "poweroff" => Then::PowerOff,
                    "reboot" => Then::Reboot,
                    "halt" => Then::Halt,
                    "panic" => Then::Panic,
                    "shell" => Then::Shell,
                    _ => return None,
                }
            }
            Some(("plinth.ip", address)) => self.addresses.push(address.parse().ok()?),
            None if word == "ro" => self.read_only = true,
            _ if word.starts_with("plinth.") => return None,
            _ => {}
        }
        Some(())
    }
}

/// Undoes percent-encoding (RFC 3986 §2.1).
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high << 4 | low).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_left_alone() {
        let parsed = CommandLine::parse("console=ttyS0 panic=-1 root=/dev/sda quiet\n");
        assert_eq!(parsed, CommandLine::default());
    }

    #[test]
    fn a_command_keeps_its_spaces_and_quotes() {
        let parsed = CommandLine::parse("plinth.run=echo%20%22a%25b%22 plinth.then=reboot ro");
        assert_eq!(parsed.run.as_deref(), Some("echo \"a%b\""));
        assert_eq!(parsed.then, Then::Reboot);
        assert!(parsed.read_only);
    }

    #[test]
    fn root_is_a_device_or_none() {
        let parsed = CommandLine::parse("plinth.root=/dev/vdb");
        assert_eq!(parsed.root, Root::Device("/dev/vdb".to_owned()));
        assert_eq!(CommandLine::parse("plinth.root=none").root, Root::None);
    }

    #[test]
    fn addresses_add_up() {
        let parsed =
            CommandLine::parse("plinth.ip=10.0.0.2/24,10.0.0.1 plinth.ip=eth1:192.168.1.2/30");
        let names: Vec<_> = parsed.addresses.iter().map(|a| a.name.as_str()).collect();
        assert_eq!(names, ["eth0", "eth1"]);
    }

    #[test]
    fn nonsense_is_reported_and_not_guessed_at() {
        let text = "plinth.then=explode plinth.run=%2 plinth.run=%zz plinth.ip=1.2.3 plinth.rot=x";
        let parsed = CommandLine::parse(text);
        assert_eq!(parsed.complaints, text.split(' ').collect::<Vec<_>>());
        assert_eq!(parsed.run, None);
        assert_eq!(parsed.then, Then::PowerOff);
    }
}
