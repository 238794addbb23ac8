//! Ports of the host that lead to a guest.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use guest_tests::{Guest, Network, Volumes};

const BYTES: usize = 64 << 10;

/// Starts `guest`, which has port 7, and sends something there and back by port
/// 8080 of the host.
fn echoes(guest: Guest) {
    let guest = guest
        .argument("--publish", "8080:7")
        .command("guest net echo 7")
        .start();
    guest.wait_for("net: listening");
    let mut stream = TcpStream::connect(("127.0.0.1", 8080)).unwrap();
    let sent: Vec<u8> = (0..251).cycle().take(BYTES).collect();
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        sent
    });
    let mut back = vec![0; BYTES];
    stream.read_exact(&mut back).unwrap();
    assert!(back == writing.join().unwrap(), "it comes back as it was");
    stream.shutdown(Shutdown::Write).unwrap();
    guest.end().succeeds();
}

#[test]
fn a_published_port_leads_into_a_network() {
    let _network = Network::enter_like_a_host();
    let host = Volumes::new();
    host.plinth("vpc create shop");
    host.plinth("subnet create shop/front --cidr 10.0.1.0/24");
    let guest = Guest::new()
        .with_data(&host)
        .argument("--name", "web")
        .net("shop,ip=10.0.1.10")
        .word("plinth.ip=10.0.1.10/24,10.0.1.1");
    echoes(guest);
    host.plinth("vpc delete shop");
}

#[test]
fn a_published_port_leads_to_a_guest_of_a_user() {
    let network = Network::enter_like_a_host();
    echoes(Guest::new().net("user").word(network.guest_address()));
}
