//! What networks have of their host's, of which no two can have the same: uplinks,
//! public addresses, published ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::name::Name;
use crate::public_address::pool;
use crate::publication::Publication;
use crate::refused::Refused;
use crate::uplink::Uplink;
use crate::vpc::Vpc;

/// What other networks have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    uplinks: BTreeSet<Uplink>,
    addresses: BTreeMap<Ipv4Addr, Name>,
    published: Vec<(Publication, String)>,
}

impl Claims {
    /// Adds what the network `name` has.
    pub fn add(&mut self, name: &Name, vpc: &Vpc) {
        self.uplinks.extend(vpc.last_uplink());
        let addresses = vpc.public_addresses().keys();
        self.addresses
            .extend(addresses.map(|address| (*address, name.clone())));
        let published = vpc.published();
        self.published.extend(published.map(|(port, published)| {
            let by = format!("'{}' of network '{name}'", port.owner);
            (published.publication, by)
        }));
    }

    /// Adds public addresses that the network `name` has, of which nothing else is
    /// known.
    pub fn add_addresses(&mut self, name: &Name, addresses: impl IntoIterator<Item = Ipv4Addr>) {
        let addresses = addresses.into_iter();
        self.addresses
            .extend(addresses.map(|address| (address, name.clone())));
    }

    /// The uplink of `vpc`, or one that it can have.
    ///
    /// # Errors
    /// There are as many networks as there can be.
    pub fn uplink(&self, vpc: &Vpc) -> Result<Uplink, Refused> {
        let free = || Uplink::all(vpc.id).find(|uplink| !self.uplinks.contains(uplink));
        let uplink = vpc.last_uplink().or_else(free);
        uplink.ok_or_else(|| Refused::Full("uplink".into()))
    }

    /// The public address that `vpc` wishes for, or the next of the pool.
    ///
    /// # Errors
    /// Another network has it, or all are taken.
    pub fn address(&self, vpc: &Vpc, wish: Option<Ipv4Addr>) -> Result<Ipv4Addr, Refused> {
        if let Some(address) = wish {
            return match self.addresses.get(&address).cloned() {
                Some(by) => Err(Refused::PublicAddressTaken { address, by }),
                None => Ok(address),
            };
        }
        let is_free = |address: &Ipv4Addr| {
            let taken = self.addresses.contains_key(address)
                || vpc.public_addresses().contains_key(address);
            !taken && !vpc.cidr.contains(*address)
        };
        // The first and the last look like a network's own.
        let mut addresses = (1..).map_while(|number| pool().nth(number));
        let free = addresses.find(|address| is_free(address) && *address < pool().last());
        free.ok_or_else(|| Refused::NoPublicAddressLeft(pool()))
    }

    /// Whether no other network has published what overlaps `wanted`.
    ///
    /// # Errors
    /// One has.
    pub fn check(&self, wanted: Publication) -> Result<(), Refused> {
        let mut others = self.published.iter();
        match others.find(|(other, _)| other.overlaps(&wanted)) {
            Some((theirs, by)) => Err(Refused::PublicationTaken {
                wanted,
                by: by.clone(),
                theirs: *theirs,
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::PortWish;

    fn vpc(cidr: &str) -> Vpc {
        Vpc::new(cidr.parse().unwrap()).unwrap()
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn no_two_networks_have_the_same_uplink() {
        let mut claims = Claims::default();
        let mut vpc = vpc("10.0.0.0/16");
        // One that would be given the same.
        let twin = vpc.clone();
        let first = claims.uplink(&vpc).unwrap();
        assert_eq!(claims.uplink(&twin).unwrap(), first);
        vpc.attach_internet_gateway(first).unwrap();
        claims.add(&name("one"), &vpc);
        assert_ne!(claims.uplink(&twin).unwrap(), first);
        vpc.detach_internet_gateway().unwrap();
        assert_eq!(claims.uplink(&vpc).unwrap(), first, "it keeps its own");
    }

    #[test]
    fn addresses_are_given_once_and_not_of_the_network_itself() {
        let mut claims = Claims::default();
        let mut one = vpc("198.19.0.0/24");
        let first = claims.address(&one, None).unwrap();
        assert_eq!(first, Ipv4Addr::new(198, 19, 1, 0));
        one.allocate(first).unwrap();
        assert_eq!(
            claims.address(&one, None).unwrap(),
            Ipv4Addr::new(198, 19, 1, 1)
        );
        claims.add(&name("one"), &one);
        let other = vpc("10.0.0.0/16");
        assert_eq!(
            claims.address(&other, None).unwrap(),
            Ipv4Addr::new(198, 19, 0, 1)
        );
        let error = claims.address(&other, Some(first)).unwrap_err().to_string();
        assert_eq!(
            error,
            "the public address 198.19.1.0 is taken by network 'one'"
        );
        let full = claims.address(&vpc("198.19.0.0/16"), None).unwrap_err();
        assert_eq!(
            full.to_string(),
            "no public address is left in 198.19.0.0/16"
        );
    }

    #[test]
    fn a_published_port_is_told_whose_it_is() {
        let mut claims = Claims::default();
        let mut one = vpc("10.0.0.0/16");
        one.add_subnet(name("front"), "10.0.1.0/24".parse().unwrap())
            .unwrap();
        let wish = PortWish {
            owner: "web".into(),
            ..PortWish::default()
        };
        let port = one.add_port(name("front"), wish).unwrap().id;
        let uplink = claims.uplink(&one).unwrap();
        one.publish(port, "8080:80".parse().unwrap(), uplink)
            .unwrap();
        claims.add(&name("shop"), &one);
        let error = claims.check("127.0.0.1:8080:22".parse().unwrap());
        assert_eq!(
            error.unwrap_err().to_string(),
            "127.0.0.1:8080:22 cannot be published: 'web' of network 'shop' has 8080:80"
        );
        claims.check("8080:80/udp".parse().unwrap()).unwrap();
    }
}
