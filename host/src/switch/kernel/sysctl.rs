//! A namespace's settings (Documentation/networking/ip-sysctl.rst), which are
//! files that each thread sees as those of its own namespace.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use super::error::{KernelError, Refusal};
use super::link::vet_name;
use super::namespace::Namespace;

/// A setting, of all of a namespace or of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sysctl<'a> {
    /// `net.ipv4.ip_forward`: packets are routed. Changing it resets some
    /// settings of links, so it comes first.
    IpForward,
    /// `net.ipv6.conf.all.forwarding`: the same for IPv6.
    Ipv6Forwarding,
    /// One of some links.
    Of(Links<'a>, LinkSetting),
}

/// The links that a setting is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links<'a> {
    /// All. What it means differs from setting to setting.
    All,
    /// Those that are made from now on.
    New,
    /// The one of this name.
    One(&'a str),
}

/// A setting of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkSetting {
    /// `proxy_arp`: 1 answers ARP for addresses that are routed elsewhere.
    ProxyArp,
    /// `proxy_delay`: such an answer is held back at random for up to so many
    /// hundredths of a second; 80 if it is not set.
    ProxyDelay,
    /// `proxy_ndp`: the same for IPv6, for addresses that are told one by one.
    ProxyNdp,
    /// `rp_filter`: 0 takes packets from any source.
    RpFilter,
    /// `arp_ignore`: 1 answers ARP for this link's own addresses only.
    ArpIgnore,
    /// `arp_announce`: 2 asks with the address that suits best.
    ArpAnnounce,
    /// `send_redirects`: 0 tells nobody of better routes.
    SendRedirects,
    /// `accept_redirects` of IPv4: 0 believes nobody about routes.
    AcceptRedirects,
    /// `forwarding` of IPv4: 1 routes packets that come by this link.
    Forwarding,
    /// `route_localnet`: 1 lets packets for 127.0.0.0/8 come and go by this link.
    RouteLocalnet,
    /// `accept_ra`: 0 takes no addresses or routes from IPv6 routers.
    AcceptRa,
    /// `disable_ipv6`: 1 has no IPv6 on the link.
    DisableIpv6,
    /// `addr_gen_mode`: 1 gives the link no IPv6 address that nobody asked for.
    AddrGenMode,
}

impl LinkSetting {
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::ProxyArp => ("ipv4/conf", "proxy_arp"),
            Self::ProxyDelay => ("ipv4/neigh", "proxy_delay"),
            Self::ProxyNdp => ("ipv6/conf", "proxy_ndp"),
            Self::RpFilter => ("ipv4/conf", "rp_filter"),
            Self::ArpIgnore => ("ipv4/conf", "arp_ignore"),
            Self::ArpAnnounce => ("ipv4/conf", "arp_announce"),
            Self::SendRedirects => ("ipv4/conf", "send_redirects"),
            Self::AcceptRedirects => ("ipv4/conf", "accept_redirects"),
            Self::Forwarding => ("ipv4/conf", "forwarding"),
            Self::RouteLocalnet => ("ipv4/conf", "route_localnet"),
            Self::AcceptRa => ("ipv6/conf", "accept_ra"),
            Self::DisableIpv6 => ("ipv6/conf", "disable_ipv6"),
            Self::AddrGenMode => ("ipv6/conf", "addr_gen_mode"),
        }
    }
}

impl Sysctl<'_> {
    fn vet(self) -> Result<(), KernelError> {
        match self {
            // Nothing outside of the directory can be named.
            Self::Of(Links::One(name), _) => vet_name(name),
            _ => Ok(()),
        }
    }

    fn path(self) -> String {
        format!("/proc/sys/net/{self}")
    }
}

impl fmt::Display for Sysctl<'_> {
    /// With slashes, as sysctl(8) takes it: a link's name may have dots.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IpForward => f.write_str("ipv4/ip_forward"),
            Self::Ipv6Forwarding => f.write_str("ipv6/conf/all/forwarding"),
            Self::Of(links, setting) => {
                let (directory, file) = setting.place();
                let links = match links {
                    Links::All => "all",
                    Links::New => "default",
                    Links::One(name) => name,
                };
                write!(f, "{directory}/{links}/{file}")
            }
        }
    }
}

