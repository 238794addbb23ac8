//! A network interface: `tap=NAME[,mac=MAC][,mtu=N][,queues=N][,id=NAME]` and
//! its [limits](super::limits), those of what the guest receives after `rx-`, of
//! what it sends after `tx-`.

use std::fmt::Display;
use std::str::FromStr;

use vmm::{DeviceName, Limits, MacAddress, Mtu, QueueCount};

use super::Invalid;
use super::limits::limits;
use super::list::OptionList;
use super::queues::queues;

/// A network interface as the user asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetOption {
    /// The name of the host's end, an existing tap.
    pub tap: String,
    /// What it is called; `net` and its number if not given.
    pub id: Option<DeviceName>,
    /// The guest's address; derived from the host's identity and the tap's
    /// name if not given.
    pub mac: Option<MacAddress>,
    /// The MTU announced to the guest; none if not given.
    pub mtu: Option<Mtu>,
    /// How many queue pairs it has, and queues of the tap.
    pub queues: QueueCount,
    /// How much may come to the guest.
    pub receive: Option<Limits>,
    /// How much the guest may send.
    pub transmit: Option<Limits>,
}

impl FromStr for NetOption {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut list = OptionList::parse(text)?;
        let net = Self {
            tap: list
                .value("tap")?
                .ok_or_else(|| Invalid::new("tap=NAME is missing: the host's end of the cable"))?,
            id: parsed(list.value("id")?)?,
            mac: parsed(list.value("mac")?)?,
            mtu: parsed(list.value("mtu")?)?,
            queues: queues(&mut list)?,
            receive: limits(&mut list, "rx-")?,
            transmit: limits(&mut list, "tx-")?,
        };
        list.finish(
            "tap=NAME, mac=MAC, mtu=N, queues=N, id=NAME, and with rx- or tx- before each \
             iops=N, iops-burst=N, bandwidth=SIZE and bandwidth-burst=SIZE",
        )?;
        Ok(net)
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

    fn error(text: &str) -> String {
        text.parse::<NetOption>().unwrap_err().to_string()
    }

    #[test]
    fn only_the_tap_is_needed() {
        let net: NetOption = "tap=tap0".parse().unwrap();
        assert_eq!(net.tap, "tap0");
        assert_eq!((net.mac, net.mtu), (None, None));
        assert_eq!(net.queues, QueueCount::default());
        let net: NetOption = "mtu=9000,mac=02:00:00:00:00:01,tap=t".parse().unwrap();
        assert_eq!(net.mtu.unwrap().get(), 9000);
        let net: NetOption = "tap=t,id=uplink".parse().unwrap();
        assert_eq!(net.id.unwrap().to_string(), "uplink");
        let net: NetOption = "mtu=9000,mac=02:00:00:00:00:01,tap=t".parse().unwrap();
        assert_eq!(net.mac.unwrap().octets(), [2, 0, 0, 0, 0, 1]);
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
        assert!(error("tap0").contains("tap=NAME is missing"));
        assert!(error("tap=t,mac=nonsense").contains("'nonsense' does not do: a MAC address is"));
        for mtu in ["0", "67", "65536", "big"] {
            assert!(error(&format!("tap=t,mtu={mtu}")).contains("from 68 to 65535"));
        }
        assert!(error("tap=t,queues=17").contains("1 to 16 queues"));
        assert!(error("tap=t,bandwidth=1M").contains("'bandwidth' is not known"));
        assert!(error("tap=t,speed=1").contains("'speed' is not known"));
    }
}
