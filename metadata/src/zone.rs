//! The names of a network: what its hosts are called, and whose its addresses
//! are.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use hickory_proto::rr::rdata::{A, PTR};
use hickory_proto::rr::{Name, RData};
use ipnet::{IpNet, Ipv4Net};

use crate::name::DnsName;

/// A network's domain and addresses, and the hosts in it.
#[derive(Clone, Debug)]
pub struct Zone {
    domain: Name,
    networks: Vec<Ipv4Net>,
    /// What a name is, in DNS's own order: names below one come after it.
    records: BTreeMap<Name, Vec<RData>>,
    /// The names of an address, that by which it is known first.
    hosts: BTreeMap<Ipv4Addr, Vec<Name>>,
}

/// What a zone says about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The zone knows nothing of it: it is somebody else's.
    Elsewhere,
    /// It is the zone's, and there is no such name.
    Nothing,
    /// It is the zone's; maybe it has no records, but names below it have.
    Records(&'a [RData]),
}

impl Zone {
    /// The zone of a network with these addresses, whose hosts are called
    /// `ip-10-0-1-5.DOMAIN`.
    pub fn new(domain: &DnsName, networks: Vec<Ipv4Net>) -> Self {
        Self {
            domain: absolute(domain.as_str()).expect("a name of 128 letters at most is one"),
            networks,
            records: BTreeMap::new(),
            hosts: BTreeMap::new(),
        }
    }

    /// The domain.
    pub fn domain(&self) -> &Name {
        &self.domain
    }

    /// `address` has a host, which is also called `name`; what was said of the
    /// address before is forgotten. Hosts may share a name. One that is not in
    /// this domain is not this zone's to tell.
    pub fn add(&mut self, address: Ipv4Addr, name: Option<&DnsName>) {
        self.remove(address);
        let names = name
            .cloned()
            .into_iter()
            .chain([DnsName::of_address(address)]);
        let names: Vec<Name> = names.filter_map(|name| self.within(&name)).collect();
        for name in &names {
            let records = self.records.entry(name.clone()).or_default();
            records.push(RData::A(A(address)));
        }
        if let Some(name) = names.first() {
            let pointer = RData::PTR(PTR(name.clone()));
            self.records.insert(Name::from(address), vec![pointer]);
        }
        self.hosts.insert(address, names);
    }

    /// `address` has no host any more.
    pub fn remove(&mut self, address: Ipv4Addr) {
        self.records.remove(&Name::from(address));
        for name in self.hosts.remove(&address).unwrap_or_default() {
            if let Some(records) = self.records.get_mut(&name) {
                records.retain(|record| *record != RData::A(A(address)));
                if records.is_empty() {
                    self.records.remove(&name);
                }
            }
        }
    }

    /// `name` in this domain, if it is or can be.
    fn within(&self, name: &DnsName) -> Option<Name> {
        let name = match name.as_str().contains('.') {
            true => absolute(name.as_str()),
            false => absolute(&format!("{name}.{}", self.domain)),
        };
        name.filter(|name| self.domain.zone_of(name))
    }

    /// What there is about `name`.
    pub fn find(&self, name: &Name) -> Found<'_> {
        if !self.domain.zone_of(name) && !self.is_own_address(name) {
            return Found::Elsewhere;
        }
        if let Some(records) = self.records.get(name) {
            return Found::Records(records);
        }
        // To say that there is no such name would say so of all below it
        // (RFC 8020).
        let below = self.records.range(name..).next();
        let below = below.is_some_and(|(found, _)| name.zone_of(found));
        match below || *name == self.domain {
            true => Found::Records(&[]),
            false => Found::Nothing,
        }
    }

    /// Whether `name` is that of an address of the network, or of a part of the
    /// network (RFC 1035 §3.5).
    fn is_own_address(&self, name: &Name) -> bool {
        match name.parse_arpa_name() {
            Ok(IpNet::V4(part)) => self.networks.iter().any(|network| network.contains(&part)),
            _ => false,
        }
    }
}

