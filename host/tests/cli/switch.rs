//! `plinth vpc`, `plinth switch` and what belongs to them, as root uses them: in namespaces of the
//! test's own networks.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use host::switch::kernel::{Namespace, Netlink, nft};

use crate::machine::{DATA, Machines};
use crate::plinth::{Run, plinth_in};

const CONFIGURATION: i32 = 2;

fn run(machines: &Machines, words: &str) -> Run {
    let words: Vec<&str> = words.split_whitespace().collect();
    plinth_in(machines.path(), &words)
}

#[track_caller]
fn done(machines: &Machines, words: &str) -> String {
    let run = run(machines, words);
    assert_eq!(run.code, 0, "{words}: {}", run.err);
    run.out
}

#[track_caller]
fn refused(machines: &Machines, words: &str, parts: &[&str]) {
    let run = run(machines, words);
    assert_eq!(run.code, CONFIGURATION, "{words}: {}{}", run.out, run.err);
    for part in parts {
        assert!(run.err.contains(part), "{words}: {}", run.err);
    }
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let machines = Machines::new();
    refused(
        &machines,
        "vpc show shop",
        &["there is no switch 'shop', and no other"],
    );
    refused(
        &machines,
        "vpc create a/b",
        &["a name has 1 to 63 characters"],
    );
    refused(
        &machines,
        "vpc create shop --cidr 10.0.0.0/8",
        &["from /16 to /28"],
    );
    refused(
        &machines,
        "vpc create shop --cidr 10.0.0/16",
        &["not a range of IPv4"],
    );
    assert_eq!(done(&machines, "vpc list"), "");
    done(&machines, "vpc create shop");
    refused(
        &machines,
        "vpc create shop",
        &["there is a switch 'shop' already"],
    );
    done(&machines, "subnet create shop/front --cidr 10.0.1.0/24");
    let before = done(&machines, "vpc show shop --output json");
    for (words, part) in [
        (
            "subnet create shop/back --cidr 10.0.1.128/25",
            "overlaps subnet 'front'",
        ),
        (
            "subnet create shop/back --cidr 10.1.0.0/24",
            "is not within",
        ),
        ("subnet create back --cidr 10.0.2.0/24", "VPC/NAME"),
        ("subnet delete shop/back", "there is no subnet 'back'"),
        (
            "security-group delete shop/default",
            "belongs to every network",
        ),
        (
            "security-group authorize shop/web all --cidr 0.0.0.0/0",
            "no security group 'web'",
        ),
        (
            "security-group authorize shop/default tcp:99999 --cidr 0.0.0.0/0",
            "tcp:8000-8999",
        ),
        (
            "security-group authorize shop/default all --group db",
            "no security group 'db'",
        ),
        ("security-group authorize shop/default all", "--cidr"),
        (
            "security-group revoke shop/default tcp --cidr 0.0.0.0/0",
            "no such rule",
        ),
        (
            "route add shop/main 0.0.0.0/0 10.0.1.4",
            "no port has 10.0.1.4",
        ),
        (
            "route add shop/main 10.0.1.0/24 blackhole",
            "whose own route always holds",
        ),
        ("route delete shop/main 0.0.0.0/0", "no route to 0.0.0.0/0"),
        (
            "route associate shop/front private",
            "no route table 'private'",
        ),
        ("route delete-table shop/main", "belongs to every network"),
        (
            "network-acl delete shop/default",
            "belongs to every network",
        ),
        (
            "network-acl add shop/default 100 inbound deny all --cidr 0.0.0.0/0",
            "has an inbound rule 100 already",
        ),
        (
            "network-acl add shop/default 32767 inbound deny all --cidr 0.0.0.0/0",
            "from 1 to 32766",
        ),
        (
            "network-acl add shop/default 90 inbound drop all --cidr 0.0.0.0/0",
            "neither allow nor deny",
        ),
        (
            "network-acl add shop/default 90 sideways deny all --cidr 0.0.0.0/0",
            "inbound, outbound",
        ),
        ("network-acl add shop/default 90 inbound deny all", "--cidr"),
        (
            "network-acl remove shop/default 90 outbound",
            "has no outbound rule 90",
        ),
        (
            "network-acl associate shop/front private",
            "there is no network ACL 'private'",
        ),
        (
            "network-acl show shop/private",
            "plinth network-acl list shop",
        ),
        ("explain shop/web 10.0.1.4 80", "no machine 'web'"),
        ("explain 10.0.1.4 10.0.1.5 80", "with its network before it"),
        ("vpc delete bank", "there is no switch 'bank'"),
    ] {
        refused(&machines, words, &[part]);
    }
    assert_eq!(done(&machines, "vpc show shop --output json"), before);
    assert_eq!(done(&machines, "switch check"), "");
    done(&machines, "vpc delete shop");
    assert_eq!(done(&machines, "vpc list --output json"), "[]\n");
}

