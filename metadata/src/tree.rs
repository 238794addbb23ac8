//! The instance as a tree of paths, as the metadata service has it (EC2,
//! "Instance metadata categories").
//!
//! [`Tree::new`] makes every leaf; listings follow from the leaves, so that
//! what is listed is there. A directory ends with `/` in its listing, but
//! for `public-keys/`, which lists `0=name` for the directory `0`.

use std::collections::BTreeMap;

use crate::identity;
use crate::instance::Instance;
use crate::interface::Interface;

/// Every leaf by its path, without a version before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    leaves: BTreeMap<String, Vec<u8>>,
    /// The names of the SSH keys, each another.
    key_names: Vec<String>,
}

/// The versions that are listed at `/`: those that clients look for. Every
/// other date means the same.
const VERSIONS: [&str; 14] = [
    "1.0",
    "2007-01-19",
    "2009-04-04",
    "2012-01-12",
    "2014-11-05",
    "2016-09-02",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2021-07-15",
    "2022-09-24",
    "latest",
];

const KEYS: &str = "meta-data/public-keys";

impl Tree {
    /// The tree of `instance`.
    pub fn new(instance: &Instance) -> Self {
        let mut tree = Self {
            leaves: BTreeMap::new(),
            key_names: key_names(instance),
        };
        tree.add_instance(instance);
        if let Some(interface) = instance.primary() {
            tree.add_primary(instance, interface);
        }
        for interface in &instance.interfaces {
            tree.add_interface(instance, interface);
        }
        for (number, key) in instance.ssh_keys.iter().enumerate() {
            tree.meta(&format!("public-keys/{number}/openssh-key"), key);
        }
        for (part, name) in &instance.block_devices {
            tree.meta(&format!("block-device-mapping/{}", part.as_str()), name);
        }
        if instance.options.tags {
            for (key, value) in &instance.tags {
                tree.meta(&format!("tags/instance/{}", key.as_str()), value);
            }
        }
        tree.add_identity(instance);
        if let Some(data) = &instance.user_data {
            tree.add("user-data", data.as_bytes());
        }
        tree
    }

    fn add(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.leaves.insert(path.to_owned(), content.into());
    }

    fn meta(&mut self, path: &str, content: impl ToString) {
        self.add(&format!("meta-data/{path}"), content.to_string());
    }

    fn add_instance(&mut self, instance: &Instance) {
        self.meta("ami-id", &instance.image);
        self.meta("ami-launch-index", 0);
        self.meta("ami-manifest-path", "(unknown)");
        self.meta("instance-action", "none");
        self.meta("instance-id", instance.id);
        self.meta("instance-life-cycle", "on-demand");
        self.meta("instance-type", &instance.kind);
        self.meta("placement/availability-zone", &instance.placement.zone);
        self.meta(
            "placement/availability-zone-id",
            &instance.placement.zone_id,
        );
        self.meta("placement/region", &instance.placement.region);
        self.meta("profile", "default-hvm");
        self.meta("services/domain", "amazonaws.com");
        self.meta("services/partition", "aws");
        if let Some(name) = instance.full_name() {
            self.meta("hostname", &name);
            self.meta("local-hostname", &name);
        }
    }

    /// What of its first interface is also said of the instance.
    fn add_primary(&mut self, instance: &Instance, interface: &Interface) {
        self.meta("mac", interface.mac);
        self.meta("security-groups", lines(group_names(interface)));
        if let Some(address) = instance.address() {
            self.meta("local-ipv4", address);
        }
        if let Some(address) = interface.public_address {
            self.meta("public-ipv4", address);
        }
    }

    fn add_interface(&mut self, instance: &Instance, interface: &Interface) {
        let subnet = &interface.subnet;
        let mut add = |name: &str, content: &dyn ToString| {
            let path = format!("network/interfaces/macs/{}/{name}", interface.mac);
            self.meta(&path, content.to_string());
        };
        add("device-number", &interface.device_number);
        add("interface-id", &interface.id);
        add("local-ipv4s", &lines(&interface.addresses));
        add("mac", &interface.mac);
        add("owner-id", &instance.owner);
        let groups = interface.security_groups.iter();
        add("security-group-ids", &lines(groups.map(|group| &group.id)));
        add("security-groups", &lines(group_names(interface)));
        add("subnet-id", &subnet.id);
        add("subnet-ipv4-cidr-block", &subnet.cidr);
        add("vpc-id", &subnet.vpc);
        add("vpc-ipv4-cidr-block", &lines(subnet.vpc_cidrs.first()));
        add("vpc-ipv4-cidr-blocks", &lines(&subnet.vpc_cidrs));
        if let Some(name) = instance.full_name() {
            add("local-hostname", &name);
        }
        if let Some(public) = interface.public_address {
            add("public-ipv4s", &public);
            let private = lines(interface.addresses.first());
            add(&format!("ipv4-associations/{public}"), &private);
        }
    }