fn absolute(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn zone() -> Zone {
        let domain: DnsName = "region-1.internal".parse().unwrap();
        let mut zone = Zone::new(&domain, vec!["10.0.0.0/16".parse().unwrap()]);
        zone.add([10, 0, 1, 5].into(), Some(&"web".parse().unwrap()));
        zone.add([10, 0, 1, 6].into(), None);
        zone
    }

    fn find<'a>(zone: &'a Zone, name: &str) -> Found<'a> {
        zone.find(&absolute(name).unwrap())
    }

    fn texts(found: Found<'_>) -> Vec<String> {
        match found {
            Found::Records(records) => records.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hosts_are_found_by_every_name_and_address() {
        let zone = zone();
        for (name, record) in [
            ("web.region-1.internal", "10.0.1.5"),
            ("WEB.Region-1.internal", "10.0.1.5"),
            ("ip-10-0-1-5.region-1.internal", "10.0.1.5"),
            ("ip-10-0-1-6.region-1.internal", "10.0.1.6"),
            ("5.1.0.10.in-addr.arpa", "web.region-1.internal."),
            ("6.1.0.10.in-addr.arpa", "ip-10-0-1-6.region-1.internal."),
        ] {
            assert_eq!(texts(find(&zone, name)), [record], "{name}");
        }
    }

    #[test]
    fn what_is_the_zones_and_not_there_is_nowhere() {
        let zone = zone();
        for name in [
            "x.region-1.internal",
            "a.web.region-1.internal",
            "7.1.0.10.in-addr.arpa",
            "05.1.0.10.in-addr.arpa",
        ] {
            assert_eq!(find(&zone, name), Found::Nothing, "{name}");
        }
        for name in [
            "region-1.internal",
            "1.0.10.in-addr.arpa",
            "0.10.in-addr.arpa",
        ] {
            assert_eq!(find(&zone, name), Found::Records(&[]), "{name}");
        }
        for name in [
            "internal",
            "xregion-1.internal",
            "debian.org",
            "10.in-addr.arpa",
            "5.1.1.10.in-addr.arpa",
            "arpa",
            ".",
        ] {
            assert_eq!(find(&zone, name), Found::Elsewhere, "{name}");
        }
    }

    #[test]
    fn what_is_removed_leaves_nothing() {
        let mut zone = zone();
        zone.add([10, 0, 1, 6].into(), Some(&"web".parse().unwrap()));
        assert_eq!(
            texts(find(&zone, "web.region-1.internal")),
            ["10.0.1.5", "10.0.1.6"]
        );
        zone.add([10, 0, 1, 5].into(), Some(&"db".parse().unwrap()));
        assert_eq!(texts(find(&zone, "web.region-1.internal")), ["10.0.1.6"]);
        zone.remove([10, 0, 1, 5].into());
        zone.remove([10, 0, 1, 6].into());
        zone.remove([10, 0, 1, 7].into());
        assert!(zone.records.is_empty() && zone.hosts.is_empty());
    }

    #[test]
    fn names_of_other_domains_are_not_told() {
        let mut zone = zone();
        let address = [10, 0, 1, 7].into();
        zone.add(address, Some(&"www.debian.org".parse().unwrap()));
        assert_eq!(find(&zone, "www.debian.org"), Found::Elsewhere);
        assert_eq!(
            texts(find(&zone, "7.1.0.10.in-addr.arpa")),
            ["ip-10-0-1-7.region-1.internal."]
        );
        zone.add(address, Some(&"a.b.region-1.internal".parse().unwrap()));
        assert_eq!(texts(find(&zone, "a.b.region-1.internal")), ["10.0.1.7"]);
        assert_eq!(find(&zone, "b.region-1.internal"), Found::Records(&[]));
    }

    proptest! {
        #[test]
        fn any_name_is_somewhere(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..6)) {
            if let Ok(name) = Name::from_labels(labels.iter().map(Vec::as_slice)) {
                let _ = zone().find(&name);
            }
        }
    }
}
