//! Every bad input ends `plinth run` before anything starts, with one message
//! that says what, which, why and what to do, and with its exit status.

mod boot;
mod disks;
mod outputs;
mod seed;

use crate::plinth::Fixture;

const CONFIGURATION: i32 = 2;
const HOST: i32 = 3;

#[test]
fn memory_must_be_a_size_of_64_mib_or_more() {
    let f = Fixture::new();
    for (size, why) in [
        (
            "0",
            "0 bytes of guest memory is not possible; give a whole number of MiB",
        ),
        ("63M", "from 64 MiB to"),
        ("512", "a number alone is bytes: 512M is MiB"),
        ("much", "a size is a whole number and a unit"),
        ("512MB", "'MB' is not a unit"),
    ] {
        f.run(&["--memory", size])
            .refused(CONFIGURATION, &["--memory", why]);
    }
}

#[test]
fn memory_beyond_the_hosts() {
    // No machine with a TiB is expected to run this.
    let f = Fixture::new();
    f.run(&["--memory", "1T"]).refused(
        CONFIGURATION,
        &[
            "1 TiB of memory, and this host has",
            "try: a smaller --memory",
        ],
    );
}

#[test]
fn huge_pages_must_divide_the_memory() {
    let f = Fixture::new();
    f.run(&["--memory", "65M", "--memory-backing", "hugetlb-2m"])
        .refused(
            CONFIGURATION,
            &["65 MiB", "cannot be made of pages of 2 MiB"],
        );
}

#[test]
fn memory_that_cannot_grow_so() {
    let f = Fixture::new();
    for (memory, why) in [
        ("512M,max=256M", "larger by a multiple of 128 MiB"),
        ("512M,max=1000M", "larger by a multiple of 128 MiB"),
        ("512M,most=1G", "'most' is not known here"),
    ] {
        f.run(&["--memory", memory])
            .refused(CONFIGURATION, &["--memory", why]);
    }
    f.run(&["--memory", "512M,max=1024G"]).refused(
        CONFIGURATION,
        &["grow to", "of memory, and this host has", "a smaller max="],
    );
}

#[test]
fn vcpus_must_be_1_to_64() {
    let f = Fixture::new();
    for count in ["0", "1000", "-1", "two"] {
        f.run(&[&format!("--cpus={count}")])
            .refused(CONFIGURATION, &["--cpus", "1 to 64"]);
    }
}

#[test]
fn a_tap_that_does_not_exist() {
    let f = Fixture::new();
    f.run(&["--net", "tap=plinthnone0"]).refused(
        CONFIGURATION,
        &[
            "tap 'plinthnone0' does not exist",
            "try: sudo ip tuntap add dev plinthnone0 mode tap user $USER",
        ],
    );
    assert!(
        !std::path::Path::new("/sys/class/net/plinthnone0").exists(),
        "asking for it must not make it"
    );
}

#[test]
fn an_interface_that_is_no_tap() {
    let f = Fixture::new();
    f.run(&["--net", "tap=lo"])
        .refused(CONFIGURATION, &["network interface 'lo' is not a tap"]);
}

#[test]
fn a_bad_mac_or_mtu() {
    let f = Fixture::new();
    for (net, why) in [
        ("tap=t,mac=02:00:00:00:00", "a MAC address is six"),
        ("tap=t,mac=ff:ff:ff:ff:ff:ff", "is of a group"),
        ("tap=t,mtu=20", "from 68 to 65535"),
        ("mac=02:00:00:00:00:01", "tap=NAME is missing"),
    ] {
        f.run(&["--net", net])
            .refused(CONFIGURATION, &["--net", why]);
    }
}

#[test]
fn a_bad_vsock_or_console_device() {
    let f = Fixture::new();
    for (vsock, why) in [
        ("cid=2,socket=s", "a guest's context id is from 3"),
        ("cid=3", "socket=PATH"),
        ("socket=s", "cid=N"),
        ("cid=3,socket=s,port=1", "'port' is not known"),
    ] {
        f.run(&["--vsock", vsock])
            .refused(CONFIGURATION, &["--vsock", why]);
    }
    f.run_on("stdio,device=tty", &[]).refused(
        CONFIGURATION,
        &["--console", "'tty' is not a console's device"],
    );
}

#[test]
fn a_value_does_not_hide_the_reason() {
    let f = Fixture::new();
    let long = "9".repeat(5000);
    for (arguments, why) in [
        (["--memory", long.as_str()], "bytes"),
        (["--cpus", "\x1b[2J\n"], "1 to 64"),
        (["--cmdline", long.as_str()], "shorten it"),
        (["--unknown\x1b[2J", "x"], "unexpected argument"),
    ] {
        let run = f.run(&arguments);
        run.refused(CONFIGURATION, &[why]);
        assert!(
            run.err.len() < 1000 && !run.err.contains('\x1b'),
            "{}",
            run.err
        );
    }
}

#[test]
fn a_remedy_can_be_pasted_into_a_shell() {
    let f = Fixture::new();
    let disk = f.path("my disk");
    f.run(&["--disk", disk.to_str().unwrap()]).refused(
        CONFIGURATION,
        &[&format!("truncate -s 1G '{}'", disk.display())],
    );
    f.run(&["--net", "tap=sixteen-bytes-aa"])
        .refused(CONFIGURATION, &["is not the name of an interface", "try: "]);
}

#[test]
fn a_machines_name_and_a_detached_ones_console() {
    let f = Fixture::new();
    for name in ["", "../x", "a b", ".lock"] {
        f.run(&[&format!("--name={name}")])
            .refused(CONFIGURATION, &["--name", "letters, digits"]);
    }
    f.run_on("stdio", &["--detach"]).refused(
        CONFIGURATION,
        &["cannot be this terminal", "--console socket"],
    );
}

#[test]
fn a_bad_smbios_field() {
    let f = Fixture::new();
    f.run(&["--smbios", "uuid=1"])
        .refused(CONFIGURATION, &["--smbios", "is no UUID"]);
}

#[test]
fn more_devices_than_a_machine_has_room_for() {
    let f = Fixture::new();
    let disks = ["--disk", "/nonexistent/d"].repeat(31);
    f.run(&disks).refused(
        CONFIGURATION,
        &["31 disks and network interfaces are too many: a machine has room for 30"],
    );
}
