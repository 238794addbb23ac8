//! A network interface: `tap=NAME[,mac=MAC][,mtu=N]`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::Invalid;
use super::list::OptionList;
use super::mac::Mac;

/// The MTUs a device may announce, in bytes (virtio 1.3 §5.1.4.1).
const MTU: RangeInclusive<u16> = 68..=65535;

/// The longest name of a network interface, in bytes (IFNAMSIZ less the zero).
const NAME_LONGEST: usize = 15;

/// The name of a network interface of the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapName(String);

impl TapName {
    /// The text: 1 to 15 bytes, neither a slash nor a space among them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TapName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // As the kernel's dev_valid_name, and ASCII; `%` would be a template
        // that the kernel numbers.
        let valid = (1..=NAME_LONGEST).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic())
            && !text.contains(['/', ':', '%'])
            && text != "."
            && text != "..";
        if !valid {
            return Err(Invalid::new(format!(
                "'{text}' cannot be the name of a network interface (1 to {NAME_LONGEST} characters)"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A network interface as the user asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetOption {
    /// The host's end: an existing tap.
    pub tap: TapName,
    /// The guest's address; derived from the host's and the tap's names if
    /// not given.
    pub mac: Option<Mac>,
    /// The MTU announced to the guest, in bytes; none if not given.
    pub mtu: Option<u16>,
}

impl FromStr for NetOption {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut list = OptionList::parse(text)?;
        let tap = list
            .value("tap")?
            .ok_or_else(|| Invalid::new("tap=NAME is missing: the host's end of the cable"))?;
        let net = Self {
            tap: tap.parse()?,
            mac: list.value("mac")?.map(|mac| mac.parse()).transpose()?,
            mtu: list.value("mtu")?.map(|mtu| parse_mtu(&mtu)).transpose()?,
        };
        list.finish("tap=NAME, mac=MAC and mtu=N")?;
        Ok(net)
    }
}

fn parse_mtu(text: &str) -> Result<u16, Invalid> {
    let mtu = text.parse().ok().filter(|mtu| MTU.contains(mtu));
    mtu.ok_or_else(|| {
        Invalid::new(format!(
            "'{text}' is no MTU: it is {} to {} bytes",
            MTU.start(),
            MTU.end()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<NetOption>().unwrap_err().to_string()
    }

    #[test]
    fn only_the_tap_is_needed() {
        let net: NetOption = "tap=tap0".parse().unwrap();
        assert_eq!(net.tap.as_str(), "tap0");
        assert_eq!((net.mac, net.mtu), (None, None));
        let net: NetOption = "mtu=9000,mac=02:00:00:00:00:01,tap=t".parse().unwrap();
        assert_eq!(net.mtu, Some(9000));
        assert_eq!(net.mac.unwrap().octets(), [2, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn mistakes_are_explained() {
        assert!(error("").contains("empty"));
        assert!(error("mtu=1500").contains("tap=NAME is missing"));
        assert!(error("tap0").contains("tap=NAME is missing"));
        assert!(error("tap=0123456789abcdef").contains("1 to 15 characters"));
        for name in ["../x", "a b", "tap%d", ".", "a:b"] {
            assert!(error(&format!("tap={name}")).contains("cannot be the name"));
        }
        assert!(error("tap=t,mac=nonsense").contains("no MAC address"));
        for mtu in ["0", "67", "65536", "big"] {
            assert!(error(&format!("tap=t,mtu={mtu}")).contains("68 to 65535"));
        }
        assert!(error("tap=t,speed=1").contains("'speed' is not known"));
    }
}