#[test]
fn network_acls_are_made_filled_and_shown() {
    let machines = Machines::new();
    done(&machines, "vpc create shop");
    done(&machines, "subnet create shop/front --cidr 10.0.1.0/24");
    let id = done(&machines, "network-acl create shop/strict");
    assert!(id.starts_with("acl-"), "{id}");
    for rule in [
        "100 inbound allow tcp:443 --cidr 0.0.0.0/0",
        "90 inbound deny all --cidr 192.0.2.0/24",
    ] {
        done(&machines, &format!("network-acl add shop/strict {rule}"));
    }
    done(&machines, "network-acl associate shop/front strict");
    let shown = done(&machines, "network-acl show shop/strict");
    let rows: Vec<String> = shown
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        rows,
        [
            "DIRECTION NUMBER ACTION TRAFFIC PEER",
            "inbound 90 deny all 192.0.2.0/24",
            "inbound 100 allow tcp:443 0.0.0.0/0",
            "inbound * deny all 0.0.0.0/0",
            "outbound * deny all 0.0.0.0/0",
        ]
    );
    let listed = done(&machines, "network-acl list shop");
    let strict = listed.lines().find(|line| line.starts_with("strict"));
    let strict = strict.unwrap();
    assert!(
        strict.contains(id.trim()) && strict.ends_with("front"),
        "{listed}"
    );
    assert!(done(&machines, "vpc show shop").contains("NETWORK ACL"));
    refused(
        &machines,
        "network-acl delete shop/strict",
        &["in use by subnet 'front'"],
    );
    assert_eq!(done(&machines, "switch check"), "");
    done(&machines, "network-acl remove shop/strict 90 inbound");
    done(&machines, "network-acl associate shop/front default");
    done(&machines, "network-acl rm shop/strict");
    assert_eq!(done(&machines, "switch check"), "");
    done(&machines, "vpc delete shop");
}

#[test]
fn peerings_are_made_shown_and_deleted() {
    let machines = Machines::new();
    done(&machines, "vpc create shop --cidr 10.0.0.0/16");
    done(&machines, "vpc create bank --cidr 10.1.0.0/16");
    done(&machines, "vpc create copy --cidr 10.0.0.0/16");
    let id = done(&machines, "peering create partners shop bank");
    assert!(id.starts_with("pcx-"), "{id}");
    for (words, part) in [
        ("peering create twice bank shop", "peered already"),
        ("peering create same shop copy", "overlaps 10.0.0.0/16"),
        ("peering create own shop shop", "with itself"),
        ("peering create partners bank copy", "'partners' already"),
        ("peering delete shop/x", "no peering 'x'; there is partners"),
        ("vpc delete bank", "plinth peering delete bank/partners"),
        (
            "route add shop/main 10.1.0.0/16 peering:x",
            "no peering 'x'; there is partners",
        ),
    ] {
        refused(&machines, words, &[part]);
    }
    done(
        &machines,
        "route add shop/main 10.1.0.0/16 peering:partners",
    );
    assert!(done(&machines, "route list shop").contains("peering:partners"));
    for (vpc, peer) in [("shop", "bank"), ("bank", "shop")] {
        let listed = done(&machines, &format!("peering list {vpc}"));
        assert!(
            listed.contains(id.trim()) && listed.contains(peer),
            "{listed}"
        );
    }
    assert_eq!(done(&machines, "switch check"), "");
    done(&machines, "peering delete bank/partners");
    assert!(!done(&machines, "peering list shop").contains("partners"));
    assert!(done(&machines, "route list shop").contains("blackhole (pcx-"));
    assert_eq!(done(&machines, "switch check"), "");
    for vpc in ["shop", "bank", "copy"] {
        done(&machines, &format!("vpc delete {vpc}"));
    }
}

