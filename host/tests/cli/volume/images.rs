//! Volumes from disk images, to disk images and from other volumes.

use super::*;
use std::fs;

#[test]
fn an_image_becomes_a_volume_and_a_volume_an_image() {
    let machines = Machines::new();
    let image = machines.path().join("disk.img");
    let mut content = vec![0; 2 << 20];
    content[1 << 20..][..5].copy_from_slice(b"guest");
    fs::write(&image, &content).unwrap();
    let image = image.to_str().unwrap();
    let qcow2 = machines.path().join("disk.qcow2");
    let qcow2 = qcow2.to_str().unwrap();
    let done = |arguments: &[&str]| {
        let run = volume(&machines, arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.err);
    };
    done(&["import", "one", "--format", "raw", image]);
    done(&["copy", "one", "two"]);
    done(&["load", "two"]);
    done(&["export", "two", "--format", "qcow2", qcow2]);
    done(&[
        "create", "three", "--from", qcow2, "--format", "qcow2", "--iops", "5000",
    ]);
    for name in ["one", "two", "three"] {
        assert!(
            fs::read(path(&machines, name, "data")).unwrap() == content,
            "{name}"
        );
    }
    assert_eq!(shown(&machines, "three")["iops"], 5000);
}

#[test]
fn a_format_is_always_named() {
    let machines = Machines::new();
    create(&machines, "data");
    for arguments in [
        &["import", "new", "disk.img"][..],
        &["export", "data", "disk.img"],
        &["create", "new", "--from", "disk.img"],
    ] {
        volume(&machines, arguments).refused(CONFIGURATION, &["--format"]);
    }
    volume(&machines, &["create", "new"]).refused(CONFIGURATION, &["--size"]);
    volume(
        &machines,
        &["import", "new", "--format", "vmdk", "disk.img"],
    )
    .refused(CONFIGURATION, &["[possible values: raw, qcow2]"]);
}

#[test]
fn an_image_that_is_not_there_or_not_to_be_overwritten_is_named() {
    let machines = Machines::new();
    create(&machines, "data");
    volume(
        &machines,
        &["import", "new", "--format", "raw", "/nonexistent"],
    )
    .refused(
        CONFIGURATION,
        &["image '/nonexistent' cannot be opened: No such file"],
    );
    let taken = machines.path().join("taken");
    fs::write(&taken, "precious").unwrap();
    let taken = taken.to_str().unwrap();
    volume(&machines, &["export", "data", "--format", "raw", taken])
        .refused(CONFIGURATION, &[taken, "is there already"]);
    volume(&machines, &["import", "new", "--format", "qcow2", taken]).refused(
        CONFIGURATION,
        &["does not begin as a qcow2 image does", "try: --format raw"],
    );
    volume(&machines, &["copy", "data", "data"])
        .refused(CONFIGURATION, &["there is a volume 'data' already"]);
    assert_eq!(fs::read_to_string(taken).unwrap(), "precious");
}