/// Whether this kernel has IPv6: it can have been booted without.
pub fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Gives settings of `namespace` their values, in this order; ends at the first
/// that fails. One that has its value is not written: /proc may be read-only.
///
/// # Errors
/// The link is not there, the kernel knows no such setting, or the privilege is
/// missing.
pub fn set(namespace: &Namespace, settings: &[(Sysctl<'_>, u32)]) -> Result<(), KernelError> {
    settings.iter().try_for_each(|(setting, _)| setting.vet())?;
    namespace.within(|| {
        settings.iter().try_for_each(|(setting, value)| {
            let (path, value) = (setting.path(), value.to_string());
            if fs::read_to_string(&path).is_ok_and(|there| there.trim_end() == value) {
                return Ok(());
            }
            fs::write(path, &value).map_err(|error| {
                let task = format!("{namespace}: setting {setting} to {value} failed");
                explain(error, task)
            })
        })
    })?
}

/// The value of a setting of `namespace`.
///
/// # Errors
/// As [`set`].
pub fn get(namespace: &Namespace, setting: Sysctl<'_>) -> Result<u32, KernelError> {
    setting.vet()?;
    let read = namespace.within(|| fs::read_to_string(setting.path()))?;
    read.and_then(|text| text.trim().parse().map_err(io::Error::other))
        .map_err(|error| explain(error, format!("{namespace}: reading {setting} failed")))
}

fn explain(error: io::Error, task: String) -> KernelError {
    match error.kind() {
        io::ErrorKind::NotFound => KernelError::Gone { task },
        _ => Refusal::from(error).at(task),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Scratch, without_privilege};
    use super::*;

    #[test]
    fn settings_are_those_of_the_namespace_and_of_the_link() {
        let (scratch, other) = (Scratch::new(), Scratch::new());
        scratch.net().add_veth("a.b", "c", &scratch).unwrap();
        for setting in [
            Sysctl::IpForward,
            Sysctl::Ipv6Forwarding,
            Sysctl::Of(Links::One("a.b"), LinkSetting::ProxyArp),
            Sysctl::Of(Links::One("a.b"), LinkSetting::ProxyNdp),
            Sysctl::Of(Links::One("a.b"), LinkSetting::RpFilter),
            Sysctl::Of(Links::One("a.b"), LinkSetting::ArpIgnore),
            Sysctl::Of(Links::One("a.b"), LinkSetting::ArpAnnounce),
            Sysctl::Of(Links::One("a.b"), LinkSetting::SendRedirects),
            Sysctl::Of(Links::One("a.b"), LinkSetting::AcceptRedirects),
            Sysctl::Of(Links::One("a.b"), LinkSetting::Forwarding),
            Sysctl::Of(Links::One("a.b"), LinkSetting::RouteLocalnet),
            Sysctl::Of(Links::One("a.b"), LinkSetting::AcceptRa),
            Sysctl::Of(Links::One("a.b"), LinkSetting::AddrGenMode),
            Sysctl::Of(Links::All, LinkSetting::RpFilter),
            Sysctl::Of(Links::New, LinkSetting::DisableIpv6),
        ] {
            for value in [1, 0] {
                set(&scratch, &[(setting, value)]).unwrap();
                assert_eq!(get(&scratch, setting).unwrap(), value, "{setting}");
            }
        }
        // In ticks, of which the kernel may not have as many.
        let delay = Sysctl::Of(Links::One("a.b"), LinkSetting::ProxyDelay);
        for value in [100, 0] {
            set(&scratch, &[(delay, value)]).unwrap();
            assert_eq!(get(&scratch, delay).unwrap(), value);
        }
        let forward = Sysctl::IpForward;
        set(&scratch, &[(forward, 1)]).unwrap();
        set(&other, &[(forward, 0)]).unwrap();
        assert_eq!(get(&scratch, forward).unwrap(), 1);
    }

    #[test]
    fn a_link_that_is_not_there_has_no_settings() {
        let scratch = Scratch::new();
        let arp = |link| Sysctl::Of(Links::One(link), LinkSetting::ProxyArp);
        let gone = set(&scratch, &[(arp("tap0"), 1)]).unwrap_err();
        assert!(matches!(gone, KernelError::Gone { .. }), "{gone:?}");
        assert!(gone.to_string().contains("conf/tap0/proxy_arp"), "{gone}");
        for name in ["..", "../../kernel", ""] {
            let refused = set(&scratch, &[(arp(name), 1)]).unwrap_err();
            assert!(matches!(refused, KernelError::BadName { .. }), "{name:?}");
        }
    }

    #[test]
    fn a_value_that_makes_no_sense_is_refused() {
        let scratch = Scratch::new();
        let disable = Sysctl::Of(Links::All, LinkSetting::DisableIpv6);
        let refused = set(&scratch, &[(disable, u32::MAX)]).unwrap_err();
        assert!(matches!(refused, KernelError::Other { .. }), "{refused:?}");
        let forward = Sysctl::IpForward;
        let there = get(&scratch, forward).unwrap();
        without_privilege(|| set(&scratch, &[(forward, 1 - there)])).unwrap_err();
    }
}
