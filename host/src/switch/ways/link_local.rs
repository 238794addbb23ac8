//! By IPv6 it is the metadata service alone that guests reach, each on the link
//! between its interface and its tap, which therefore has the service's address.

use std::collections::BTreeSet;

use ipnet::IpNet;
use network::plan::{METADATA6, ROUTER6};

use super::super::kernel::sysctl::{self, LinkSetting, Links, Sysctl, has_ipv6};
use super::super::kernel::{Address, KernelError, Link};
use super::{Ways, unless_gone};

/// How a tap treats IPv6: it has the addresses that it is given, and listens to nobody
/// about others.
const SETTINGS6: [(LinkSetting, u32); 3] = [
    (LinkSetting::AddrGenMode, 1),
    (LinkSetting::AcceptRa, 0),
    (LinkSetting::DisableIpv6, 0),
];

impl Ways<'_> {
    /// Each tap has the same, and there is nobody but its guest to mistake it for
    /// another's.
    pub(super) fn arrange_addresses6(&self, there: &BTreeSet<Address>) -> Result<(), KernelError> {
        for (_, link) in self.taps() {
            let mut wanted = addresses6(link);
            // Whoever has no IPv6 any more has no addresses.
            if wanted.all(|address| there.contains(&address)) {
                continue;
            }
            let tap = Links::One(&link.name);
            let settings = SETTINGS6.map(|(setting, value)| (Sysctl::Of(tap, setting), value));
            unless_gone(sysctl::set(self.namespace, &settings))?;
            for Address { link, prefix } in addresses6(link) {
                unless_gone(self.net.add_address(link, prefix))?;
            }
        }
        Ok(())
    }
}

/// The router's and the metadata service's, at `tap`.
pub(super) fn addresses6(tap: &Link) -> impl Iterator<Item = Address> {
    let addresses = has_ipv6().then_some([(ROUTER6, 64), (METADATA6, 128)]);
    addresses.into_iter().flatten().map(|(own, len)| Address {
        link: tap.index,
        prefix: IpNet::new(own.into(), len).expect("an address has 128 bits"),
    })
}
