//! A tap whose packets the host's kernel carries by itself.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use devices::net::tap_open::open_tap;
use guest_images::run_word;
use guest_tests::{Guest, Network, embedded};
use vmm::config::{DeviceConfig, NetConfig};
use vmm::{DeviceLimits, ErrorKind, Limit, Limits, NetOptions, QueueCount, Vm};

const MIB: usize = 1 << 20;

#[test]
fn bulk_goes_both_ways_unharmed_and_in_large_packets() {
    let network = Network::enter(1500);
    let address = network.address();
    let guest = Guest::new()
        .cpus(2)
        .net(network.option() + ",vhost=on")
        .word(network.guest_address())
        .command(&format!(
            "guest net send {address} 32M 11 && guest net receive {address}"
        ))
        .start();
    let received = network.receive();
    let sent = network.send(12, 32 * MIB);
    let outcome = guest.end().succeeds();
    assert_eq!(outcome.after("net: sent "), received.to_string());
    assert_eq!(outcome.after("net: received "), sent.to_string());
    let counters = network.counters();
    for (bytes, packets) in [counters.from_guest, counters.to_guest] {
        assert!(bytes > 32 * MIB as u64, "{counters:?}");
        assert!(packets < 32 * MIB as u64 / 1500 / 2, "{counters:?}");
    }
}

#[test]
fn two_vcpus_have_a_queue_each() {
    let network = Network::enter_with_queues(1500);
    let address = network.address();
    let guest = Guest::new()
        .cpus(2)
        .net(network.option() + ",queues=3,vhost=on")
        .word(network.guest_address())
        .command(&format!(
            "guest net send {address} 16M 11 && guest net receive {address}"
        ))
        .start();
    let received = network.receive();
    assert_eq!(network.tap_queues(), (2, 1), "nobody would read the third");
    let sent = network.send(12, 16 * MIB);
    let outcome = guest.end().succeeds();
    assert!(!outcome.errors.contains("vhost-net"), "{}", outcome.errors);
    assert_eq!(outcome.after("net: sent "), received.to_string());
    assert_eq!(outcome.after("net: received "), sent.to_string());
}

/// An interface of this network that the kernel is to serve.
fn interface() -> DeviceConfig {
    let vhost = File::options()
        .read(true)
        .write(true)
        .open("/dev/vhost-net");
    DeviceConfig::Net(NetConfig {
        name: "net0".parse().unwrap(),
        cable: open_tap("tap0", QueueCount::default()).unwrap(),
        vhost: vec![OwnedFd::from(vhost.unwrap())],
        options: NetOptions {
            mac: "02:00:00:00:00:07".parse().unwrap(),
            mtu: None,
        },
        receive: None,
        transmit: None,
    })
}

fn pause_and_resume(vm: &Vm) {
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(100));
        vm.pause().unwrap();
        vm.resume().unwrap();
    }
}

#[test]
fn a_machine_paused_under_traffic_loses_none_and_this_process_carries_none() {
    let network = Network::enter(1500);
    let command = run_word("guest net echo 7; read line");
    let (builder, console) = embedded(&format!("{} {command}", network.guest_address()));
    let vm = builder
        .device(interface())
        .build()
        .unwrap()
        .start()
        .unwrap();
    assert!(console.shows("net: listening"));
    let (sent, back) = thread::scope(|scope| {
        let pauses = scope.spawn(|| pause_and_resume(&vm));
        let tallies = network.echo(7, 13, 32 * MIB);
        pauses.join().unwrap();
        tallies
    });
    assert_eq!(sent.to_string(), back.to_string());
    let net = &vm.measure().unwrap().nets[0];
    assert_eq!((net.receive.packets, net.transmit.packets), (0, 0));

    let limit = Limits::new(Some(Limit::per_second(1000).unwrap()), None);
    let limited = vm.set_limits(
        "net0".parse().unwrap(),
        DeviceLimits::Net {
            receive: limit,
            transmit: None,
        },
    );
    assert_eq!(limited.unwrap_err().kind(), ErrorKind::Configuration);
}

#[test]
fn limits_and_a_transport_without_messages_are_refused() {
    let network = Network::enter(1500);
    let served = network.option() + ",vhost=on";
    let limited = Guest::new()
        .net(served.clone() + ",tx-bandwidth=1M")
        .command("true")
        .run()
        .ends_with(2);
    limited.complains("limits do not reach packets that the kernel carries");
    let old = Guest::new()
        .argument("--transport", "mmio")
        .net(served)
        .command("true")
        .run()
        .ends_with(2);
    old.complains("--transport pci");
}
