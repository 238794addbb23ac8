//! The parts of rules, as nftables reads and writes them
//! (libnftables-json(5)).

use serde_json::{Value, json};

/// What a port's key begins with: the interface a packet came in by.
pub(super) const IIF: &str = "iifname";
/// The interface it leaves by.
pub(super) const OIF: &str = "oifname";

/// A property of a packet that is not in it.
pub(super) fn meta(key: &str) -> Value {
    json!({"meta": {"key": key}})
}

/// A field of a header.
pub(super) fn payload(protocol: &str, field: &str) -> Value {
    json!({"payload": {"protocol": protocol, "field": field}})
}

/// What connection tracking knows.
pub(super) fn ct(key: &str) -> Value {
    json!({"ct": {"key": key}})
}

/// The same, of how the flow began.
pub(super) fn original(key: &str) -> Value {
    json!({"ct": {"key": key, "dir": "original"}})
}

/// The same, of how its answers come.
pub(super) fn reply(key: &str) -> Value {
    json!({"ct": {"key": key, "dir": "reply"}})
}

/// A key of several parts.
pub(super) fn concat(parts: &[Value]) -> Value {
    json!({"concat": parts})
}

/// Holds if `left` is `right`, or one of them.
pub(super) fn is(left: Value, right: impl Into<Value>) -> Value {
    compare("==", left, right.into())
}

/// Holds if `left` is not `right`.
pub(super) fn is_not(left: Value, right: impl Into<Value>) -> Value {
    compare("!=", left, right.into())
}

/// Holds if `left` is in the set `name`.
pub(super) fn is_in(left: Value, name: &str) -> Value {
    is(left, format!("@{name}"))
}

fn compare(op: &str, left: Value, right: Value) -> Value {
    json!({"match": {"op": op, "left": left, "right": right}})
}

/// Any of some values.
pub(super) fn any(values: &[&str]) -> Value {
    json!({"set": values})
}

/// From one number to another.
pub(super) fn range(first: u16, last: u16) -> Value {
    match first == last {
        true => json!(first),
        false => json!({"range": [first, last]}),
    }
}

/// The addresses of a prefix.
pub(super) fn prefix(address: &str, len: u8) -> Value {
    json!({"prefix": {"addr": address, "len": len}})
}

/// Goes where the map `name` says, if it says anything.
pub(super) fn vmap(key: Value, name: &str) -> Value {
    json!({"vmap": {"key": key, "data": format!("@{name}")}})
}

/// What the map `name` says of `key`.
pub(super) fn found(key: Value, name: &str) -> Value {
    json!({"map": {"key": key, "data": format!("@{name}")}})
}

/// Puts `value` in the place of `key`.
pub(super) fn set(key: Value, value: impl Into<Value>) -> Value {
    json!({"mangle": {"key": key, "value": value.into()}})
}

/// Marks the packet with what the map `name` says.
pub(super) fn mark_by(key: Value, name: &str) -> Value {
    set(meta("mark"), found(key, name))
}

/// The router that the packet goes to next.
pub(super) fn next_hop() -> Value {
    json!({"rt": {"key": "nexthop", "family": "ip"}})
}

/// The flow is for `address`.
pub(super) fn dnat(address: Value) -> Value {
    json!({"dnat": {"family": "ip", "addr": address}})
}

/// The flow is for `port` of `address`.
pub(super) fn dnat_to_port(address: Value, port: Value) -> Value {
    json!({"dnat": {"family": "ip", "addr": address, "port": port}})
}

/// The flow is from `address`.
pub(super) fn snat(address: Value) -> Value {
    json!({"snat": {"family": "ip", "addr": address}})
}

/// Counts what comes this far.
pub(super) fn counter() -> Value {
    json!({"counter": {"packets": 0, "bytes": 0}})
}

/// The packet passes this hook's chains of this priority.
pub(super) fn accept() -> Value {
    json!({"accept": null})
}

/// The packet is gone.
pub(super) fn drop() -> Value {
    json!({"drop": null})
}

/// Asks another chain first.
pub(super) fn jump(chain: &str) -> Value {
    json!({"jump": {"target": chain}})
}

/// Has another chain decide, and this one never.
pub(super) fn goto(chain: &str) -> Value {
    json!({"goto": {"target": chain}})
}

/// Back to the chain that asked.
pub(super) fn pass() -> Value {
    json!({"return": null})
}
