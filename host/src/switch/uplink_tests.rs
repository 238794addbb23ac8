//! Uplinks of bridges: in namespaces that play hosts, and what is beyond them.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use network::name::Name;

use super::bridge_fixture::{Elsewhere, Inbox, address, send, uplink};
use super::change;
use super::fixture::{Guest, Host, name, soon};
use super::kernel::Namespace;

/// A host with an interface `eth1`, and what that leads to, which is 10.0.0.200.
fn wired(host: &Host) -> (Elsewhere, Elsewhere) {
    let here = Elsewhere::new(host, "host");
    let outside = Elsewhere::new(host, "outside");
    here.cable("eth1", &outside, "wire");
    outside.add_address("wire", "10.0.0.200/24");
    (here, outside)
}

/// A guest that answers, on `lan` of a host.
fn answering(host: &Host, here: &Elsewhere, options: &str, number: u8) -> Guest {
    let guest = here.run(|| host.bridge_guest(&name("lan"), options, number));
    guest.serve_udp(7);
    guest
}

#[test]
fn an_interface_of_the_host_leads_out() {
    let host = Host::new();
    let (here, outside) = wired(&host);
    let lan = name("lan");
    let create = || host.bridge_with("lan", uplink("interface=eth1"), None);
    here.run(create).unwrap();
    let guest = answering(&host, &here, "", 1);
    let isolated = answering(&host, &here, ",private-vlan=isolated", 2);
    assert!(soon(|| outside.reaches(1)));
    assert!(soon(|| outside.reaches(2)), "an uplink is promiscuous");
    assert!(soon(|| guest.reaches_udp(&isolated, 7)));
    let differences = || here.run(|| host.differences(&lan));
    assert_eq!(differences(), [""; 0]);

    // Nobody outside is a guest.
    let wire = outside.net().link("wire").unwrap().unwrap();
    outside.net().set_mac(wire.index, guest.mac).unwrap();
    let before = host.dropped(&lan, "senders");
    assert!(!outside.reaches(2));
    assert!(host.dropped(&lan, "senders") > before);
    outside
        .net()
        .set_mac(wire.index, wire.mac.unwrap())
        .unwrap();
    assert!(soon(|| outside.reaches(1)));

    // As after a boot, and when somebody took it away.
    let (net, index) = {
        let namespace = Namespace::open(&host.namespace(&lan)).unwrap();
        let net = super::kernel::Netlink::in_namespace(&namespace).unwrap();
        let index = net.link("uplink").unwrap().unwrap().index;
        (net, index)
    };
    net.delete_link(index).unwrap();
    assert_eq!(differences(), ["its uplink is missing"]);
    for _ in 0..2 {
        here.run(|| change::up(&host.switches, &lan)).unwrap();
        assert_eq!(differences(), [""; 0]);
    }
    assert!(soon(|| outside.reaches(1)));

    // It is the host's again at once.
    drop((guest, isolated));
    here.run(|| change::delete(&host.switches, &lan)).unwrap();
    here.run(create).unwrap();
    here.run(|| change::delete(&host.switches, &lan)).unwrap();
}

#[test]
fn a_bridge_of_the_host_keeps_its_addresses() {
    let host = Host::new();
    let (here, outside) = wired(&host);
    let net = here.net();
    let bridge = net.add_bridge("br0").unwrap();
    let eth1 = net.link("eth1").unwrap().unwrap().index;
    net.set_master(eth1, Some(bridge)).unwrap();
    net.set_up(bridge).unwrap();
    here.add_address("br0", "10.0.0.100/24");
    let create = |text: &str| here.run(|| host.bridge_with(text, uplink("interface=br0"), None));
    create("lan").unwrap();
    create("other").unwrap();
    let guest = answering(&host, &here, "", 1);
    let far = here.run(|| host.bridge_guest(&name("other"), "", 2));
    assert!(soon(|| here.reaches(1)), "the host itself");
    assert!(soon(|| outside.reaches(1)));
    assert!(soon(|| far.reaches_udp(&guest, 7)));
    for lan in ["lan", "other"].map(name) {
        assert_eq!(here.run(|| host.differences(&lan)), [""; 0]);
    }
    drop((guest, far));
    here.run(|| change::delete(&host.switches, &name("lan")))
        .unwrap();
    let links = net.links().unwrap();
    let left = links.iter().filter(|link| link.name.starts_with("plinth-"));
    assert_eq!(left.count(), 1, "that of the other");
}

