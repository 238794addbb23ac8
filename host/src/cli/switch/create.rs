//! `plinth switch create`: a bridge that was not there.

use clap::Args;
use network::name::Name;

use crate::option::uplink::UplinkOption;
use crate::switch::change;
use crate::switch::directory::Switches;

use super::super::Outcome;
use super::super::output::print;

/// Make a bridge
///
/// Prints its id. Machines on it send each other frames as they are: addresses and
/// routers are their own business.
///
/// Examples:
///   plinth switch create lan --bridge
///   plinth switch create lan --bridge --uplink interface=eth1
///   plinth switch create lan --bridge \
///     --uplink vxlan=42,local=192.0.2.1,remote=192.0.2.2+192.0.2.3
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Create {
    /// What to call it
    #[arg(value_name = "NAME")]
    name: Name,

    /// It is a bridge; routed networks are made with plinth vpc create
    #[arg(long, required = true)]
    bridge: bool,

    /// What connects it with the world: interface=NAME, open-vswitch=BRIDGE, or
    /// vxlan=NUMBER,local=ADDRESS[,remote=A+B][,port=N]
    ///
    /// A bridge of the host gets a port for it, and keeps its addresses. Of any
    /// other interface it is the only user: one with addresses is refused, since
    /// they would not be reached any more. So does a bridge of Open vSwitch get a
    /// port; for OVN, its iface-id is the id that this prints. A VXLAN is a tunnel
    /// between hosts that all have the same NUMBER: `local` is this host's own
    /// address, `remote` are the others'.
    #[arg(long, value_name = "UPLINK")]
    uplink: Option<UplinkOption>,

    /// How long packets may be, in bytes; told to the machines
    ///
    /// If not given, 1500, and 50 less with a VXLAN, or 70 if that is over IPv6.
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u16>,
}

impl Create {
    pub(super) fn execute(self) -> Outcome {
        let uplink = self.uplink.map(|option| option.0);
        let switches = Switches::of_this_user()?;
        let bridge = change::create_bridge(&switches, self.name, uplink, self.mtu)?;
        print(&format!("{}\n", bridge.id))
    }
}
