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