    fn add_identity(&mut self, instance: &Instance) {
        let identity = "dynamic/instance-identity";
        self.add(
            &format!("{identity}/document"),
            identity::document(instance),
        );
        for signature in ["pkcs7", "signature"] {
            self.add(&format!("{identity}/{signature}"), identity::UNSIGNED);
        }
    }

    /// What is at `path`, which begins with a version or is `/`; a leaf's
    /// content or a directory's listing. A slash too many, at the end or
    /// elsewhere, does not matter.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let Some(version) = parts.next() else {
            return Some(VERSIONS.join("\n").into());
        };
        if !is_version(version) {
            return None;
        }
        let path = parts.collect::<Vec<_>>().join("/");
        let leaf = self.leaves.get(&path).cloned();
        leaf.or_else(|| self.listing(&path).map(Into::into))
    }

    /// The names of what is in the directory `path`; none if it is none.
    fn listing(&self, path: &str) -> Option<String> {
        if path == KEYS && !self.key_names.is_empty() {
            let names = self.key_names.iter().enumerate();
            return Some(lines(
                names.map(|(number, name)| format!("{number}={name}")),
            ));
        }
        let prefix = match path {
            "" => String::new(),
            path => format!("{path}/"),
        };
        let below = self.leaves.range(prefix.clone()..);
        let below = below.map_while(|(path, _)| path.strip_prefix(&prefix));
        let mut names: Vec<&str> = below.map(first_part).collect();
        names.dedup();
        (!names.is_empty()).then(|| names.join("\n"))
    }
}

/// The first part of `path`, with the slash after it if there is one.
fn first_part(path: &str) -> &str {
    path.find('/').map_or(path, |at| &path[..=at])
}

/// `latest`, `1.0`, or any date.
pub fn is_version(part: &str) -> bool {
    let date = part.len() == 10
        && part.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    date || part == "latest" || part == "1.0"
}

/// One line for each, without one at the end, which readers would take for one
/// more.
fn lines<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let lines: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    lines.join("\n")
}

fn group_names(interface: &Interface) -> impl Iterator<Item = String> {
    let groups = interface.security_groups.iter();
    groups.map(|group| group.name.to_string())
}

