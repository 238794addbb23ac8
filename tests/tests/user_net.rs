//! A network without privilege: passt between the guest and the host's sockets.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use guest_tests::{Guest, Network};

#[test]
fn a_guest_reaches_what_its_user_does_and_all_goes_unharmed() {
    let network = Network::enter_like_a_host();
    let address = network.address();
    let guest = Guest::new()
        .net("user,host=on")
        .word(network.guest_address())
        .command(&format!(
            "guest net send {address} 16M 11 && guest net receive {address}"
        ))
        .start();
    let received = network.receive();
    // passt of Debian 12 gives a connection up that such a slow guest is long to answer.
    let sent = network.send(12, 64 << 10);
    let outcome = guest.end().succeeds();
    assert_eq!(outcome.after("net: sent "), received.to_string());
    assert_eq!(outcome.after("net: received "), sent.to_string());
    assert!(received.to_string().starts_with("bytes 16777216 "));
}

#[test]
fn a_guest_does_not_reach_the_host_itself_unless_it_may() {
    let network = Network::enter_like_a_host();
    let address = network.address();
    let outcome = Guest::new()
        .net("user")
        .word(network.guest_address())
        .command(&format!(
            "timeout 5 guest net send {address} 1M 11 || echo refused"
        ))
        .run();
    outcome.says("refused\n");
}

#[test]
fn where_there_is_no_way_out_it_is_said_before_the_guest_starts() {
    let _network = Network::enter(1500);
    let outcome = Guest::new().net("user").run();
    assert!(!outcome.status.success());
    outcome.complains("passt cannot serve --net user here");
    outcome.complains("External interface not usable");
}
