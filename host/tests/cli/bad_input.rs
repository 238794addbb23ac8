//! Every bad input ends `plinth run` before anything starts, with one message
//! that says what, which, why and what to do, and with its exit status.

use devices::block::lock::{Access, lock};

use crate::plinth::{Fixture, plinth};

const CONFIGURATION: i32 = 2;
const HOST: i32 = 3;

#[test]
fn a_kernel_must_be_given() {
    plinth(&["run"]).refused(CONFIGURATION, &["--kernel <FILE>"]);
}

#[test]
fn a_kernel_that_does_not_exist() {
    plinth(&["run", "--kernel", "/nonexistent/k"]).refused(
        CONFIGURATION,
        &[
            "kernel '/nonexistent/k' cannot be opened: No such file or directory",
            "try: another file with --kernel",
        ],
    );
}

#[test]
fn a_kernel_that_is_a_directory() {
    let f = Fixture::new();
    let directory = f.path(".");
    let directory = directory.to_str().unwrap();
    plinth(&["run", "--kernel", directory])
        .refused(CONFIGURATION, &["kernel '", directory, "' is a directory"]);
}

#[test]
fn a_kernel_that_is_empty() {
    let f = Fixture::new();
    let empty = f.file("empty", 0);
    plinth(&["run", "--kernel", &empty]).refused(CONFIGURATION, &["kernel '", "' is empty"]);
}

#[test]
fn a_kernel_that_is_a_pipe_is_not_waited_for() {
    let f = Fixture::new();
    let pipe = f.path("pipe");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    plinth(&["run", "--kernel", pipe.to_str().unwrap()])
        .refused(CONFIGURATION, &["is not a regular file"]);
}

#[test]
fn a_kernel_that_is_none_or_cut_off_or_for_another_machine() {
    let f = Fixture::new();
    let whole = std::fs::read(f.path("kernel")).unwrap();
    let mut foreign = whole.clone();
    foreign[18] = 183; // e_machine: EM_AARCH64
    for (name, bytes, why) in [
        (
            "text",
            b"hello, world".as_slice(),
            "give an uncompressed x86_64 ELF kernel",
        ),
        (
            "short",
            &whole[..whole.len() - 1],
            "the kernel image is truncated",
        ),
        ("foreign", &foreign, "the kernel image is"),
    ] {
        let path = f.path(name);
        std::fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        plinth(&["run", "--kernel", path]).refused(
            CONFIGURATION,
            &[&format!("kernel '{path}' cannot be booted: "), why],
        );
    }
}

#[test]
fn a_kernel_without_the_entry_that_is_asked_for() {
    let f = Fixture::new();
    f.run(&["--boot", "pvh"])
        .refused(CONFIGURATION, &["cannot be booted", "no usable entry"]);
}

#[test]
fn an_initrd_is_checked_like_a_kernel() {
    let f = Fixture::new();
    f.run(&["--initrd", "/nonexistent/i"]).refused(
        CONFIGURATION,
        &["initrd '/nonexistent/i' cannot be opened", "--initrd"],
    );
    f.run(&["--initrd", &f.file("empty", 0)])
        .refused(CONFIGURATION, &["initrd '", "' is empty"]);
}

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
fn a_command_line_that_is_too_long_or_has_lines() {
    let f = Fixture::new();
    f.run(&["--cmdline", &"x".repeat(2048)]).refused(
        CONFIGURATION,
        &[
            "--cmdline",
            "the kernel command line has 2048 bytes, the limit is 2047; shorten it",
        ],
    );
    f.run(&["--cmdline", "quiet\nro"])
        .refused(CONFIGURATION, &["--cmdline", "'\\n' at byte 5"]);
}

#[test]
fn a_disk_that_does_not_exist() {
    let f = Fixture::new();
    f.run(&["--disk", "/nonexistent/d"]).refused(
        CONFIGURATION,
        &[
            "disk '/nonexistent/d' cannot be opened for writing: No such file",
            "try: making it: truncate -s 1G /nonexistent/d",
        ],
    );
}

#[test]
fn a_disk_that_is_a_directory_or_a_device_without_blocks() {
    let f = Fixture::new();
    let directory = f.path(".");
    let directory = directory.to_str().unwrap();
    f.run(&["--disk", directory])
        .refused(CONFIGURATION, &["disk '", directory, "directory"]);
    f.run(&["--disk", &format!("{directory},readonly")])
        .refused(CONFIGURATION, &["' is a directory"]);
    f.run(&["--disk", "/dev/null"]).refused(
        CONFIGURATION,
        &["disk '/dev/null' is neither a regular file nor a block device"],
    );
}

#[test]
fn a_disk_without_whole_sectors() {
    let f = Fixture::new();
    let odd = f.file("odd", 1000);
    f.run(&["--disk", &odd]).refused(
        CONFIGURATION,
        &[
            &odd,
            "has 1000 bytes, which is not a multiple of 512",
            "truncate -s %512",
        ],
    );
    f.run(&["--disk", &f.file("empty", 0)])
        .refused(CONFIGURATION, &["' is empty", "truncate -s 1G"]);
}