/// Wherever a process is killed, both networks have the peering, or neither does.
#[test]
fn what_a_killed_process_leaves_of_a_peering_is_completed_or_removed() {
    let machines = Machines::new();
    done(&machines, "vpc create shop --cidr 10.0.0.0/16");
    done(&machines, "vpc create bank --cidr 10.1.0.0/16");
    let both_have = |round: u64| {
        done(&machines, "switch up");
        assert_eq!(done(&machines, "switch check"), "", "after {round} ms");
        let have = ["shop", "bank"]
            .map(|vpc| done(&machines, &format!("peering list {vpc}")).contains("partners"));
        assert_eq!(have[0], have[1], "after {round} ms");
        have[0]
    };
    for steps in [2, 8, 16, 24, 32, 48, 64, 96, 128] {
        let moment = Duration::from_millis(steps);
        killed_after(&machines, moment, "peering create partners shop bank");
        if !both_have(steps) {
            done(&machines, "peering create partners shop bank");
        }
        killed_after(&machines, moment, "peering delete shop/partners");
        if both_have(steps) {
            done(&machines, "peering delete shop/partners");
        }
    }
    done(&machines, "vpc delete shop");
    done(&machines, "vpc delete bank");
}

#[test]
fn a_damaged_network_does_not_hide_the_others() {
    let machines = Machines::new();
    done(&machines, "vpc create bank");
    done(&machines, "vpc create shop");
    let switches = machines.path().join(DATA).join("switches");
    let path = switches.join("bank/switch.json");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let list = run(&machines, "vpc list");
    assert!(
        list.out.contains("damaged") && list.out.contains("shop"),
        "{}",
        list.out
    );
    assert!(
        list.err.contains("switch 'bank' is damaged"),
        "{}",
        list.err
    );
    let up = run(&machines, "switch up");
    assert_ne!(up.code, 0);
    assert!(up.err.contains("switch 'bank' is damaged"), "{}", up.err);
    assert!(
        run(&machines, "switch check")
            .out
            .starts_with("bank: switch 'bank' is damaged")
    );
    fs::write(&path, whole).unwrap();
    done(&machines, "vpc delete bank");
    done(&machines, "vpc delete shop");
}

/// Wherever a process is killed, what it was doing is done by the next, or was
/// not begun.
#[test]
fn what_a_killed_process_leaves_is_completed_or_removed() {
    let machines = Machines::new();
    for (round, steps) in [0, 1, 2, 4, 6, 8, 12, 16, 24, 32].into_iter().enumerate() {
        let moment = Duration::from_millis(steps);
        killed_after(&machines, moment, "vpc create shop");
        if run(&machines, "vpc show shop").code != 0 {
            done(&machines, "vpc create shop");
        }
        killed_after(
            &machines,
            moment,
            "subnet create shop/front --cidr 10.0.1.0/24",
        );
        killed_after(&machines, moment, "security-group create shop/web");
        done(&machines, "switch up");
        assert_eq!(done(&machines, "switch check"), "", "round {round}");
        killed_after(&machines, moment, "vpc delete shop");
        if run(&machines, "vpc show shop").code == 0 {
            done(&machines, "vpc delete shop");
        }
        assert_eq!(done(&machines, "switch list --output json"), "[]\n");
    }
}

