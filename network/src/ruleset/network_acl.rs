//! What network ACLs make of packets that are forwarded from one subnet to another,
//! or to or from elsewhere: of every packet, whatever flow it is of, and before
//! security groups are asked. Which subnet a packet leaves, or comes into, its tap
//! says. What goes by a NAT gateway comes into the gateway's subnet, too, and leaves
//! it, and so do its answers: the next hop says by which gateway, and the address that
//! answers are sent to.

use serde_json::{Value, json};

use super::compile::FILTER;
use super::json::{IIF, OIF, goto, is, is_in, meta, next_hop, pass, reply, vmap};
use super::rules::Rules;
use super::{Chain, Set, Table};
use crate::id::{Id, OfNetworkAcl};
use crate::network_acl::NetworkAcl;
use crate::public_address::Holder;
use crate::security_group::Direction;
use crate::subnet::Subnet;
use crate::uplink::OUT;
use crate::vpc::Vpc;

/// Before security groups: what leaves a subnet, then what comes into one.
const LEAVES: i32 = FILTER - 20;
const ENTERS: i32 = FILTER - 10;
/// In between, at a NAT gateway.
const ENTERS_GATEWAY: i32 = FILTER - 17;
const LEAVES_GATEWAY: i32 = FILTER - 14;

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
    if vpc.nat_gateways().is_empty() {
        return;
    }
    for (direction, priority) in [
        (Direction::Inbound, ENTERS_GATEWAY),
        (Direction::Outbound, LEAVES_GATEWAY),
    ] {
        let [by, at] = ["by", "at"].map(|how| format!("{direction}-gateway-{how}"));
        let rules = vec![
            json!([is(meta(OIF), OUT), vmap(next_hop(), &by)]),
            json!([is(meta(IIF), OUT), vmap(reply("ip daddr"), &at)]),
        ];
        let chain = Chain::at("forward", priority, "accept", rules);
        table.chains.insert(format!("{direction}-gateway"), chain);
        let [by_hop, by_answers] = gateways(vpc, direction);
        table.sets.extend([(by, by_hop), (at, by_answers)]);
    }
}

/// From the addresses of NAT gateways in the network, and outside, to the chains of
/// their subnets' borders.
fn gateways(vpc: &Vpc, direction: Direction) -> [Set; 2] {
    let map = || Set::map(&["ipv4_addr"], "verdict");
    let (mut by_hop, mut by_answers) = (map(), map());
    for (name, gateway) in vpc.nat_gateways() {
        let border = goto(&chain_of_border(&vpc.subnets()[&gateway.subnet], direction));
        by_hop.insert(&[json!(gateway.address)], Some(border.clone()));
        let public = vpc.public_address_of(&Holder::NatGateway(name.clone()));
        if let Some(public) = public {
            by_answers.insert(&[json!(public)], Some(border));
        }
    }
    [by_hop, by_answers]
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