#[test]
fn an_uplink_that_does_not_do_is_refused_and_nothing_is_left() {
    let host = Host::new();
    let (here, _outside) = wired(&host);
    let net = here.net();
    here.cable("eth2", &here, "eth3");
    here.add_address("eth2", "192.0.2.1/24");
    let bridge = net.add_bridge("br0").unwrap();
    let eth3 = net.link("eth3").unwrap().unwrap().index;
    net.set_master(eth3, Some(bridge)).unwrap();
    let create = |text: &str, to: &str, mtu| {
        here.run(|| host.bridge_with(text, uplink(to), mtu))
            .map_err(|error| error.report())
    };
    for (to, mtu, parts) in [
        ("interface=eth9", None, ["no interface 'eth9'", "ip link"]),
        ("interface=lo", None, ["loopback", ""]),
        (
            "interface=eth2",
            None,
            ["the address 192.0.2.1/24", "cut off"],
        ),
        ("interface=eth3", None, ["a port of 'br0'", "interface=br0"]),
        (
            "interface=eth1",
            Some(9000),
            ["an MTU of 1500", "--mtu 1500"],
        ),
        ("interface=eth1", Some(100), ["from 1280", "not 100"]),
        ("vxlan=7,local=192.0.2.9", None, ["has 192.0.2.9", "local="]),
        (
            "vxlan=7,local=192.0.2.1",
            Some(1500),
            ["an MTU of 1500", "--mtu 1450"],
        ),
    ] {
        let refused = create("lan", to, mtu).unwrap_err();
        for part in parts {
            assert!(refused.contains(part), "{to}: {refused}");
        }
        assert!(host.switches.names().unwrap().is_empty());
    }
    create("lan", "interface=eth1", None).unwrap();
    let refused = create("other", "interface=eth1", None).unwrap_err();
    assert!(refused.contains("that of switch 'lan'"), "{refused}");
    create("tunnel", "vxlan=7,local=192.0.2.1", None).unwrap();
    let refused = create("other", "vxlan=7,local=192.0.2.1", None).unwrap_err();
    assert!(refused.contains("that of switch 'tunnel'"), "{refused}");
    let names = host.switches.names().unwrap();
    assert_eq!(names, ["lan", "tunnel"].map(name));
}

/// Three hosts, whose bridges are one segment; a directory of switches each.
#[test]
fn a_tunnel_spans_hosts() {
    let hosts: Vec<Host> = (0..3).map(|_| Host::new()).collect();
    let underlay = Elsewhere::new(&hosts[0], "underlay");
    let bridge = underlay.net().add_bridge("br0").unwrap();
    underlay.net().set_up(bridge).unwrap();
    let lan: Name = name("lan");
    let places: Vec<Elsewhere> = (1..)
        .zip(&hosts)
        .map(|(number, host)| {
            let here = Elsewhere::new(host, "host");
            let port = format!("port{number}");
            underlay.cable(&port, &here, "eth0");
            let link = underlay.net().link(&port).unwrap().unwrap().index;
            underlay.net().set_master(link, Some(bridge)).unwrap();
            here.add_address("eth0", &format!("192.0.2.{number}/24"));
            let others = (1..=3).filter(|other| *other != number);
            let others: Vec<String> = others.map(|other| format!("192.0.2.{other}")).collect();
            let to = format!(
                "vxlan=42,local=192.0.2.{number},remote={}",
                others.join("+")
            );
            here.run(|| host.bridge_with("lan", uplink(&to), None))
                .unwrap();
            here
        })
        .collect();
    let guests: Vec<Guest> = (1..)
        .zip(hosts.iter().zip(&places))
        .map(|(number, (host, here))| answering(host, here, "", number))
        .collect();
    for from in &guests {
        for to in guests.iter().filter(|to| to.address != from.address) {
            assert!(soon(|| from.reaches_udp(to, 7)));
        }
    }
    // As long as it may be, in one piece.
    let inbox = Inbox::new(&guests[1], 9);
    let long = "x".repeat(1450 - 28);
    send(
        &guests[0],
        guests[1].mac.octets(),
        address(2),
        9,
        long.as_bytes(),
    );
    inbox.gets(&BTreeSet::from([long]));

    for (host, here) in hosts.iter().zip(&places) {
        assert_eq!(here.run(|| host.differences(&lan)), [""; 0]);
    }
    // An end that somebody took away.
    let namespace = Namespace::open(&hosts[0].namespace(&lan)).unwrap();
    let net = super::kernel::Netlink::in_namespace(&namespace).unwrap();
    let tunnel = net.link("uplink").unwrap().unwrap().index;
    net.set_floods(tunnel, &BTreeSet::new()).unwrap();
    let found = places[0].run(|| hosts[0].differences(&lan));
    assert!(found[0].contains("its uplink is not vxlan=42"), "{found:?}");
    places[0]
        .run(|| change::up(&hosts[0].switches, &lan))
        .unwrap();
    assert_eq!(places[0].run(|| hosts[0].differences(&lan)), [""; 0]);
    // Its number is free as soon as it is deleted.
    drop(guests);
    let to = "vxlan=42,local=192.0.2.1";
    places[0]
        .run(|| change::delete(&hosts[0].switches, &lan))
        .unwrap();
    places[0]
        .run(|| hosts[0].bridge_with("lan", uplink(to), None))
        .unwrap();
}

