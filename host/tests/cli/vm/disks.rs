//! Files of disks.

use super::*;
use devices::block::lock::{Access, lock};
use host::registry::Registry;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn an_attached_disk_goes_over_with_its_lock() {
    let machines = Machines::new();
    let web = machines.start("web", detached(), usual);
    let disk = machines.path().join("disk.img");
    let file = File::create(&disk).unwrap();
    file.set_len(1 << 20).unwrap();
    let path = disk.to_str().unwrap();

    let limited = format!("{path},iops=500,iops-burst=5");
    let run = vm(&machines, &["attach", "web", "--disk", &limited]);
    assert_eq!((run.code, run.out.as_str()), (0, "disk1\n"), "{}", run.err);
    let passed = web.descriptors();
    assert_eq!(
        passed[0].metadata().unwrap().ino(),
        file.metadata().unwrap().ino()
    );
    let lines = web.lines();
    assert!(lines[1].starts_with("POST /v1/devices {"), "{lines:?}");
    let body = r#""engine":"auto","kind":"disk","limits":{"operations_burst":5,"operations_per_second":500},"name":"disk1""#;
    assert!(lines[1].contains(body), "{lines:?}");
    assert!(vm(&machines, &["show", "web"]).out.contains("running"));

    // The machine holds the lock now, and nobody else.
    assert!(lock(&file, Access::Exclusive).is_err());
    vm(&machines, &["attach", "web", "--disk", path])
        .refused(CONFIGURATION, &["is in use by process"]);
}

#[test]
fn a_disk_s_file_grows_and_never_shrinks() {
    let machines = Machines::new();
    let disk = machines.path().join("disk.img");
    let file = File::create(&disk).unwrap();
    file.set_len(8192).unwrap();
    let web = machines.start("web", with_disk0(&disk), usual);
    let resize = |size| {
        vm(
            &machines,
            &["resize", "web", "--disk", "disk0", "--size", size],
        )
    };

    // A file of that name that the machine does not use is left alone.
    resize("16K").refused(CONFIGURATION, &["is not the file that the machine uses"]);
    lock(&file, Access::Exclusive).unwrap();
    resize("4K").refused(
        CONFIGURATION,
        &["a disk never shrinks", "--size 8192 or more"],
    );
    // Its blocks may be of 4096 bytes: the machine would refuse this size, and
    // so would the next start.
    resize("8704").refused(
        CONFIGURATION,
        &["8704 bytes", "a multiple of 4096 bytes", "--size 12288"],
    );
    assert_eq!(file.metadata().unwrap().len(), 8192);
    web.lines();

    let run = resize("16K");
    assert_eq!((run.code, run.out.as_str()), (0, "4 KiB\n"), "{}", run.err);
    assert_eq!(file.metadata().unwrap().len(), 16384);
    assert_eq!(
        web.lines()[1],
        "POST /v1/devices/disk0/resize {\"bytes\":16384}"
    );
    assert_eq!(vm(&machines, &["resize", "web", "--disk", "disk0"]).code, 0);
    assert_eq!(web.lines()[1], "POST /v1/devices/disk0/resize {}");
    vm(&machines, &["resize", "web", "--disk", "x", "--size", "1G"])
        .refused(CONFIGURATION, &["there is no such device"]);
}

#[test]
fn a_file_of_odd_size_may_stay_as_it_is_when_the_disk_follows_it() {
    let machines = Machines::new();
    let disk = machines.path().join("disk.img");
    let file = File::create(&disk).unwrap();
    file.set_len(8704).unwrap();
    lock(&file, Access::Exclusive).unwrap();
    let _web = machines.start("web", with_disk0(&disk), usual);
    let run = vm(
        &machines,
        &["resize", "web", "--disk", "disk0", "--size", "8704"],
    );
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(file.metadata().unwrap().len(), 8704);
}

#[test]
fn the_file_of_a_disk_that_has_gone_is_forgotten_and_not_that_of_its_successor() {
    let machines = Machines::new();
    let registry = Registry::at(machines.path().join(RUNTIME));
    let name = "web".parse().unwrap();
    let file = || {
        registry
            .find(&name)
            .unwrap()
            .record()
            .disks
            .get("disk0")
            .cloned()
    };
    // Before the first detach is answered, another disk has taken the name.
    let (others, of_others) = (registry.clone(), "web".parse().unwrap());
    let first = AtomicBool::new(true);
    let answer = move |line: &str| {
        if line.ends_with("detach") && first.swap(false, Ordering::Relaxed) {
            let change = |record: &mut Record| {
                record.disks.insert("disk0".into(), "/new.img".into());
            };
            others.update(&of_others, change).unwrap();
        }
        usual(line)
    };
    let _web = machines.start("web", with_disk0(Path::new("/old.img")), answer);
    for (verb, left) in [
        ("detach", Some(PathBuf::from("/new.img"))),
        ("force-detach", None),
    ] {
        let run = vm(&machines, &[verb, "web", "disk0"]);
        assert_eq!(run.code, 0, "{}", run.err);
        assert_eq!(file(), left, "{verb}");
    }
}

fn with_disk0(path: &Path) -> Record {
    Record {
        disks: BTreeMap::from([("disk0".into(), path.into())]),
        ..detached()
    }
}
