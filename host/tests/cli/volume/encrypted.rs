//! Encrypted volumes: who has the key has the volume, and nobody else.

use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::machine::{DONE, Machine, answer};
use crate::plinth::Fixture;
use host::registry::record::Record;
use vmm::sealed_key::unseal;

/// A key file of `mode`, full of `byte`.
fn key_file(machines: &Machines, byte: u8, mode: u32) -> String {
    let path = machines.path().join(format!("{byte}.key"));
    fs::write(&path, [byte; 32]).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().into()
}

/// Makes a volume of 2 MiB, encrypted under the key in `file`.
fn create_encrypted(machines: &Machines, name: &str, file: &str) -> Run {
    let arguments = ["create", name, "--size", "2MiB", "--encrypted"];
    volume(machines, &[&arguments[..], &["--key-file", file]].concat())
}

fn start(machines: &Machines) -> Machine {
    let record = Record {
        detached: true,
        ..Record::default()
    };
    machines.start("web", record, |line| match line {
        "GET /v1/devices" => answer("200 OK", "[]"),
        _ => DONE.into(),
    })
}

#[test]
fn the_machine_gets_a_key_that_is_nowhere_else() {
    let machines = Machines::new();
    let file = key_file(&machines, 7, 0o600);
    assert_eq!(create_encrypted(&machines, "data", &file).code, 0);
    assert_eq!(shown(&machines, "data")["encrypted"], true);
    let web = start(&machines);
    let run = plinth_in(
        machines.path(),
        &["vm", "attach", "web", "--volume", "data"],
    );
    assert_eq!(run.code, 0, "{}", run.err);

    let mut descriptors = web.descriptors();
    let lines = web.lines();
    assert!(lines[1].contains(r#""encrypted":true"#), "{lines:?}");
    assert_eq!(descriptors.len(), 3, "data, map and key");
    let key = unseal(OwnedFd::from(descriptors.remove(2))).unwrap();
    let record = fs::read(path(&machines, "data", "volume.json")).unwrap();
    let digits: String = key.as_bytes().map(|byte| format!("{byte:02x}")).concat();
    let places = [&record[..], lines[1].as_bytes()];
    for part in [&digits[..16], &digits[112..]] {
        let is_there = |place: &&[u8]| place.windows(16).any(|digits| digits == part.as_bytes());
        assert!(!places.iter().any(is_there));
    }
}

#[test]
fn a_wrong_key_is_refused_before_any_machine_hears_of_it() {
    let machines = Machines::new();
    let (right, wrong) = (key_file(&machines, 7, 0o600), key_file(&machines, 8, 0o600));
    assert_eq!(create_encrypted(&machines, "data", &right).code, 0);
    let web = start(&machines);
    let with_wrong = format!("data,key-file={wrong}");
    let why = ["is another than that of volume 'data'", "try: --key-file"];
    let attach = ["vm", "attach", "web", "--volume", &with_wrong];
    plinth_in(machines.path(), &attach).refused(CONFIGURATION, &why);
    assert!(web.lines().iter().all(|line| line.starts_with("GET ")));
    let files = Fixture::new();
    let kernel = files.path("kernel");
    let kernel = kernel.to_str().unwrap();
    let run = ["run", "--kernel", kernel, "--volume", &with_wrong];
    plinth_in(machines.path(), &run).refused(CONFIGURATION, &why);

    // The right one, from where it is now.
    let moved = machines.path().join("moved.key");
    fs::rename(&right, &moved).unwrap();
    let attach = |volume: &str| {
        let attach = ["vm", "attach", "web", "--volume", volume];
        plinth_in(machines.path(), &attach)
    };
    attach("data").refused(CONFIGURATION, &["key file", "cannot be read"]);
    let with_moved = format!("data,key-file={}", moved.display());
    assert_eq!(attach(&with_moved).code, 0);
}

#[test]
fn a_key_that_others_may_have_makes_no_volume() {
    let machines = Machines::new();
    let open = key_file(&machines, 7, 0o644);
    let run = create_encrypted(&machines, "data", &open);
    run.refused(CONFIGURATION, &["may be read", "644", "chmod 600"]);
    let run = create_encrypted(&machines, "data", "/nowhere");
    run.refused(CONFIGURATION, &["'/nowhere' cannot be read", "umask 077"]);
    assert_eq!(volume(&machines, &["list", "--output", "json"]).out, "[]\n");
}

#[test]
fn an_image_is_encrypted_on_its_way_in_and_decrypted_on_its_way_out() {
    let machines = Machines::new();
    let file = key_file(&machines, 7, 0o600);
    let at = |name: &str| machines.path().join(name).to_str().unwrap().to_owned();
    let mut content = vec![0; 2 << 20];
    content[300_000..][..5000].fill(b'x');
    fs::write(at("in.raw"), &content).unwrap();
    let done = |arguments: &[&str]| {
        let run = volume(&machines, arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.err);
    };
    let raw = ["import", "raw", "--format", "raw"];
    let encrypted = ["--encrypted", "--key-file", &file];
    done(&[&raw[..], &[&at("in.raw")], &encrypted].concat());
    done(&["export", "raw", "--format", "qcow2", &at("out.qcow2")]);
    let qcow2 = ["import", "qcow2", "--format", "qcow2"];
    done(&[&qcow2[..], &[&at("out.qcow2")], &encrypted].concat());
    done(&[
        "export",
        "qcow2",
        "--format",
        "raw",
        &at("out.raw"),
        "--key-file",
        &file,
    ]);
    assert!(fs::read(at("out.raw")).unwrap() == content);
    for name in ["raw", "qcow2"] {
        let stored = fs::read(path(&machines, name, "data")).unwrap();
        assert!(!stored.windows(16).any(|bytes| bytes == [b'x'; 16]));
        assert!(stored[300_000..][..5000] != [0; 5000]);
    }
}

#[test]
fn encryption_and_a_key_come_together() {
    let machines = Machines::new();
    let file = key_file(&machines, 7, 0o600);
    let create = ["create", "data", "--size", "2MiB"];
    for (more, why) in [
        (&["--encrypted"][..], "--key-file <FILE>|--key-ring <NAME>"),
        (&["--key-file", &file], "--encrypted"),
        (
            &["--encrypted", "--key-file", &file, "--key-ring", "a"],
            "cannot be used with",
        ),
        (&["--encrypted", "--key-ring", ""], "1 to 4095 bytes"),
        (
            &["--encrypted", "--key-ring", "plinth-test:none"],
            "is not there",
        ),
    ] {
        let run = volume(&machines, &[&create[..], more].concat());
        run.refused(CONFIGURATION, &[why]);
    }
    assert_eq!(create_encrypted(&machines, "data", &file).code, 0);
}

#[test]
fn a_key_for_a_volume_that_is_not_encrypted_is_refused() {
    let machines = Machines::new();
    create(&machines, "data");
    let _web = start(&machines);
    let with_key = format!("data,key-file={}", key_file(&machines, 7, 0o600));
    let attach = ["vm", "attach", "web", "--volume", &with_key];
    plinth_in(machines.path(), &attach).refused(CONFIGURATION, &["volume 'data' is not encrypted"]);
}
