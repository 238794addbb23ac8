//! A network interface: `NAME[/SUBNET]` of a virtual switch, with
//! `[,ip=ADDRESS][,public=ADDRESS][,security-group=A+B][,source-check=off]` if that is
//! a network and `[,private-vlan=PART][,guard=on|off]` if it is a bridge, or
//! `tap=NAME[,mtu=N]`, or `user`; and for all `[,mac=MAC][,queues=N][,id=NAME]`,
//! `[,vhost=on]` for all but the last, and its [limits](super::limits), those of what the guest receives after `rx-`, of what it
//! sends after `tx-`.

use std::fmt::Display;
use std::net::Ipv4Addr;
use std::str::FromStr;

use network::bridge::private_vlan::PrivateVlan;
use network::name::Name;
use network::publication::Publication;
use vmm::{DeviceName, Limits, MacAddress, Mtu, QueueCount};

use super::Invalid;
use super::limits::limits;
use super::list::{OptionList, split_first};
use super::queues::queues;

/// Instead of a switch's name: no switch is called so.
pub const USER: &str = "user";

/// A network interface as the user asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetOption {
    /// Where its cable goes.
    pub end: NetEnd,
    /// What it is called; `net` and its number if not given.
    pub id: Option<DeviceName>,
    /// The guest's address; if not given, one of the port's own, or derived from
    /// the host's identity and the tap's name.
    pub mac: Option<MacAddress>,
    /// How many queue pairs it has, and queues of the tap.
    pub queues: QueueCount,
    /// Whether the host's kernel carries the packets by itself.
    pub vhost: bool,
    /// How much may come to the guest.
    pub receive: Option<Limits>,
    /// How much the guest may send.
    pub transmit: Option<Limits>,
}

/// The host's end of a cable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetEnd {
    /// An existing tap.
    Tap {
        /// Its name.
        name: String,
        /// The MTU announced to the guest; none if not given.
        mtu: Option<Mtu>,
    },
    /// A port of a switch.
    Port(PortOption),
    /// A network stack in a process of this user's, which needs no privilege.
    User(UserOption),
}

/// What leads out of a user's network, and in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserOption {
    /// Ports of the host that lead to the guest.
    pub published: Vec<Publication>,
    /// Whether the guest finds what listens on the host's 127.0.0.1, at its router's
    /// address.
    pub host: bool,
}

/// A port of a switch as the user asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOption {
    /// Of which switch.
    pub switch: Name,
    /// In which of its subnets; the only one if not given.
    pub subnet: Option<Name>,
    /// Its address; one that is free if not given.
    pub address: Option<Ipv4Addr>,
    /// The address of the network by which it is known outside; none if not given.
    pub public: Option<Ipv4Addr>,
    /// Its security groups; the default one if none are given.
    pub groups: Vec<Name>,
    /// Whether it may send from its own address only.
    pub source_check: bool,
    /// On a bridge, whom it may talk to; everybody if not given.
    pub private_vlan: Option<PrivateVlan>,
    /// On a bridge, whether it is kept from playing the router and the DHCP server;
    /// if not given, what is usual for its private VLAN.
    pub guard: Option<bool>,
    /// Ports of the host that lead to it.
    pub published: Vec<Publication>,
}

