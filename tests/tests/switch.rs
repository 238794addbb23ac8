//! Virtual switches, with real guests plugged in.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use guest_tests::{BOUND, Guest, Running, Volumes};
use rustix::process::{Pid, Signal, kill_process};

/// A guest of `shop/front` at `address`, which gives a shell.
fn guest(host: &Volumes, name: &str, address: &str, options: &str) -> Running {
    let net = format!("shop/front,ip={address}{options}");
    guest_on(host, name, net, address)
}

/// A guest plugged in as `net` says, which gives itself `address`.
fn guest_on(host: &Volumes, name: &str, net: String, address: &str) -> Running {
    let guest = Guest::new()
        .with_data(host)
        .argument("--name", name)
        .net(net)
        .word(format!("plinth.ip={address}/24"))
        .start();
    guest.wait_for("plinth-init: shell");
    guest
}

/// Has `guest` ping `address` with packets of `size`; whether it is answered.
fn pings(guest: &mut Running, address: &str, size: u16, round: u32) -> bool {
    // What is typed is shown, too: only the shell knows the sum.
    let said = |what: &str| format!("{what} {}", round + 1);
    let ask = format!(
        "ping -q -c 1 -W 1 -s {size} {address} >/dev/null && echo had $(({round}+1)) || \
         echo lost $(({round}+1)); echo done $(({round}+1))\n"
    );
    guest.type_in(&ask);
    guest.wait_for(&said("done"));
    guest.said().contains(&said("had"))
}

/// The processes that serve networks: those of this test, in the outer machine.
fn services() -> Vec<Pid> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let words = fs::read(path.join("cmdline")).ok()?;
        let pid = path.file_name()?.to_str()?.parse().ok()?;
        let serves = words.split(|byte| *byte == 0).nth(1) == Some(b"serve-network");
        serves.then(|| Pid::from_raw(pid)).flatten()
    });
    processes.collect()
}

fn service() -> Pid {
    let services = services();
    assert_eq!(services.len(), 1);
    services[0]
}

fn soon(reaches: impl Fn() -> bool) {
    let deadline = Instant::now() + BOUND;
    while !reaches() {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn guests_of_a_network_talk_as_far_as_its_rules_let_them() {
    let host = Volumes::new();
    assert!(host.plinth("vpc create shop").starts_with("vpc-"));
    host.plinth("subnet create shop/front --cidr 10.0.1.0/24");
    host.plinth("security-group create shop/web");
    let server = guest(&host, "server", "10.0.1.10", ",security-group=web");
    let mut client = guest(&host, "client", "10.0.1.20", "");

    let explain = "explain shop/client server icmp";
    assert!(!pings(&mut client, "10.0.1.10", 56, 100));
    host.refuses(explain, &[]);
    host.plinth("security-group authorize shop/web icmp --group default");
    assert!(pings(&mut client, "10.0.1.10", 56, 200));
    assert!(
        host.plinth(explain)
            .contains("'web' allows icmp group default")
    );
    assert!(pings(&mut client, "10.0.1.10", 8900, 300), "jumbo frames");
    assert!(
        pings(&mut client, "10.0.1.1", 56, 400),
        "the router answers"
    );
    assert!(!pings(&mut client, "10.0.1.99", 56, 500), "nobody has it");
    host.plinth("security-group revoke shop/web icmp --group default");
    // What is under way goes on: another ping is another flow.
    assert!(!pings(&mut client, "10.0.1.10", 56, 600));

    host.refuses("vpc delete shop", &["is in use by machine"]);
    assert_eq!(host.plinth("switch check"), "");
    kill_process(service(), Signal::KILL).unwrap();
    soon(|| services().is_empty());
    host.refuses("switch check", &[]);
    host.plinth("switch up");
    assert_eq!(host.plinth("switch check"), "");
    for guest in [server, client] {
        guest.signal(Signal::TERM);
        guest.end().ends_with(5);
    }
    soon(|| services().is_empty());
    host.plinth("switch up");
    assert!(!host.plinth("vpc show shop").contains("client"));
    host.plinth("vpc delete shop");
    assert_eq!(host.plinth("switch list --output json"), "[]");
}

#[test]
fn guests_of_a_bridge_talk_as_far_as_their_private_vlans_let_them() {
    let host = Volumes::new();
    let create = "switch create lan --bridge --mtu 9000";
    assert!(host.plinth(create).starts_with("br-"));
    let isolated = || "lan,private-vlan=isolated".to_owned();
    let router = guest_on(&host, "router", "lan,queues=2".into(), "10.0.1.1");
    let other = guest_on(&host, "other", isolated(), "10.0.1.10");
    let mut guest = guest_on(&host, "guest", isolated(), "10.0.1.20");
    assert!(pings(&mut guest, "10.0.1.1", 56, 100));
    assert!(pings(&mut guest, "10.0.1.1", 8900, 200), "jumbo frames");
    assert!(!pings(&mut guest, "10.0.1.10", 56, 300));
    host.refuses("switch delete lan", &["is in use by machine"]);
    assert_eq!(host.plinth("switch check"), "");
    for guest in [router, other, guest] {
        guest.signal(Signal::TERM);
        guest.end().ends_with(5);
    }
    host.plinth("switch delete lan");
    assert_eq!(host.plinth("switch list --output json"), "[]");
}
