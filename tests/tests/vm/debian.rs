//! A whole Debian system, which was told nothing of plinth, and what it makes
//! of verbs: udev and systemd hear of everything by themselves.

use guest_images::root_disk::CONSOLE_PASSWORD;
use guest_tests::{DiskFile, Guest, Machine, Network, Running, images};

use super::assert_ended;

const MIB: u64 = 1 << 20;

/// A shell of root on the console.
struct Shell(Running);

impl Shell {
    /// Logs in.
    fn log_in(web: &Machine) -> Self {
        let mut console = web.console();
        console.wait_for("plinth login: ");
        console.type_in("root\n");
        console.wait_for("Password: ");
        console.type_in(&format!("{CONSOLE_PASSWORD}\n"));
        console.wait_for("root@plinth");
        Self(console)
    }

    /// Has `commands` done, all of which succeed. What is typed is shown as
    /// well, so it must not be what is waited for: there is a quote in it.
    #[track_caller]
    fn does(&mut self, what: &str, commands: &str) {
        self.0
            .type_in(&format!("{commands} && echo done: '{what}'\n"));
        self.0.wait_for(&format!("done: {what}"));
    }

    /// Waits until `condition` holds.
    #[track_caller]
    fn sees(&mut self, condition: &str) {
        self.does(condition, &format!("until {condition}; do sleep 0.1; done"));
    }
}

#[test]
fn a_debian_system_uses_what_it_is_given_and_stops_by_its_power_button() {
    let network = Network::enter(1500);
    let root = DiskFile::empty(0);
    images::root_disk().copy_to(root.path()).unwrap();
    let guest = Guest::new().memory("512M,max=768M").disk(&root);
    let web = guest.argument("--cpus", "1,max=2").detach();
    let mut shell = Shell::log_in(&web);

    // udev finds a disk and names it after its id.
    let disk = DiskFile::empty(32 * MIB);
    let by_id = "/dev/disk/by-id/virtio-data";
    web.vm(&format!("attach --disk {disk},id=data"));
    shell.sees(&format!("[ -e {by_id} ]"));
    shell.does(
        "mounted",
        &format!("mkfs.ext4 -q {by_id} && mount {by_id} /mnt"),
    );

    // It grows under the mounted file system.
    web.vm("resize --disk data --size 64M");
    let size = 64 * MIB;
    shell.sees(&format!("[ $(blockdev --getsize64 {by_id}) = {size} ]"));
    shell.does(
        "filled",
        &format!("resize2fs {by_id} && fallocate -l 40M /mnt/more && umount /mnt"),
    );
    web.vm("detach data");
    shell.sees(&format!("[ ! -e {by_id} ]"));

    // networkd configures an interface that it was told of before.
    let (address, server) = (network.guest(), network.address().replace(':', "/"));
    shell.does(
        "configured",
        &format!(
            "printf '[Match]\\nName=eth0\\n[Network]\\nAddress={address}/24\\n' \
             > /etc/systemd/network/10-eth0.network && networkctl reload"
        ),
    );
    web.vm(&format!("attach --net {},id=uplink", network.option()));
    shell.sees("ip -4 address show up dev eth0 2>&1 | grep -q inet");
    shell.0.type_in(&format!("sha256sum < /dev/tcp/{server}\n"));
    let sent = network.send(3, 1 << 20).to_string();
    let (_, digest) = sent.rsplit_once(' ').unwrap();
    shell.0.wait_for(digest);
    web.vm("detach uplink");
    shell.sees("[ ! -e /sys/class/net/eth0 ]");

    // Memory and a processor more. To use a new processor is the system's
    // decision; memory comes by itself.
    web.vm("resize --memory 768M");
    shell.sees("[ $(awk \"/MemTotal/ { print \\$2 }\" /proc/meminfo) -gt 655360 ]");
    shell.does("alone", "[ $(nproc) = 1 ]");
    web.vm("resize --cpus 2");
    shell.sees("[ -e /sys/devices/system/cpu/cpu1/online ]");
    shell.does("online", "echo 1 > /sys/devices/system/cpu/cpu1/online");
    shell.sees("[ $(nproc) = 2 ]");

    web.vm("pause");
    assert_eq!(web.show()["state"], "paused");
    web.vm("resume");
    shell.does("awake", "true");
    // The session is logind's, which is who listens to the power button.
    web.vm("stop --deadline 2m");
    shell.0.end().ends_with(0);
    assert_ended(&web, "the guest powered off");
}
