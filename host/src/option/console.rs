//! The guest's console: `stdio`, `socket`, `file=PATH` or `none`, and
//! `,device=serial|virtio`.

use std::path::PathBuf;
use std::str::FromStr;

use super::Invalid;
use super::list::{OptionList, split_first};

/// The console as the user asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsoleOption {
    /// Where it goes.
    pub end: ConsoleEnd,
    /// What the guest has.
    pub device: ConsoleDevice,
}

/// Where a console goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConsoleEnd {
    /// This terminal, both ways.
    #[default]
    Stdio,
    /// Whoever attaches with `plinth vm console`, both ways.
    Socket,
    /// Output goes to a file; there is no input.
    File(PathBuf),
    /// The guest has no console.
    None,
}

/// What a console is to the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsoleDevice {
    /// A serial port, which shows a boot from its first line: ttyS0.
    #[default]
    Serial,
    /// A virtio console, which costs the guest less: hvc0.
    Virtio,
}

impl ConsoleDevice {
    /// The kernel's command line for a guest that is told nothing else.
    pub fn command_line(self) -> &'static str {
        match self {
            Self::Serial => "console=ttyS0",
            Self::Virtio => "console=hvc0",
        }
    }
}

impl FromStr for ConsoleOption {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (end, rest) = split_first(text);
        let end = match (end.as_str(), end.strip_prefix("file=")) {
            ("stdio", _) => ConsoleEnd::Stdio,
            ("socket", _) => ConsoleEnd::Socket,
            ("none", _) => ConsoleEnd::None,
            (_, Some(path)) if !path.is_empty() => ConsoleEnd::File(path.into()),
            _ => {
                return Err(Invalid::new(
                    "a console is stdio, socket, file=PATH or none",
                ));
            }
        };
        let mut device = ConsoleDevice::default();
        if let Some(rest) = rest {
            let mut list = OptionList::parse(rest)?;
            device = match list.value("device")?.as_deref() {
                None | Some("serial") => ConsoleDevice::Serial,
                Some("virtio") => ConsoleDevice::Virtio,
                Some(other) => {
                    return Err(Invalid::new(format!(
                        "'{other}' is not a console's device: there are serial and virtio"
                    )));
                }
            };
            list.finish("device=serial and device=virtio")?;
            if end == ConsoleEnd::None {
                return Err(Invalid::new("a console that is none is no device"));
            }
        }
        Ok(Self { end, device })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConsoleOption, String> {
        text.parse().map_err(|error: Invalid| error.to_string())
    }

    fn serial(end: ConsoleEnd) -> Result<ConsoleOption, String> {
        Ok(ConsoleOption {
            end,
            device: ConsoleDevice::Serial,
        })
    }

    #[test]
    fn there_are_four_ends() {
        assert_eq!(parse("stdio"), serial(ConsoleEnd::Stdio));
        assert_eq!(parse("socket"), serial(ConsoleEnd::Socket));
        assert_eq!(parse("none"), serial(ConsoleEnd::None));
        let file = ConsoleEnd::File("a,b=c".into());
        assert_eq!(parse("file=a,,b=c"), serial(file));
        for text in ["", "file=", "file", "pty", "stdio,x", "none,device=virtio"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn there_are_two_devices() {
        assert_eq!(parse("stdio,device=serial"), serial(ConsoleEnd::Stdio));
        let virtio = parse("file=a,device=virtio").unwrap();
        assert_eq!(virtio.end, ConsoleEnd::File("a".into()));
        assert_eq!(virtio.device.command_line(), "console=hvc0");
        assert!(
            parse("stdio,device=pty")
                .unwrap_err()
                .contains("serial and virtio")
        );
        assert!(
            parse("stdio,devise=virtio")
                .unwrap_err()
                .contains("not known")
        );
    }
}