impl FromStr for NetOption {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (first, rest) = split_first(text);
        let on_switch = !text.is_empty() && !first.contains('=');
        let mut list = match (on_switch, rest) {
            (true, None) => OptionList::default(),
            (true, Some(rest)) => OptionList::parse(rest)?,
            (false, _) => OptionList::parse(text)?,
        };
        let end = match on_switch {
            true if first == USER => NetEnd::User(user(&mut list)?),
            true => NetEnd::Port(port(&first, &mut list)?),
            false => tap(&mut list)?,
        };
        let net = Self {
            end,
            id: parsed(list.value("id")?)?,
            mac: parsed(list.value("mac")?)?,
            queues: queues(&mut list)?,
            vhost: on_or_off(&mut list, "vhost")?.unwrap_or(false),
            receive: limits(&mut list, "rx-")?,
            transmit: limits(&mut list, "tx-")?,
        };
        let own = match net.end {
            NetEnd::Port(_) => {
                "ip=ADDRESS, public=ADDRESS, security-group=A+B, source-check=off, \
                 private-vlan=PART, guard=on|off, vhost=on|off, "
            }
            NetEnd::Tap { .. } => "tap=NAME, mtu=N, vhost=on|off, ",
            NetEnd::User(_) => "host=on|off, ",
        };
        list.finish(&format!(
            "{own}mac=MAC, queues=N, id=NAME, and with rx- or tx- before each iops=N, \
             iops-burst=N, bandwidth=SIZE and bandwidth-burst=SIZE"
        ))?;
        if matches!(net.end, NetEnd::User(_)) && net.queues.get() > 1 {
            return Err(Invalid::new("--net user has one queue"));
        }
        if matches!(net.end, NetEnd::User(_)) && net.vhost {
            return Err(Invalid::new(
                "vhost=on serves taps, and --net user has none",
            ));
        }
        if net.vhost && (net.receive.is_some() || net.transmit.is_some()) {
            return Err(Invalid::new(
                "limits do not reach packets that the kernel carries by itself: leave out \
                 vhost=on, or rx- and tx-",
            ));
        }
        Ok(net)
    }
}

fn tap(list: &mut OptionList) -> Result<NetEnd, Invalid> {
    let name = list.value("tap")?.ok_or_else(|| {
        Invalid::new("it begins with the name of a switch, or tap=NAME is missing")
    })?;
    let mtu = parsed(list.value("mtu")?)?;
    Ok(NetEnd::Tap { name, mtu })
}

fn user(list: &mut OptionList) -> Result<UserOption, Invalid> {
    Ok(UserOption {
        published: Vec::new(),
        host: on_or_off(list, "host")?.unwrap_or(false),
    })
}

fn port(name: &str, list: &mut OptionList) -> Result<PortOption, Invalid> {
    let (switch, subnet) = match name.split_once('/') {
        Some((switch, subnet)) => (switch, Some(subnet)),
        None => (name, None),
    };
    let groups = list.value("security-group")?;
    let groups = groups.iter().flat_map(|groups| groups.split('+'));
    Ok(PortOption {
        switch: switch.parse().map_err(Invalid::because)?,
        subnet: parsed(subnet.map(String::from))?,
        address: parsed(list.value("ip")?)?,
        public: parsed(list.value("public")?)?,
        groups: groups
            .map(|group| group.parse().map_err(Invalid::because))
            .collect::<Result<_, _>>()?,
        source_check: on_or_off(list, "source-check")?.unwrap_or(true),
        private_vlan: parsed(list.value("private-vlan")?)?,
        guard: on_or_off(list, "guard")?,
        published: Vec::new(),
    })
}

fn on_or_off(list: &mut OptionList, key: &str) -> Result<Option<bool>, Invalid> {
    match list.value(key)?.as_deref() {
        None => Ok(None),
        Some("on") => Ok(Some(true)),
        Some("off") => Ok(Some(false)),
        Some(other) => {
            let why = format!("'{other}' does not do: {key} is on or off");
            Err(Invalid::new(why))
        }
    }
}