#[test]
fn a_disk_that_may_not_be_written() {
    // Nobody may open an executable that runs for writing, root included.
    let f = Fixture::new();
    f.run(&["--disk", env!("CARGO_BIN_EXE_plinth")]).refused(
        CONFIGURATION,
        &["cannot be opened for writing: Text file busy"],
    );
}

#[test]
fn a_disk_in_use_names_who_uses_it() {
    let f = Fixture::new();
    let disk = f.file("disk", 1 << 20);
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&disk)
        .unwrap();
    let me = format!("in use by process {} (", std::process::id());

    lock(&file, Access::Exclusive).unwrap();
    for option in [disk.clone(), format!("{disk},readonly")] {
        f.run(&["--disk", &option])
            .refused(CONFIGURATION, &[&disk, &me, "try: ending that process"]);
    }
    // Readers do not disturb each other.
    lock(&file, Access::Shared).unwrap();
    f.run(&["--disk", &disk]).refused(CONFIGURATION, &[&me]);
    let run = f.run(&["--disk", &format!("{disk},readonly")]);
    assert!(!run.err.contains("in use"), "{}", run.err);
}

#[test]
fn a_disk_given_twice() {
    let f = Fixture::new();
    let disk = f.file("disk", 1 << 20);
    f.run(&["--disk", &disk, "--disk", &disk])
        .refused(CONFIGURATION, &[&disk, "is given twice", ",readonly"]);
}

#[test]
fn disk_ids_must_be_short_and_different() {
    let f = Fixture::new();
    let (one, two) = (f.file("one", 512), f.file("two", 512));
    let same = [
        "--disk",
        &format!("{one},id=a"),
        "--disk",
        &format!("{two},id=a"),
    ];
    f.run(&same)
        .refused(CONFIGURATION, &["two disks have the id 'a'", "id=ID"]);
    f.run(&["--disk", &format!("{one},id=disk1"), "--disk", &two])
        .refused(CONFIGURATION, &["two disks have the id 'disk1'"]);
    f.run(&["--disk", &format!("{one},id=123456789012345678901")])
        .refused(
            CONFIGURATION,
            &["id '123456789012345678901' does not do: a disk's id has at most 20 characters"],
        );
}

#[test]
fn unknown_disk_items() {
    let f = Fixture::new();
    f.run(&["--disk", "a,ro"]).refused(
        CONFIGURATION,
        &["'ro' is not known here: there are readonly, direct"],
    );
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
fn a_console_file_that_cannot_be_written() {
    let f = Fixture::new();
    let run = f.run_on("file=/nonexistent/c", &[]);
    // A host that cannot run guests says that first: no file is made there.
    if plinth(&["doctor"]).code == HOST {
        run.refused(HOST, &["no guest can run here"]);
    } else {
        run.refused(
            CONFIGURATION,
            &["console file '/nonexistent/c' cannot be written to"],
        );
    }
}

#[test]
fn a_refusal_leaves_no_console_file_and_no_lock() {
    let f = Fixture::new();
    let disk = f.file("disk", 1 << 20);
    let log = f.path("log");
    let console = format!("file={}", log.display());
    let run = f.run_on(&console, &["--disk", &disk, "--net", "tap=plinthnone0"]);
    run.refused(CONFIGURATION, &["tap 'plinthnone0' does not exist"]);
    assert!(!log.exists());
    let file = std::fs::File::options().write(true).open(&disk).unwrap();
    lock(&file, Access::Exclusive).unwrap();
}

#[test]
fn a_refused_report_leaves_the_console_file_as_it_was() {
    let f = Fixture::new();
    let log = f.path("log");
    std::fs::write(&log, "an earlier run").unwrap();
    let console = format!("file={}", log.display());
    let run = f.run_on(&console, &["--report", "/nonexistent/r"]);
    if plinth(&["doctor"]).code == HOST {
        run.refused(HOST, &["no guest can run here"]);
    } else {
        run.refused(CONFIGURATION, &["report file '/nonexistent/r' cannot be"]);
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "an earlier run");
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
fn a_console_or_report_file_that_is_the_disk_leaves_the_disk_alone() {
    let f = Fixture::new();
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    std::fs::write(&disk, [7; 512]).unwrap();
    let path = disk.display().to_string();
    let console = format!("file={path}");
    f.run_on(&console, &["--disk", &path]).refused(
        CONFIGURATION,
        &["console file", "is also the disk", "try: a file of its own"],
    );
    f.run(&["--disk", &path, "--report", &path])
        .refused(CONFIGURATION, &["report file", "is also the disk"]);
    assert_eq!(std::fs::read(&disk).unwrap(), [7; 512]);
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
