//! The name of a host or of a domain, in the form that every resolver takes
//! (RFC 952, RFC 1123 §2.1): labels of letters, digits and hyphens.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Why text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing, or more than DNS has room for beside the network's domain.
    #[error("a host or domain name has 1 to {} characters", DnsName::MAX)]
    Length,
    /// A part between dots is not a label.
    #[error(
        "'{0}' cannot be part of a host or domain name: between dots are 1 to 63 letters, digits \
         and hyphens, no hyphen first or last"
    )]
    Label(String),
}

/// One or more labels, in lower case and without a dot at the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

impl DnsName {
    /// Most characters: with a host's label before it, and the length bytes of
    /// DNS, a domain of this many still is a name of at most 255 bytes
    /// (RFC 1035 §2.3.4), and fits a DHCP message.
    pub const MAX: usize = 128;

    /// The name that a host has by its address, `ip-10-0-1-5` (as on EC2).
    pub fn of_address(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self(format!("ip-{a}-{b}-{c}-{d}"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first dot.
    pub fn first_label(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }

    /// This name in `domain`; as it is if it has more than one label, for then
    /// it says itself where it belongs.
    #[must_use]
    pub fn within(&self, domain: Option<&Self>) -> String {
        match domain {
            Some(domain) if !self.0.contains('.') => format!("{self}.{domain}"),
            _ => self.0.clone(),
        }
    }
}

impl FromStr for DnsName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if text.is_empty() || text.len() > Self::MAX {
            return Err(BadName::Length);
        }
        match text.split('.').find(|label| !is_label(label)) {
            Some(label) => Err(BadName::Label(label.to_owned())),
            None => Ok(Self(text.to_ascii_lowercase())),
        }
    }
}

fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let hyphen = text.starts_with('-') || text.ends_with('-');
    matches!(text.len(), 1..=63) && !hyphen && text.bytes().all(allowed)
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_labels_in_lower_case() {
        let name: DnsName = "Web-1.Example".parse().unwrap();
        assert_eq!(
            (name.as_str(), name.first_label()),
            ("web-1.example", "web-1")
        );
        let longest = "x".repeat(63);
        assert!(longest.parse::<DnsName>().is_ok());
        for text in [
            "",
            ".",
            "a.",
            "a..b",
            "-a",
            "a-",
            "a_b",
            "a b",
            "\u{e9}",
            &"x".repeat(64),
        ] {
            assert!(text.parse::<DnsName>().is_err(), "{text:?}");
        }
        assert_eq!(
            "a.".repeat(64).parse::<DnsName>(),
            Err(BadName::Label("".into()))
        );
        assert_eq!("a.".repeat(65).parse::<DnsName>(), Err(BadName::Length));
    }

    #[test]
    fn a_single_label_is_completed_by_a_domain() {
        let domain: DnsName = "net.internal".parse().unwrap();
        let name = DnsName::of_address([10, 0, 1, 5].into());
        assert_eq!(name.within(Some(&domain)), "ip-10-0-1-5.net.internal");
        assert_eq!(name.within(None), "ip-10-0-1-5");
        assert_eq!(domain.within(Some(&domain)), "net.internal");
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_not(text in ".{0,140}") {
            if let Ok(name) = text.parse::<DnsName>() {
                prop_assert_eq!(name.as_str().parse(), Ok(name));
            }
        }
    }
}
