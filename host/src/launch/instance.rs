//! What a machine on a network with a metadata service is to its guest: an
//! instance, and one that its firmware says is EC2's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metadata::id::InstanceId;
use metadata::text::Line;
use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};
use vmm::{Identity, Text};

use crate::error::Error;
use crate::switch::instance::InstanceRecord;

use super::Specification;
use super::seed::Told;

/// The instance that a machine is.
///
/// Its id is a hash of what it is called and told: one that starts again with the
/// same is the same to cloud-init, as a stopped instance is on EC2. A machine
/// without a name is another at every start.
///
/// # Errors
/// The kernel has no random numbers.
pub fn instance(specification: &Specification, told: Told) -> Result<InstanceRecord, Error> {
    let owner = &specification.owner;
    let host = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id = match owner.is_empty() {
        true => random()?,
        false => hashed(&format!(
            "instance {} {owner} {}",
            host.trim(),
            told.seed().id()
        )),
    };
    let image = hashed(&format!("image {}", specification.kernel.display()));
    let cpus = specification.cpus.get();
    let mebibytes = specification.memory.layout.bytes() >> 20;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(InstanceRecord {
        id: InstanceId::from_bytes(id),
        device_number: 0,
        hostname: told.hostname,
        kind: line(&format!("plinth.{cpus}cpu.{mebibytes}mib")),
        image: line(
            &InstanceId::from_bytes(image)
                .to_string()
                .replace("i-", "ami-"),
        ),
        launched: UNIX_EPOCH + Duration::from_secs(now.map_or(0, |now| now.as_secs())),
        user_data: told.user_data,
        ssh_keys: told.ssh_keys,
        options: specification.metadata,
    })
}

/// What the guest of `instance` reads about its machine, by which clients know
/// where they are: a UUID that begins with `ec2` and is the serial number, too (EC2,
/// "Detect whether a host is an EC2 instance"; cloud-init, ds-identify).
pub fn identity(instance: &InstanceRecord) -> Identity {
    let mut uuid = hashed(&instance.id.to_string());
    uuid[0] = 0xec;
    uuid[1] = 0x20 | (uuid[1] & 0xf);
    // One of version 4, by its look (RFC 9562 §5.4).
    uuid[6] = 0x40 | (uuid[6] & 0xf);
    uuid[8] = 0x80 | (uuid[8] & 0x3f);
    Identity {
        manufacturer: text("Amazon EC2"),
        product: text(instance.kind.as_str()),
        version: text(""),
        serial: text(&written(uuid)),
        uuid,
        asset_tag: Some(text(&instance.id.to_string())),
    }
}

/// Groups of 8, 4, 4, 4 and 12 hexadecimal digits (RFC 9562 §4).
fn written(uuid: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(uuid));
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|group| &digits[group]);
    groups.join("-")
}

fn random() -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    let drawn = retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()));
    drawn.map(|_| bytes).map_err(|errno| {
        Error::host("there are no random numbers").because(std::io::Error::from(errno))
    })
}

fn hashed(text: &str) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::digest(text).into();
    *hash.first_chunk().expect("32 bytes begin with 16")
}

fn text(text: &str) -> Text {
    Text::new(text).expect("short and printable")
}

fn line(text: &str) -> Line {
    text.parse().expect("short and printable")
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::Options;

    #[test]
    fn firmware_says_ec2_twice_and_names_the_instance() {
        let record = InstanceRecord {
            id: "i-0123456789abcdef0".parse().unwrap(),
            device_number: 0,
            hostname: None,
            kind: line("plinth.1cpu.256mib"),
            image: line("ami-0123456789abcdef0"),
            launched: UNIX_EPOCH,
            user_data: None,
            ssh_keys: Vec::new(),
            options: Options::default(),
        };
        let told = identity(&record);
        assert!(told.serial.as_str().starts_with("ec2"));
        assert_eq!(told.serial.as_str(), written(told.uuid));
        assert_eq!(told.serial.as_str().len(), 36);
        assert_eq!(told.asset_tag.unwrap().as_str(), "i-0123456789abcdef0");
        let other = InstanceRecord {
            id: "i-00000000000000000".parse().unwrap(),
            ..record
        };
        assert_ne!(identity(&other).uuid, told.uuid);
    }
}
