//! What network ACLs make of packets that are forwarded from one subnet to another,
//! or to or from elsewhere: of every packet, whatever flow it is of, and before
//! security groups are asked. Which subnet a packet leaves, or comes into, its tap
//! says.

use serde_json::{Value, json};

use super::compile::FILTER;
use super::json::{IIF, OIF, goto, is_in, meta, pass, vmap};
use super::rules::Rules;
use super::{Chain, Set, Table};
use crate::id::{Id, OfNetworkAcl};
use crate::network_acl::NetworkAcl;
use crate::security_group::Direction;
use crate::subnet::Subnet;
use crate::vpc::Vpc;

/// Before security groups: what leaves a subnet, then what comes into one.
const LEAVES: i32 = FILTER - 20;
const ENTERS: i32 = FILTER - 10;

/// Adds to the rules of `vpc` those of its network ACLs.
pub(super) fn extend(table: &mut Table, vpc: &Vpc) {
    for acl in vpc.network_acls().values() {
        for direction in [Direction::Outbound, Direction::Inbound] {
            let name = chain_of_acl(acl.id, direction);
            table.chains.insert(name, acl_chain(acl, direction));
        }
    }
    for (name, subnet) in vpc.subnets() {
        table.sets.insert(taps_of(subnet), Set::of(&["ifname"]));
        let (_, acl) = vpc.network_acl_of(name);
        for direction in [Direction::Outbound, Direction::Inbound] {
            let chain = border_chain(subnet, acl, direction);
            let name = chain_of_border(subnet, direction);
            table.chains.insert(name, chain);
        }
    }
    for port in vpc.ports().values() {
        let taps = taps_of(&vpc.subnets()[&port.subnet]);
        if let Some(taps) = table.sets.get_mut(&taps) {
            taps.insert(&[json!(port.tap())], None);
        }
    }
    for (direction, priority, interface) in [
        (Direction::Outbound, LEAVES, IIF),
        (Direction::Inbound, ENTERS, OIF),
    ] {
        let map = format!("{direction}-border-of");
        let rules = vec![json!([vmap(meta(interface), &map)])];
        let chain = Chain::at("forward", priority, "accept", rules);
        table.chains.insert(format!("{direction}-border"), chain);
        table.sets.insert(map, borders(vpc, direction));
    }
}

/// From taps to the chains of their subnets' borders.
fn borders(vpc: &Vpc, direction: Direction) -> Set {
    let mut borders = Set::map(&["ifname"], "verdict");
    for port in vpc.ports().values() {
        let border = chain_of_border(&vpc.subnets()[&port.subnet], direction);
        borders.insert(&[json!(port.tap())], Some(goto(&border)));
    }
    borders
}

/// What has its other end in the same subnet does not cross the border.
fn border_chain(subnet: &Subnet, acl: &NetworkAcl, direction: Direction) -> Chain {
    let other = match direction {
        Direction::Outbound => OIF,
        Direction::Inbound => IIF,
    };
    let stays: Value = json!([is_in(meta(other), &taps_of(subnet)), pass()]);
    let acl = chain_of_acl(acl.id, direction);
    Chain {
        hook: None,
        rules: Rules::Written(vec![stays, json!([goto(&acl)])]),
    }
}

fn acl_chain(acl: &NetworkAcl, direction: Direction) -> Chain {
    let rules = acl.rules(direction).values().copied();
    Chain {
        hook: None,
        rules: Rules::FirstOf(direction, rules.collect()),
    }
}

fn taps_of(subnet: &Subnet) -> String {
    format!("taps-{}", subnet.id)
}

fn chain_of_border(subnet: &Subnet, direction: Direction) -> String {
    format!("{direction}-{}", subnet.id)
}

fn chain_of_acl(acl: Id<OfNetworkAcl>, direction: Direction) -> String {
    format!("{direction}-{acl}")
}
