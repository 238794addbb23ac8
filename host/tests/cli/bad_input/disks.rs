//! Disks: files that are none, ids, and locks.

use devices::block::lock::{Access, lock};

use super::CONFIGURATION;
use crate::plinth::Fixture;

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
