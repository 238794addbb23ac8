//! The instance: all that a guest can be told about itself, in valid values.
//! Every way of telling it is derived from here.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::SystemTime;

use crate::id::InstanceId;
use crate::interface::Interface;
use crate::name::DnsName;
use crate::options::Options;
use crate::ssh_key::SshKey;
use crate::text::Line;
use crate::user_data::UserData;

/// What a guest is told about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// What it is called.
    pub id: InstanceId,
    /// What its user calls it; if nothing, it has a name by its address.
    pub hostname: Option<DnsName>,
    /// The domain that completes its name.
    pub domain: Option<DnsName>,
    /// Its type, such as `t3.micro`.
    pub kind: Line,
    /// The image that it began from, `ami-…`.
    pub image: Line,
    /// Where it is.
    pub placement: Placement,
    /// Whose it is: an account's 12 digits.
    pub owner: Line,
    /// When it was started.
    pub launched: SystemTime,
    /// What its user hands it.
    pub user_data: Option<UserData>,
    /// Who may log in.
    pub ssh_keys: Vec<SshKey>,
    /// Its network interfaces, in any order.
    pub interfaces: Vec<Interface>,
    /// Its disks: what they are to it (`root`, `ami`, `ebs1`, …) and their
    /// device names.
    pub block_devices: BTreeMap<Part, Line>,
    /// What its user marked it with.
    pub tags: BTreeMap<Part, Line>,
    /// How the service treats it.
    pub options: Options,
}

/// Where an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The region.
    pub region: Line,
    /// The availability zone in it.
    pub zone: Line,
    /// The zone's id, which is the same for all accounts.
    pub zone_id: Line,
}

impl Instance {
    /// The first interface, if there is any.
    pub fn primary(&self) -> Option<&Interface> {
        self.interfaces.iter().min_by_key(|one| one.device_number)
    }

    /// The address that it is known by, if it has one.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.primary()?.addresses.first().copied()
    }

    /// Its name with its domain, if it has a name at all.
    pub fn full_name(&self) -> Option<String> {
        let by_address = || self.address().map(DnsName::of_address);
        let name = self.hostname.clone().or_else(by_address)?;
        Some(name.within(self.domain.as_ref()))
    }
}

/// Text that cannot be part of a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' cannot be in the metadata: that takes 1 to 255 letters, digits and characters of \
     '+-.,_:@', and neither '.', '..' nor '_index'"
)]
pub struct BadPart(String);

/// A part of a path in the tree: a tag's key, or what a disk is. The rule is
/// that of EC2 for tags in metadata, without `=`, which readers of listings take
/// for the end of an SSH key's number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part(String);

impl Part {
    /// Takes `text` as it is.
    ///
    /// # Errors
    /// It cannot be part of a path.
    pub fn new(text: impl Into<String>) -> Result<Self, BadPart> {
        let text = text.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.,_:@".contains(&byte);
        let reserved = [".", "..", "_index"].contains(&text.as_str());
        if matches!(text.len(), 1..=255) && text.bytes().all(allowed) && !reserved {
            return Ok(Self(text));
        }
        Err(BadPart(text.chars().take(64).collect()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn without_a_name_an_instance_is_called_by_its_address() {
        let mut instance = fixture::instance();
        assert_eq!(instance.full_name().unwrap(), "web.region-1.internal");
        instance.hostname = None;
        assert_eq!(
            instance.full_name().unwrap(),
            "ip-10-0-1-5.region-1.internal"
        );
        instance.interfaces.clear();
        assert_eq!(instance.full_name(), None);
    }

    #[test]
    fn the_first_interface_is_the_one_with_the_lowest_number() {
        let mut instance = fixture::instance();
        instance.interfaces.reverse();
        assert_eq!(instance.address(), Some([10, 0, 1, 5].into()));
    }

    #[test]
    fn parts_of_paths_cannot_leave_their_place() {
        assert!(Part::new("Name").is_ok());
        for text in [
            "",
            ".",
            "..",
            "_index",
            "a/b",
            "a b",
            "a=b",
            "a\nb",
            &"x".repeat(256),
        ] {
            assert!(Part::new(text).is_err(), "{text:?}");
        }
    }
}