fn parsed<T>(value: Option<String>) -> Result<Option<T>, Invalid>
where
    T: FromStr<Err: Display>,
{
    let Some(text) = value else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|error| Invalid::new(format!("'{text}' does not do: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmm::Limit;

    fn tap_of(text: &str) -> (String, Option<Mtu>) {
        match text.parse::<NetOption>().unwrap().end {
            NetEnd::Tap { name, mtu } => (name, mtu),
            other => panic!("{other:?}"),
        }
    }

    fn port_of(text: &str) -> PortOption {
        match text.parse::<NetOption>().unwrap().end {
            NetEnd::Port(port) => port,
            other => panic!("{other:?}"),
        }
    }

    fn error(text: &str) -> String {
        text.parse::<NetOption>().unwrap_err().to_string()
    }

    #[test]
    fn only_the_tap_is_needed() {
        let net: NetOption = "tap=tap0".parse().unwrap();
        assert_eq!(tap_of("tap=tap0"), ("tap0".into(), None));
        assert_eq!(net.mac, None);
        assert_eq!(net.queues, QueueCount::default());
        let text = "mtu=9000,mac=02:00:00:00:00:01,tap=t";
        assert_eq!(tap_of(text), ("t".into(), Mtu::new(9000).ok()));
        let net: NetOption = text.parse().unwrap();
        assert_eq!(net.mac.unwrap().octets(), [2, 0, 0, 0, 0, 1]);
        let net: NetOption = "tap=t,id=uplink".parse().unwrap();
        assert_eq!(net.id.unwrap().to_string(), "uplink");
    }

    #[test]
    fn a_switch_is_named_in_one_word() {
        let port = port_of("shop");
        assert_eq!((port.switch.as_str(), &port.subnet), ("shop", &None));
        assert!(port.source_check && port.groups.is_empty() && port.address.is_none());
        let text =
            "shop/front,ip=10.0.1.9,public=203.0.113.7,security-group=web+db,source-check=off";
        let port = port_of(text);
        assert_eq!(port.public, Some(Ipv4Addr::new(203, 0, 113, 7)));
        assert_eq!(port.subnet.unwrap().as_str(), "front");
        assert_eq!(port.address, Some(Ipv4Addr::new(10, 0, 1, 9)));
        let groups: Vec<_> = port.groups.iter().map(Name::as_str).collect();
        assert_eq!(groups, ["web", "db"]);
        assert!(!port.source_check);
        let port = port_of("lan,private-vlan=red,guard=off");
        assert_eq!(port.private_vlan.unwrap().to_string(), "red");
        assert_eq!(port.guard, Some(false));
        let net: NetOption = "shop,mac=02:00:00:00:00:01,queues=2,rx-iops=5"
            .parse()
            .unwrap();
        assert!(net.mac.is_some() && net.receive.is_some());
    }

    #[test]
    fn a_network_of_the_user_takes_one_word() {
        let net: NetOption = "user".parse().unwrap();
        assert_eq!(net.end, NetEnd::User(UserOption::default()));
        let NetEnd::User(user) = "user,host=on".parse::<NetOption>().unwrap().end else {
            panic!("it is a user's");
        };
        assert!(user.host);
        let net: NetOption = "user,mac=02:00:00:00:00:01,id=out".parse().unwrap();
        assert!(net.mac.is_some() && net.id.is_some());
        assert!(error("user,queues=2").contains("has one queue"));
        assert!(error("user,ip=10.0.0.9").contains("'ip' is not known"));
    }

    #[test]
    fn each_direction_has_limits_of_its_own() {
        let net: NetOption = "tap=t,rx-bandwidth=1M,tx-iops=500".parse().unwrap();
        let limit = |rate| Limit::per_second(rate).ok();
        assert_eq!(net.receive, Limits::new(None, limit(1 << 20)));
        assert_eq!(net.transmit, Limits::new(limit(500), None));
    }

    #[test]
    fn mistakes_are_explained() {
        assert!(error("").contains("empty"));
        assert!(error("mtu=1500").contains("tap=NAME is missing"));
        assert!(error("shop,mtu=1500").contains("'mtu' is not known"));
        assert!(error("tap=t,ip=10.0.0.9").contains("'ip' is not known"));
        assert!(error("shop,ip=10.0.0").contains("'10.0.0' does not do"));
        assert!(error("shop,security-group=a++b").contains("a name has 1 to 63"));
        assert!(error("shop,source-check=maybe").contains("on or off"));
        assert!(error("lan,guard=maybe").contains("guard is on or off"));
        assert!(error("lan,private-vlan=a/b").contains("'a/b' does not do"));
        assert!(error("shop/../x").contains("a name has"));
        assert!(error("tap=t,mac=nonsense").contains("'nonsense' does not do: a MAC address is"));
        for mtu in ["0", "67", "65536", "big"] {
            assert!(error(&format!("tap=t,mtu={mtu}")).contains("from 68 to 65535"));
        }
        assert!(error("tap=t,queues=17").contains("1 to 16 queues"));
        assert!(error("tap=t,bandwidth=1M").contains("'bandwidth' is not known"));
        assert!(error("tap=t,speed=1").contains("'speed' is not known"));
    }
}
