//! Streams between programs of the guest and of the host, without a network.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::io::{Read, Write};

use guest_tests::{Guest, Vsock, converse};

const MIB: usize = 1 << 20;

#[test]
fn two_thousand_host_programs_at_once_talk_to_the_guest() {
    const CONNECTIONS: u32 = 2000;
    let vsock = Vsock::new();
    let guest = Guest::new()
        .argument("--vsock", vsock.option())
        .command(&format!("guest vsock echo 52 {CONNECTIONS}"))
        .start();
    guest.wait_for("vsock: listening on port 52");
    let open: Vec<_> = (0..CONNECTIONS)
        .map(|_| vsock.connect(52).expect("the guest listens"))
        .collect();
    for (number, mut connection) in (0u64..).zip(open) {
        // All but some are closed at once by the end of this turn.
        if number % 100 == 0 {
            let (sent, back) = converse(&connection, number, 200_000);
            assert_eq!(sent.to_string(), back.to_string());
            continue;
        }
        connection.write_all(&number.to_le_bytes()).unwrap();
        connection.shutdown(std::net::Shutdown::Write).unwrap();
        let mut back = Vec::new();
        connection.read_to_end(&mut back).unwrap();
        assert_eq!(back, number.to_le_bytes());
    }
    let outcome = guest.end().succeeds();
    outcome.says("vsock: echoed on 2000 connections");
    assert!(!vsock.path().exists(), "the socket goes with the machine");
}

#[test]
fn the_guest_talks_to_services_of_the_host_a_thousand_times_and_in_bulk() {
    let vsock = Vsock::new();
    let many = vsock.echo(1024, 1000);
    let bulk = vsock.echo(1025, 1);
    let outcome = Guest::new()
        .cpus(2)
        .argument("--vsock", vsock.option())
        .command("guest vsock connect 1024 1000 5000 7 && guest vsock connect 1025 1 32M 8")
        .run()
        .succeeds();
    outcome.says("vsock: 1000 connections of 5000 bytes verified");
    outcome.says(&format!(
        "vsock: 1 connections of {} bytes verified",
        32 * MIB
    ));
    many.join().unwrap();
    bulk.join().unwrap();
}

#[test]
fn what_is_not_there_is_refused_either_way() {
    let vsock = Vsock::new();
    let mut guest = Guest::new().argument("--vsock", vsock.option()).start();
    guest.wait_for("plinth-init: shell");
    assert!(vsock.connect(99).is_none());
    guest.type_in("guest vsock connect 99 1 8 1\n");
    guest.wait_for("Connection reset by peer");
    guest.type_in("exit\n");
    guest.end().ends_with(0);
}
