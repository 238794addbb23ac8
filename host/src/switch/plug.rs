//! Plugging a machine in: a port of a switch, and the tap that is the host's end
//! of the cable. It lasts as long as the tap's descriptors are open; whoever
//! changes the switch next takes the port away then.

use std::os::fd::OwnedFd;

use network::name::Name;
use network::port::PortWish;
use network::vpc::Vpc;
use vmm::{MacAddress, Mtu, QueueCount};

use crate::error::Error;
use crate::option::net::PortOption;

use super::change::{commit, up_to_date};
use super::directory::Switches;
use super::instance::{self, InstanceRecord};
use super::live::MTU;

/// A cable that is plugged in at the host's end.
#[derive(Debug)]
pub struct Plugged {
    /// The other end, a descriptor for each pair of queues.
    pub taps: Vec<OwnedFd>,
    /// The guest's address there.
    pub mac: MacAddress,
    /// How long its packets may be.
    pub mtu: Mtu,
}

/// Who is plugged in.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// What its user calls it.
    pub owner: &'a str,
    /// What its guest is told there, if anything is known.
    pub instance: Option<&'a InstanceRecord>,
}

/// Plugs `machine` in as asked.
///
/// # Errors
/// There is no such switch, subnet or group; an address is taken or there is none;
/// or the host cannot. Nothing has changed then.
pub fn plug(
    switches: &Switches,
    option: &PortOption,
    mac: Option<MacAddress>,
    queues: QueueCount,
    machine: &Machine<'_>,
) -> Result<Plugged, Error> {
    let mut switch = switches.open(&option.switch)?;
    let live = up_to_date(&mut switch)?;
    let subnet = subnet(switch.record.vpc(), option)?;
    let wish = PortWish {
        address: option.address,
        mac: mac.map(|mac| {
            let text = mac.to_string();
            text.parse()
                .expect("what is an address to one is to the other")
        }),
        groups: option.groups.clone(),
        owner: machine.owner.into(),
    };
    let port = commit(&mut switch, &live, |vpc| {
        let id = vpc.add_port(subnet, wish)?.id;
        vpc.set_source_check(id, option.source_check)?;
        vpc.port(id).cloned()
    })?;
    let told = machine.instance.map_or(Ok(()), |instance| {
        let stored = instance::write(&switches.directory(&option.switch), port.id, instance);
        stored.map_err(|error| {
            let what = format!(
                "what the guest of switch '{}' is told cannot be stored",
                option.switch
            );
            Error::host(what).because(error)
        })
    });
    let taps = match told.and_then(|()| live.plug_in(switch.record.vpc(), &port, queues)) {
        Ok(taps) => taps,
        Err(error) => {
            // Why is what counts. What stays is taken away by the next.
            let _ = commit(&mut switch, &live, |vpc| vpc.remove_port(port.id).map(drop));
            return Err(error);
        }
    };
    let mac = MacAddress::new(port.mac.octets());
    Ok(Plugged {
        taps,
        mac: mac.expect("a port's address is an interface's"),
        mtu: Mtu::new(MTU).expect("Ethernet has frames of that length"),
    })
}

/// The subnet that is asked for, or the only one.
fn subnet(vpc: &Vpc, option: &PortOption) -> Result<Name, Error> {
    if let Some(subnet) = &option.subnet {
        return Ok(subnet.clone());
    }
    let switch = &option.switch;
    let names: Vec<&Name> = vpc.subnets().keys().collect();
    match names[..] {
        [only] => Ok(only.clone()),
        [] => Err(
            Error::configuration(format!("network '{switch}' has no subnets")).remedy(format!(
                "making one: plinth subnet create {switch}/NAME --cidr {}",
                vpc.cidr
            )),
        ),
        [first, ..] => Err(
            Error::configuration(format!("network '{switch}' has several subnets"))
                .remedy(format!("naming one: --net {switch}/{first}")),
        ),
    }
}
