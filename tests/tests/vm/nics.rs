//! Network interfaces that come and go, by verbs.

use guest_tests::{Guest, Network};

use super::with_a_shell;

const MIB: usize = 1 << 20;

#[test]
fn an_interface_comes_carries_a_stream_goes_and_comes_again() {
    let network = Network::enter(1500);
    let (web, mut console) = with_a_shell(Guest::new());
    let nic = network.option() + ",id=uplink";
    let attach = format!("attach --net {nic}");
    for seed in [1, 2] {
        assert_eq!(web.vm(&attach), "uplink\n");
        let other = format!("attach --net {},id=other", network.option());
        web.refuses(&other, 2, &["tap0"]);
        console.type_in(&format!(
            "until [ -e /sys/class/net/eth0 ]; do sleep 0.1; done; \
             ip address add {}/24 dev eth0; ip link set eth0 up; guest net receive {}; \
             while [ -e /sys/class/net/eth0 ]; do sleep 0.1; done; echo round {seed} is over\n",
            network.guest(),
            network.address(),
        ));
        let sent = network.send(seed, MIB);
        console.wait_for(&format!("net: received {sent}"));
        web.vm("detach uplink");
        console.wait_for(&format!("\nround {seed} is over\n"));
    }
    web.vm("kill");
}