#[test]
fn a_bridge_is_made_shown_and_deleted() {
    let machines = Machines::new();
    let id = done(&machines, "switch create lan --bridge --mtu 9000");
    assert!(id.starts_with("br-"), "{id}");
    let shown = done(&machines, "switch show lan");
    for part in ["bridge", "9000", "none", "PRIVATE VLAN", id.trim()] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let shown = done(&machines, "switch show lan --output json");
    assert!(shown.contains("\"kind\": \"bridge\"") || shown.contains("\"kind\":\"bridge\""));
    done(&machines, "vpc create shop");
    done(&machines, "subnet create shop/front --cidr 10.0.1.0/24");
    let list = done(&machines, "switch list");
    assert!(list.contains("lan") && list.contains("bridge") && list.contains("vpc"));
    assert!(!done(&machines, "vpc list").contains("lan"));
    for (words, parts) in [
        ("switch create lan --bridge", ["a switch 'lan' already", ""]),
        ("switch create wan", ["--bridge", ""]),
        (
            "switch create wan --bridge --mtu 100",
            ["from 1280", "not 100"],
        ),
        (
            "switch create wan --bridge --uplink eth1",
            ["interface=NAME", ""],
        ),
        (
            "switch create wan --bridge --uplink interface=no-such-link",
            ["no interface 'no-such-link'", "ip link"],
        ),
        (
            "vpc show lan",
            ["'lan' is a bridge", "has no addresses, subnets"],
        ),
        ("vpc delete lan", ["'lan' is a bridge", ""]),
        (
            "subnet create lan/front --cidr 10.0.1.0/24",
            ["'lan' is a bridge", ""],
        ),
        ("explain lan/web 10.0.1.4 80", ["'lan' is a bridge", ""]),
        ("route list lan", ["'lan' is a bridge", ""]),
        ("security-group list lan", ["'lan' is a bridge", ""]),
        (
            "switch show shop",
            ["'shop' is a routed network", "vpc show shop"],
        ),
        ("switch show wan", ["no switch 'wan'", "one of lan, shop"]),
    ] {
        refused(&machines, words, &parts);
    }
    assert_eq!(done(&machines, "switch check"), "");
    done(&machines, "switch delete lan");
    done(&machines, "switch delete shop");
    assert_eq!(done(&machines, "switch list --output json"), "[]\n");
}

/// In a namespace that plays the host, which has the tunnel's own end.
#[test]
fn what_a_killed_process_leaves_of_a_bridge_is_completed_or_removed() {
    let machines = Machines::new();
    let name = format!("test-{}-host", std::process::id());
    let host = Namespace::create(&name).unwrap();
    let net = Netlink::in_namespace(&host).unwrap();
    let wire = net.add_veth("eth0", "eth1", &host).unwrap();
    let own = "192.0.2.1/24".parse().unwrap();
    net.add_address(wire, own).unwrap();
    let rounds = || {
        let create = "switch create lan --bridge --uplink \
                      vxlan=7,local=192.0.2.1,remote=192.0.2.2+192.0.2.3";
        for steps in [0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64] {
            let moment = Duration::from_millis(steps);
            killed_after(&machines, moment, create);
            if run(&machines, "switch show lan").code != 0 {
                done(&machines, create);
            }
            killed_after(&machines, moment, "switch up lan");
            done(&machines, "switch up");
            assert_eq!(done(&machines, "switch check"), "", "{moment:?}");
            killed_after(&machines, moment, "switch delete lan");
            if run(&machines, "switch show lan").code == 0 {
                done(&machines, "switch delete lan");
            }
            assert_eq!(done(&machines, "switch list --output json"), "[]\n");
        }
    };
    let result = host
        .within(|| catch_unwind(AssertUnwindSafe(rounds)))
        .unwrap();
    Namespace::delete(&name).unwrap();
    result.unwrap_or_else(|panic| resume_unwind(panic));
}