/// The daemons of Open vSwitch, with packets in user space, for as long as this.
struct OpenVswitch(Vec<Child>);

impl OpenVswitch {
    /// In `directory`, which is empty, and `OVS_RUNDIR`.
    fn start(here: &Elsewhere, directory: &Path) -> Self {
        let data = env::var_os("OVS_PKGDATADIR").unwrap_or("/usr/share/openvswitch".into());
        let schema = PathBuf::from(data).join("vswitch.ovsschema");
        let (file, socket) = (directory.join("conf.db"), directory.join("db.sock"));
        let create = Command::new("ovsdb-tool")
            .arg("create")
            .args([&file, &schema])
            .status();
        assert!(create.unwrap().success());
        let listen = format!("--remote=punix:{}", socket.display());
        let start = |command: &mut Command| here.run(|| command.spawn().unwrap());
        let server = start(Command::new("ovsdb-server").arg(&file).arg(listen));
        assert!(soon(|| socket.exists()));
        let at = format!("unix:{}", socket.display());
        let switch = start(Command::new("ovs-vswitchd").arg("--disable-system").arg(at));
        Self(vec![server, switch])
    }
}

impl Drop for OpenVswitch {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What its user types.
fn ovs_vsctl(here: &Elsewhere, words: &str) -> String {
    let mut command = Command::new("ovs-vsctl");
    let command = command.args(words.split_whitespace());
    let output = here.run(|| command.output().unwrap());
    assert!(output.status.success(), "{words}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The directory of the test that has a process of its own.
const ALONE: &str = "PLINTH_TEST_OPEN_VSWITCH";

/// Runs the test `name` in a process of its own, whose Open vSwitch is in a directory
/// of its own.
fn alone(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    let command = command
        .args(["--exact", name, "--nocapture"])
        .env("OVS_RUNDIR", directory.path())
        .env(ALONE, directory.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("1 passed"), "{said}");
}

/// One host's bridge has a port of Open vSwitch's, which leads to another host's.
#[test]
fn open_vswitch_leads_out() {
    // Where Open vSwitch is found is the whole process's to say.
    let Some(directory) = env::var_os(ALONE) else {
        return alone("switch::uplink_tests::open_vswitch_leads_out");
    };
    let hosts = [Host::new(), Host::new()];
    let places = [
        Elsewhere::new(&hosts[0], "host"),
        Elsewhere::new(&hosts[1], "host"),
    ];
    places[0].cable("eth1", &places[1], "eth1");
    let open = OpenVswitch::start(&places[0], Path::new(&directory));
    let lan = name("lan");
    let create = |to: &str| places[0].run(|| hosts[0].bridge_with("lan", uplink(to), None));
    let refused = create("open-vswitch=br-int").unwrap_err().report();
    assert!(refused.contains("no bridge 'br-int'"), "{refused}");
    let add = "add-br br-int -- set bridge br-int datapath_type=netdev -- add-port br-int eth1";
    ovs_vsctl(&places[0], add);
    create("open-vswitch=br-int").unwrap();
    places[1]
        .run(|| hosts[1].bridge_with("lan", uplink("interface=eth1"), None))
        .unwrap();
    let near = answering(&hosts[0], &places[0], "", 1);
    let far = answering(&hosts[1], &places[1], "", 2);
    assert!(soon(|| near.reaches_udp(&far, 7)));
    assert!(soon(|| far.reaches_udp(&near, 7)));

    let stored = hosts[0].switches.read(&lan).unwrap();
    let id = stored.bridge(&lan).unwrap().id.to_string();
    let found = ovs_vsctl(
        &places[0],
        &format!("find interface external_ids:iface-id={id}"),
    );
    let end = format!("plinth-{}", &id["br-".len()..][..8]);
    assert!(found.contains(&end), "{found}");
    let differences = || places[0].run(|| hosts[0].differences(&lan));
    assert_eq!(differences(), [""; 0]);
    ovs_vsctl(&places[0], &format!("del-port br-int {end}"));
    assert_eq!(
        differences(),
        ["bridge 'br-int' of Open vSwitch lacks its port"]
    );
    for _ in 0..2 {
        places[0]
            .run(|| change::up(&hosts[0].switches, &lan))
            .unwrap();
        assert_eq!(differences(), [""; 0]);
    }
    assert!(soon(|| near.reaches_udp(&far, 7)));
    drop((near, far));
    places[0]
        .run(|| change::delete(&hosts[0].switches, &lan))
        .unwrap();
    assert_eq!(ovs_vsctl(&places[0], "list-ports br-int"), "eth1\n");
    drop(open);
}
