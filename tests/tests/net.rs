//! A network interface, with the host's own network stack on the other side.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use guest_tests::{Guest, Network};

const MIB: usize = 1 << 20;

#[test]
fn bulk_goes_both_ways_unharmed_and_in_large_packets() {
    let network = Network::enter(1500);
    let address = network.address();
    let guest = Guest::new()
        .cpus(2)
        .net(network.option() + ",mac=02:00:00:00:00:07")
        .word(network.guest_address())
        .command(&format!(
            "guest report; guest net send {address} 64M 11 && guest net receive {address}"
        ))
        .start();
    let received = network.receive();
    let sent = network.send(12, 64 * MIB);
    let outcome = guest.end().succeeds();

    outcome.says("report: nic eth0 mac 02:00:00:00:00:07 mtu 1500 ");
    assert_eq!(outcome.after("net: sent "), received.to_string());
    assert_eq!(outcome.after("net: received "), sent.to_string());
    assert!(received.to_string().starts_with("bytes 67108864 "));

    // Segments are cut, and put together, by nobody: on average a packet
    // holds many times what fits the MTU.
    let counters = network.counters();
    for (bytes, packets) in [counters.from_guest, counters.to_guest] {
        assert!(bytes > 64 * MIB as u64, "{counters:?}");
        assert!(packets < 64 * MIB as u64 / 1500 / 2, "{counters:?}");
    }
}

#[test]
fn both_directions_at_once_with_a_large_mtu() {
    let network = Network::enter(9000);
    let guest = Guest::new()
        .net(network.option() + ",mtu=9000")
        .word(network.guest_address())
        .command("guest report; guest net echo 7")
        .start();
    guest.wait_for("net: listening");
    let (sent, back) = network.echo(7, 13, 32 * MIB);
    let outcome = guest.end().succeeds();
    assert_eq!(sent.to_string(), back.to_string());
    assert_eq!(outcome.after("net: echoed "), sent.to_string());
    outcome.says(" mtu 9000 ");
}

#[test]
fn two_vcpus_have_a_queue_each_of_an_interface_that_has_more() {
    let network = Network::enter_with_queues(1500);
    let address = network.address();
    let guest = Guest::new()
        .cpus(2)
        .net(network.option() + ",queues=3")
        .word(network.guest_address())
        .command(&format!(
            "echo queues /sys/class/net/eth0/queues/rx-*; \
             guest net send {address} 32M 11 && guest net receive {address}"
        ))
        .start();
    let received = network.receive();
    assert_eq!(network.tap_queues(), (2, 1), "nobody would read the third");
    let sent = network.send(12, 32 * MIB);
    let outcome = guest.end().succeeds();
    let queues = "/sys/class/net/eth0/queues/rx-0 /sys/class/net/eth0/queues/rx-1";
    assert_eq!(outcome.after("queues "), queues);
    assert_eq!(outcome.after("net: sent "), received.to_string());
    assert_eq!(outcome.after("net: received "), sent.to_string());
}

#[test]
fn a_tap_made_for_one_queue_is_refused_where_several_are_asked_for() {
    let network = Network::enter(1500);
    let several = network.option() + ",queues=2";
    let outcome = Guest::new().net(several).command("true").run().ends_with(2);
    outcome.complains("tap 'tap0' was made for one queue, not 2");
    outcome.complains("multi_queue");
}

/// The kernel would let both have queues of it, and spread packets over them.
#[test]
fn a_tap_with_several_queues_is_one_machine_s() {
    let network = Network::enter_with_queues(1500);
    let several = network.option() + ",queues=2";
    let first = Guest::new()
        .net(&several)
        .command("echo here; read line")
        .start();
    first.wait_for("here");
    let outcome = Guest::new().net(several).command("true").run().ends_with(2);
    outcome.complains(&format!(
        "tap 'tap0' is in use by process {} (plinth-vmm)",
        first.pid()
    ));
}