/// Does `work` where the host's own network is the test's.
fn on_a_host_of_its_own(work: impl FnOnce(&Namespace) + Send) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("test-cli-{}-{count}", std::process::id());
    let host = Namespace::create(&name).unwrap();
    let done = host.within(|| work(&host));
    Namespace::delete(&name).unwrap();
    done.unwrap();
}

/// Whether nothing of a network is on `host`.
fn is_untouched(host: &Namespace) -> bool {
    let rules = nft::ruleset(host).unwrap();
    let links = Netlink::in_namespace(host).unwrap().links().unwrap();
    rules["nftables"].as_array().unwrap().len() == 1
        && links.iter().all(|link| !link.name.starts_with("plinth"))
}

#[test]
fn gateways_and_public_addresses_are_made_and_shown() {
    on_a_host_of_its_own(|host| {
        let machines = Machines::new();
        let done = |words: &str| done(&machines, words);
        done("vpc create shop");
        done("subnet create shop/front --cidr 10.0.1.0/24");
        done("subnet create shop/back --cidr 10.0.2.0/24");
        assert!(is_untouched(host));
        assert!(done("internet-gateway attach shop").starts_with("igw-"));
        done("route add shop/main 0.0.0.0/0 internet-gateway");
        assert_eq!(done("address allocate shop"), "198.19.0.1\n");
        let given = done("address allocate shop --address 203.0.113.7");
        assert_eq!(given, "203.0.113.7\n");
        let made = done("nat-gateway create shop/egress --subnet front --address 203.0.113.7");
        assert!(made.starts_with("nat-"), "{made}");
        done("route create-table shop/private");
        done("route add shop/private 0.0.0.0/0 nat:egress");
        done("route associate shop/back private");
        let routes = done("route list shop");
        assert!(routes.contains("internet-gateway") && routes.contains("nat:egress"));
        let gateways = done("nat-gateway list shop");
        assert!(gateways.contains("10.0.1.4") && gateways.contains("203.0.113.7"));
        let addresses = done("address list");
        assert!(addresses.contains("NAT gateway 'egress'"), "{addresses}");
        let shown = done("vpc show shop");
        assert!(shown.contains("internet gateway  igw-"), "{shown}");
        assert!(shown.contains("198.19.0.1"), "{shown}");
        assert_eq!(done("switch check"), "");

        let refused = |words: &str, part: &str| refused(&machines, words, &[part]);
        refused(
            "internet-gateway attach shop",
            "an internet gateway already",
        );
        refused(
            "internet-gateway detach shop",
            "in use by NAT gateway 'egress'",
        );
        refused("address release shop/203.0.113.7", "in use by NAT gateway");
        refused(
            "address disassociate shop/203.0.113.7",
            "as long as there is that",
        );
        refused("address associate shop/198.19.0.1 web", "no machine 'web'");
        refused(
            "address associate shop/198.19.0.1 10.0.1.9",
            "no port has 10.0.1.9",
        );
        refused("subnet delete shop/front", "in use by NAT gateway 'egress'");
        refused("nat-gateway create shop/egress --subnet back", "already");
        done("vpc create bank");
        refused(
            "address allocate bank --address 203.0.113.7",
            "taken by network 'shop'",
        );
        refused("address allocate bank --address 127.0.0.1", "127.0.0.1");
        done("nat-gateway delete shop/egress");
        assert!(done("route list shop").contains("blackhole (nat-"));
        done("address release shop/203.0.113.7");
        done("internet-gateway detach shop");
        assert!(is_untouched(host));
        assert!(done("route list shop").contains("blackhole (igw-"));
        done("internet-gateway attach bank");
        for vpc in ["shop", "bank"] {
            done(&format!("vpc delete {vpc}"));
        }
        assert!(is_untouched(host));
    });
}

