//! A Debian with cloud-init as it comes, on a network whose metadata service tells
//! it who it is.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs;

use guest_images::RootDisk;
use guest_tests::{DiskFile, Guest, Volumes, images};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a@b";

/// What the guest does when it is set up: it tells who it has become, by what it
/// was told, by DHCP and by DNS, and asks the service as clients do.
const USER_DATA: &str = r#"#!/bin/sh
exec >/dev/console 2>&1
echo "hostname is $(hostname)"
echo "keys are $(cat /root/.ssh/authorized_keys /home/debian/.ssh/authorized_keys)"
echo "platform is $(cloud-id) $(cat /sys/class/dmi/id/board_asset_tag)"
echo "address is $(ip -4 -o address show dev eth0)"
echo "mtu is $(cat /sys/class/net/eth0/mtu)"
echo "name is $(getent ahostsv4 first.local-1.compute.internal)"
echo "reverse is $(getent hosts 10.0.1.10)"
systemctl poweroff
"#;

#[test]
fn a_debian_with_cloud_init_becomes_what_the_metadata_service_says() {
    let host = Volumes::new();
    host.plinth("vpc create shop");
    host.plinth("subnet create shop/front --cidr 10.0.1.0/24");
    let disk = DiskFile::empty(0);
    images::root_disk().copy_to(disk.path()).unwrap();
    RootDisk::enable_cloud_init(disk.path()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let user_data = directory.path().join("user-data");
    fs::write(&user_data, USER_DATA).unwrap();
    let guest = Guest::new()
        .with_data(&host)
        .cpus(2)
        .memory("512M")
        .disk(&disk)
        .argument("--name", "first")
        .argument("--hostname", "web-1")
        .argument("--ssh-key", KEY)
        .argument("--user-data", &user_data)
        .argument("--metadata", "tokens=required")
        .net("shop/front,ip=10.0.1.10")
        .start();
    // Each takes its time where a processor is emulated.
    for stage in ["init-local", "init", "modules:config", "modules:final"] {
        guest.wait_for(&format!("running '{stage}'"));
    }
    let outcome = guest.end().ends_with(0);
    outcome.says("hostname is web-1");
    outcome.says(KEY);
    outcome.says("platform is aws i-");
    outcome.says("inet 10.0.1.10/24");
    outcome.says("mtu is 9001");
    outcome.says("10.0.1.10");
    outcome.says("reverse is 10.0.1.10");
    host.plinth("vpc delete shop");
}