/// What the keys are listed as. cloud-init keeps keys by these names, so that
/// two of one name would be one key.
fn key_names(instance: &Instance) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (number, key) in instance.ssh_keys.iter().enumerate() {
        let comment = key.comment().replace(|c: char| !c.is_ascii_graphic(), "-");
        let name = match comment.as_str() {
            "" => format!("key-{number}"),
            _ if names.contains(&comment) => format!("{comment}-{number}"),
            _ => comment,
        };
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, KEY};
    use proptest::prelude::*;

    fn text(tree: &Tree, path: &str) -> Option<String> {
        tree.get(path)
            .map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// Reads the tree as cloud-init does (ec2.py, MetadataMaterializer), and
    /// says how many leaves it found.
    fn crawl(tree: &Tree, directory: &str) -> usize {
        let listing = text(tree, directory).expect(directory);
        let entry = |name: &str| match name.split_once('=') {
            Some((number, _)) if number.parse::<u32>().is_ok() => {
                assert!(
                    tree.get(&format!("{directory}{number}/openssh-key"))
                        .is_some()
                );
                1
            }
            _ if name.ends_with('/') => crawl(tree, &format!("{directory}{name}")),
            _ => {
                assert!(
                    tree.get(&format!("{directory}{name}")).is_some(),
                    "{directory}{name}"
                );
                1
            }
        };
        listing.lines().map(entry).sum()
    }

    #[test]
    fn everything_that_is_listed_is_there() {
        let tree = Tree::new(&fixture::instance());
        assert_eq!(crawl(&tree, "/latest/"), tree.leaves.len());
        for version in text(&tree, "/").unwrap().lines() {
            assert_eq!(
                text(&tree, &format!("/{version}/")).unwrap(),
                "dynamic/\nmeta-data/\nuser-data"
            );
        }
    }

    #[test]
    fn listings_are_as_on_ec2() {
        let tree = Tree::new(&fixture::instance());
        let meta = |path: &str| text(&tree, &format!("/latest/meta-data/{path}"));
        let top = meta("").unwrap();
        assert!(
            top.contains("placement/\n") && top.contains("instance-id\n"),
            "{top}"
        );
        assert_eq!(meta("public-keys/").unwrap(), "0=ada@engine\n1=key-1");
        assert_eq!(meta("public-keys/1").unwrap(), "openssh-key");
        assert_eq!(meta("public-keys/1/openssh-key").unwrap(), KEY);
        assert_eq!(
            meta("network/interfaces/macs").unwrap(),
            "02:00:00:00:00:00/\n02:00:00:00:00:01/"
        );
        assert_eq!(
            meta("network/interfaces/macs/02:00:00:00:00:00/local-ipv4s").unwrap(),
            "10.0.1.5\n10.0.1.6"
        );
        assert_eq!(meta("tags/instance").unwrap(), "Name");
        assert_eq!(meta("tags/instance/Name").unwrap(), "web 1");
        assert_eq!(meta("block-device-mapping").unwrap(), "ami\nebs1\nroot");
        assert_eq!(meta("public-ipv4").unwrap(), "203.0.113.5");
        assert_eq!(meta("local-hostname").unwrap(), "web.region-1.internal");
    }

    #[test]
    fn any_version_is_the_latest_and_slashes_do_not_matter() {
        let tree = Tree::new(&fixture::instance());
        let id = Some("i-0123456789abcdef0".to_owned());
        for path in [
            "/latest/meta-data/instance-id",
            "/1.0/meta-data/instance-id",
            "/2009-04-04/meta-data/instance-id",
            "/2099-01-01//meta-data///instance-id/",
        ] {
            assert_eq!(text(&tree, path), id, "{path}");
        }
        for path in [
            "/meta-data/instance-id",
            "/2009-4-04/meta-data",
            "/latest/../latest/user-data",
        ] {
            assert_eq!(text(&tree, path), None, "{path}");
        }
    }

    #[test]
    fn what_there_is_not_is_not_listed_either() {
        let mut instance = fixture::instance();
        instance.user_data = None;
        instance.ssh_keys.clear();
        instance.options.tags = false;
        instance.interfaces[0].public_address = None;
        let tree = Tree::new(&instance);
        let top = text(&tree, "/latest/meta-data/").unwrap();
        for name in ["public-keys", "tags", "public-ipv4"] {
            assert!(!top.contains(name), "{top}");
            assert_eq!(tree.get(&format!("/latest/meta-data/{name}/")), None);
        }
        assert_eq!(tree.get("/latest/user-data"), None);
        assert_eq!(text(&tree, "/latest").unwrap(), "dynamic/\nmeta-data/");
    }

    #[test]
    fn two_keys_of_one_name_have_two() {
        let mut instance = fixture::instance();
        instance.ssh_keys = vec![format!("{KEY} a b").parse().unwrap(); 2];
        let tree = Tree::new(&instance);
        assert_eq!(
            text(&tree, "/latest/meta-data/public-keys/").unwrap(),
            "0=a-b\n1=a-b-1"
        );
    }

    #[test]
    fn an_instance_without_interfaces_has_a_tree() {
        let mut instance = fixture::instance();
        instance.interfaces.clear();
        let tree = Tree::new(&instance);
        assert_eq!(crawl(&tree, "/latest/"), tree.leaves.len());
        assert_eq!(tree.get("/latest/meta-data/network/"), None);
    }

    proptest! {
        #[test]
        fn any_path_is_there_or_not(path in "(/latest/|/)?.{0,40}") {
            let _ = Tree::new(&fixture::instance()).get(&path);
        }

        #[test]
        fn whatever_the_tags_what_is_listed_is_there(
            keys in prop::collection::btree_set("[-+.,_:@a-z0-9]{1,5}", 0..5)
        ) {
            let mut instance = fixture::instance();
            let parts = keys.into_iter().filter_map(|key| crate::instance::Part::new(key).ok());
            instance.tags = parts.map(|part| (part, fixture::line("x"))).collect();
            let tree = Tree::new(&instance);
            prop_assert_eq!(crawl(&tree, "/latest/"), tree.leaves.len());
        }
    }
}