#[test]
fn ways_out_that_cannot_be_are_refused() {
    on_a_host_of_its_own(|host| {
        let machines = Machines::new();
        done(&machines, "vpc create shop");
        done(&machines, "subnet create shop/front --cidr 10.0.1.0/24");
        let before = done(&machines, "vpc show shop --output json");
        let run = "run --kernel /dev/null --publish";
        for (words, part) in [
            ("internet-gateway attach bank", "no switch 'bank'"),
            ("internet-gateway detach shop", "no internet gateway"),
            (
                "route add shop/main 0.0.0.0/0 internet-gateway",
                "no internet gateway",
            ),
            (
                "route add shop/main 0.0.0.0/0 nat:egress",
                "no NAT gateway 'egress'",
            ),
            (
                "route add shop/main 0.0.0.0/0 igw",
                "a target is internet-gateway, nat:NAME",
            ),
            ("route add shop/main 0.0.0.0/0 nat:", "a name has 1 to 63"),
            (
                "nat-gateway create shop/egress --subnet back",
                "no subnet 'back'",
            ),
            (
                "nat-gateway create shop/egress --subnet front",
                "no internet gateway",
            ),
            ("nat-gateway create egress --subnet front", "VPC/NAME"),
            ("nat-gateway delete shop/egress", "no NAT gateway 'egress'"),
            (
                "address allocate shop --address 10.0.3.3",
                "of the network itself",
            ),
            (
                "address allocate shop --address 224.0.0.1",
                "groups of hosts",
            ),
            ("address allocate shop --address 1.2.3", "invalid"),
            (
                "address release shop/203.0.113.7",
                "no public address 203.0.113.7",
            ),
            (
                "address disassociate shop/203.0.113.7",
                "no public address 203.0.113.7",
            ),
            (
                "address associate 203.0.113.7 web",
                "with its network before it",
            ),
            ("address list bank", "no switch 'bank'"),
            (&format!("{run} 8080"), "HOSTPORT:GUESTPORT"),
            (
                &format!("{run} 8080:80"),
                "the machine is on no virtual network",
            ),
            (
                &format!("{run} 8080:80 --net tap=tap0"),
                "on no virtual network",
            ),
        ] {
            refused(&machines, words, &[part]);
        }
        assert_eq!(done(&machines, "vpc show shop --output json"), before);
        done(&machines, "vpc delete shop");
        assert!(is_untouched(host));
    });
}

#[test]
fn what_a_killed_process_leaves_of_a_way_out_is_completed_or_removed() {
    on_a_host_of_its_own(|host| {
        let machines = Machines::new();
        for (round, steps) in [0, 2, 4, 8, 12, 16, 24, 32, 48, 64].into_iter().enumerate() {
            let moment = Duration::from_millis(steps);
            done(&machines, "vpc create shop");
            killed_after(&machines, moment, "internet-gateway attach shop");
            killed_after(&machines, moment, "address allocate shop");
            done(&machines, "switch up");
            assert_eq!(done(&machines, "switch check"), "", "round {round}");
            killed_after(&machines, moment, "internet-gateway detach shop");
            done(&machines, "switch up");
            assert_eq!(done(&machines, "switch check"), "", "round {round}");
            killed_after(&machines, moment, "vpc delete shop");
            if run(&machines, "vpc show shop").code == 0 {
                done(&machines, "vpc delete shop");
            }
            assert!(is_untouched(host), "round {round}");
        }
    });
}

/// Has `plinth` begin with what `words` say, and kills it after a `moment`.
fn killed_after(machines: &Machines, moment: Duration, words: &str) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_plinth"))
        .args(words.split_whitespace())
        .env("PLINTH_DATA_DIR", machines.path().join(DATA))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(moment);
    process.kill().unwrap();
    process.wait().unwrap();
}
