//! What cloud-init's NoCloud data source reads from a disk: the files
//! `meta-data`, `user-data` and, for an instance whose interfaces are known,
//! `network-config` (cloud-init, "NoCloud").

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::id::InstanceId;
use crate::instance::{Instance, Placement};
use crate::interface::Interface;
use crate::name::DnsName;
use crate::ssh_key::SshKey;
use crate::user_data::UserData;

/// The part of an instance that NoCloud has a place for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    id: InstanceId,
    hostname: Option<String>,
    ssh_keys: Vec<SshKey>,
    user_data: Option<UserData>,
    placement: Option<Placement>,
    interfaces: Vec<Interface>,
}

impl Seed {
    /// The seed of a machine of which no more is known than this.
    ///
    /// Its id is a hash of it: a guest that starts again with the same is the
    /// same instance to cloud-init, and one that is told something else is
    /// another, on which cloud-init does again what it does once.
    pub fn new(
        hostname: Option<DnsName>,
        ssh_keys: Vec<SshKey>,
        user_data: Option<UserData>,
    ) -> Self {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(hostname.as_ref().map_or("", DnsName::as_str).as_bytes());
        add(user_data.as_ref().map_or(&[], UserData::as_bytes));
        ssh_keys.iter().for_each(|key| add(key.as_str().as_bytes()));
        let hash: [u8; 32] = hash.finalize().into();
        let (first, _) = hash.split_first_chunk().expect("32 bytes begin with 16");
        Self {
            id: InstanceId::from_bytes(*first),
            hostname: hostname.map(|name| name.to_string()),
            ssh_keys,
            user_data,
            placement: None,
            interfaces: Vec::new(),
        }
    }

    /// What the machine is called.
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// The files, by their names.
    pub(crate) fn files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let user_data = self.user_data.as_ref().map(|data| data.as_bytes().to_vec());
        // NoCloud takes no disk for its own that lacks one of these two.
        let mut files = vec![
            ("meta-data", text(&self.meta_data())),
            ("user-data", user_data.unwrap_or_default()),
        ];
        if !self.interfaces.is_empty() {
            files.push(("network-config", text(&self.network_config())));
        }
        files
    }

    fn meta_data(&self) -> Value {
        let mut meta_data = Map::new();
        meta_data.insert("instance-id".into(), self.id.to_string().into());
        if let Some(name) = &self.hostname {
            meta_data.insert("local-hostname".into(), name.as_str().into());
        }
        let keys: Vec<&str> = self.ssh_keys.iter().map(SshKey::as_str).collect();
        meta_data.insert("public-keys".into(), keys.into());
        if let Some(placement) = &self.placement {
            let placement = json!({
                "availability-zone": placement.zone.as_str(),
                "region": placement.region.as_str(),
            });
            meta_data.insert("placement".into(), placement);
        }
        meta_data.into()
    }

    /// Each interface, known by its Ethernet address, has its first address by
    /// DHCP, and the others given. The way out is the first interface's, as
    /// cloud-init has it for EC2. They are given their names, for ifupdown,
    /// which is Debian's, knows interfaces by no more than that.
    fn network_config(&self) -> Value {
        let ethernet = |(number, interface): (usize, &Interface)| {
            let prefix = interface.subnet.cidr.prefix_len();
            let others = interface.addresses.iter().skip(1);
            let others: Vec<_> = others.map(|one| format!("{one}/{prefix}")).collect();
            let name = format!("eth{number}");
            let config = json!({
                "set-name": name,
                "match": { "macaddress": interface.mac.to_string() },
                "dhcp4": true,
                "dhcp4-overrides": { "route-metric": 100 * (number + 1) },
                "addresses": others,
            });
            (name, config)
        };
        let ethernets: Map<String, Value> =
            self.interfaces.iter().enumerate().map(ethernet).collect();
        json!({ "version": 2, "ethernets": ethernets })
    }
}

impl From<&Instance> for Seed {
    fn from(instance: &Instance) -> Self {
        let mut interfaces = instance.interfaces.clone();
        interfaces.sort_by_key(|interface| interface.device_number);
        Self {
            id: instance.id,
            hostname: instance.full_name(),
            ssh_keys: instance.ssh_keys.clone(),
            user_data: instance.user_data.clone(),
            placement: Some(instance.placement.clone()),
            interfaces,
        }
    }
}

/// JSON, which is YAML, too (YAML 1.2 §1.3).
fn text(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, KEY};

    fn parsed(seed: &Seed, name: &str) -> Value {
        let files = seed.files();
        let (_, bytes) = files.iter().find(|(found, _)| *found == name).unwrap();
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn an_instance_is_told_as_the_service_tells_it() {
        let seed = Seed::from(&fixture::instance());
        let meta_data = parsed(&seed, "meta-data");
        assert_eq!(meta_data["instance-id"], "i-0123456789abcdef0");
        assert_eq!(meta_data["local-hostname"], "web.region-1.internal");
        assert_eq!(
            meta_data["public-keys"],
            json!([format!("{KEY} ada@engine"), KEY])
        );
        assert_eq!(meta_data["placement"]["region"], "region-1");
        let network = parsed(&seed, "network-config");
        let first = &network["ethernets"]["eth0"];
        assert_eq!(first["set-name"], "eth0");
        assert_eq!(first["match"]["macaddress"], "02:00:00:00:00:00");
        assert_eq!(first["addresses"], json!(["10.0.1.6/24"]));
        assert_eq!(
            network["ethernets"]["eth1"]["dhcp4-overrides"]["route-metric"],
            200
        );
        assert_eq!(seed.files()[1].1, b"#!/bin/sh\necho hello\n");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let seed = Seed::new(None, Vec::new(), None);
        let files = seed.files();
        assert_eq!(files.len(), 2);
        assert_eq!(files[1], ("user-data", Vec::new()));
        let meta_data = parsed(&seed, "meta-data");
        assert_eq!(meta_data.get("local-hostname"), None);
        assert_eq!(meta_data["public-keys"], json!([]));
    }

    #[test]
    fn the_same_is_the_same_instance_and_anything_else_another() {
        let name: Option<DnsName> = Some("web".parse().unwrap());
        let data = || UserData::new("web").ok();
        let key = || vec![KEY.parse().unwrap()];
        let seeds = [
            Seed::new(None, Vec::new(), None),
            Seed::new(name.clone(), Vec::new(), None),
            Seed::new(None, Vec::new(), data()),
            Seed::new(None, key(), None),
            Seed::new(name.clone(), key(), data()),
        ];
        for (number, seed) in seeds.iter().enumerate() {
            assert!(seeds[..number].iter().all(|other| other.id != seed.id));
        }
        assert_eq!(Seed::new(name, key(), data()), seeds[4]);
    }
}
