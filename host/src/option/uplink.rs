//! What connects a bridge with the world: `interface=NAME`, `open-vswitch=BRIDGE`,
//! or `vxlan=NUMBER,local=ADDRESS[,remote=A+B][,port=N]`.

use std::net::IpAddr;
use std::str::FromStr;

use network::bridge::uplink::Uplink;

use super::Invalid;
use super::list::OptionList;

const FORMS: &str = "interface=NAME, open-vswitch=BRIDGE, or vxlan=NUMBER,local=ADDRESS with \
                     remote=A+B and port=N";

/// An uplink as the user asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkOption(pub Uplink);

impl FromStr for UplinkOption {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut list = OptionList::parse(text)?;
        let interface = list.value("interface")?;
        let open_vswitch = list.value("open-vswitch")?;
        let vni = list.value("vxlan")?;
        let uplink = match (interface, open_vswitch, vni) {
            (Some(name), None, None) => Uplink::Interface(name.parse().map_err(Invalid::because)?),
            (None, Some(name), None) => {
                Uplink::OpenVswitch(name.parse().map_err(Invalid::because)?)
            }
            (None, None, Some(vni)) => vxlan(number(&vni)?, &mut list)?,
            _ => return Err(Invalid::new(format!("it is one of {FORMS}"))),
        };
        list.finish(FORMS)?;
        Ok(Self(uplink))
    }
}

fn vxlan(vni: u32, list: &mut OptionList) -> Result<Uplink, Invalid> {
    let local = list.value("local")?;
    let local = local.ok_or_else(|| {
        Invalid::new("a VXLAN is sent from an address of this host: local=ADDRESS is missing")
    })?;
    let remotes = list.value("remote")?;
    let remotes = remotes.iter().flat_map(|remotes| remotes.split('+'));
    let remotes: Vec<IpAddr> = remotes.map(address).collect::<Result<_, _>>()?;
    let port = list.value("port")?;
    let port = port.map(|port| number(&port)).transpose()?;
    Uplink::vxlan(vni, address(&local)?, remotes, port).map_err(Invalid::because)
}

fn address(text: &str) -> Result<IpAddr, Invalid> {
    text.parse()
        .map_err(|_| Invalid::new(format!("'{text}' does not do: it is no IP address")))
}

fn number<T: FromStr>(text: &str) -> Result<T, Invalid> {
    text.parse().map_err(|_| {
        Invalid::new(format!(
            "'{text}' does not do: it is no number, or too large"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uplink_is_read_as_it_is_written() {
        for text in [
            "interface=eth1",
            "open-vswitch=br-int",
            "vxlan=42,local=192.0.2.1",
            "vxlan=42,local=192.0.2.1,remote=192.0.2.2+192.0.2.3",
            "vxlan=42,local=2001:db8::1,remote=2001:db8::2,port=8472",
        ] {
            let option: UplinkOption = text.parse().unwrap();
            assert_eq!(option.0.to_string(), text);
        }
    }

    #[test]
    fn mistakes_are_explained() {
        let error = |text: &str| text.parse::<UplinkOption>().unwrap_err().to_string();
        for (text, part) in [
            ("", "empty"),
            ("eth1", "interface=NAME"),
            ("interface=eth1,open-vswitch=br", "it is one of"),
            ("interface=a/b", "the name of an interface"),
            ("interface=eth1,port=7", "'port' is not known"),
            ("vxlan=42", "local=ADDRESS is missing"),
            ("vxlan=0,local=192.0.2.1", "from 1 to 16777215"),
            ("vxlan=-1,local=192.0.2.1", "no number"),
            ("vxlan=42,local=host", "no IP address"),
            ("vxlan=42,local=192.0.2.1,remote=", "needs a value"),
            (
                "vxlan=42,local=192.0.2.1,remote=192.0.2.1",
                "different hosts",
            ),
            ("vxlan=42,local=192.0.2.1,port=70000", "no number"),
        ] {
            let error = error(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
