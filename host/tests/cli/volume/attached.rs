//! Volumes that machines have.

use super::*;
use crate::machine::{DONE, Machine, answer};
use crate::plinth::Fixture;
use devices::block::lock::{Access, lock};
use host::registry::record::Record;

/// A machine of this process that has a device called `serial`.
fn start(machines: &Machines, name: &str, serial: &str, read_only: bool) -> Machine {
    let device = format!(r#"{{"name":"{serial}","kind":"disk","read_only":{read_only}}}"#);
    let path = format!("GET /v1/devices/{serial}");
    let resize = format!("POST /v1/devices/{serial}/resize");
    let record = Record {
        detached: true,
        ..Record::default()
    };
    machines.start(name, record, move |line| match line {
        line if line == path => answer("200 OK", &device),
        line if line == resize => answer("200 OK", r#"{"bytes":4096}"#),
        "GET /v1/devices" => answer("200 OK", "[]"),
        _ => DONE.into(),
    })
}

#[test]
fn a_volume_is_attached_with_its_lock_its_serial_number_and_its_speed() {
    let machines = Machines::new();
    let serial = create(&machines, "data");
    let web = start(&machines, "web", &serial, false);
    let attach = ["vm", "attach", "web", "--volume", "data,engine=sync"];
    let run = plinth_in(machines.path(), &attach);
    assert_eq!(
        (run.code, run.out.trim()),
        (0, serial.as_str()),
        "{}",
        run.err
    );
    let passed = web.descriptors();
    let lines = web.lines();
    assert!(
        lines[1].contains(&format!("\"name\":\"{serial}\"")),
        "{lines:?}"
    );
    assert!(
        lines[1].contains(r#""bytes_per_second":131072000"#),
        "{lines:?}"
    );
    assert!(
        lines[1].contains(r#""operations_per_second":3000"#),
        "{lines:?}"
    );

    assert!(lines[1].contains(r#""volume":{"freezes":0,"loader":false}"#));

    // The descriptor that went over holds the volume.
    plinth_in(machines.path(), &attach).refused(
        CONFIGURATION,
        &[
            "volume 'data' is attached to machine 'web'",
            &format!("plinth vm detach web {serial}"),
        ],
    );
    let shown_now = shown(&machines, "data");
    assert_eq!(shown_now["state"], "in-use");
    assert_eq!(shown_now["users"][0]["vm"], "web");
    assert!(volume(&machines, &["list"]).out.contains("in-use: web"));
    drop(passed);
    wait_until_free(&machines, "data");
    assert_eq!(shown(&machines, "data")["state"], "available");
}

#[test]
fn an_attached_volume_is_not_deleted() {
    let machines = Machines::new();
    let serial = create(&machines, "data");
    let _web = start(&machines, "web", &serial, false);
    let held = data(&machines, "data");
    for access in [Access::Exclusive, Access::Shared] {
        lock(&held, access).unwrap();
        volume(&machines, &["delete", "data"]).refused(
            CONFIGURATION,
            &["volume 'data' is attached to machine 'web'"],
        );
    }
    drop(held);
    wait_until_free(&machines, "data");
    assert_eq!(volume(&machines, &["delete", "data"]).code, 0);
}

#[test]
fn a_running_machine_hears_of_a_new_size_and_a_new_speed() {
    let machines = Machines::new();
    let serial = create(&machines, "data");
    let web = start(&machines, "web", &serial, false);
    let held = data(&machines, "data");
    lock(&held, Access::Exclusive).unwrap();

    let run = volume(&machines, &["resize", "data", "4MiB"]);
    assert_eq!((run.code, run.out.as_str()), (0, "4 MiB\n"), "{}", run.err);
    assert_eq!(held.metadata().unwrap().len(), 4 << 20);
    assert_eq!(shown(&machines, "data")["size_bytes"], 4 << 20);
    let resize = format!("POST /v1/devices/{serial}/resize {{\"bytes\":4194304}}");
    assert_eq!(web.lines()[1], resize);

    assert_eq!(
        volume(&machines, &["modify", "data", "--iops", "5000"]).code,
        0
    );
    let lines = web.lines();
    assert!(lines[0].starts_with(&format!("PUT /v1/devices/{serial}/limits")));
    assert!(
        lines[0].contains(r#""operations_per_second":5000"#),
        "{lines:?}"
    );
    volume(&machines, &["resize", "data", "2MiB"]).refused(CONFIGURATION, &["never shrinks"]);
}

#[test]
fn a_volume_that_is_only_read_does_not_grow() {
    let machines = Machines::new();
    let serial = create(&machines, "data");
    let _web = start(&machines, "web", &serial, true);
    let held = data(&machines, "data");
    lock(&held, Access::Shared).unwrap();
    volume(&machines, &["resize", "data", "4MiB"]).refused(
        CONFIGURATION,
        &["attached to machine 'web' to be read only"],
    );
    assert_eq!(held.metadata().unwrap().len(), 2 << 20);
}

#[test]
fn a_machine_starts_with_free_volumes_only() {
    let machines = Machines::new();
    let serial = create(&machines, "data");
    let f = Fixture::new();
    let kernel = f.path("kernel");
    let run = |volumes: &[&str]| {
        let common = [
            "run",
            "--console",
            "none",
            "--kernel",
            kernel.to_str().unwrap(),
        ];
        let volumes: Vec<&str> = volumes.iter().flat_map(|v| ["--volume", v]).collect();
        plinth_in(machines.path(), &[&common[..], &volumes].concat())
    };
    run(&["log"]).refused(
        CONFIGURATION,
        &["there is no volume 'log'", "try: one of data"],
    );
    run(&["data,readonly", "data,readonly"]).refused(
        CONFIGURATION,
        &[&format!(
            "the machine has volume 'data' already, as '{serial}'"
        )],
    );
    run(&["data,ro"]).refused(CONFIGURATION, &["'ro' is not known here"]);
    let held = data(&machines, "data");
    lock(&held, Access::Shared).unwrap();
    run(&["data"]).refused(CONFIGURATION, &["volume 'data' is in use by process"]);
    let shared = run(&["data,readonly"]);
    assert!(!shared.err.contains("in use"), "{}", shared.err);
}

#[test]
fn a_volume_grows_as_a_volume_and_not_as_a_file() {
    let machines = Machines::new();
    let serial = create(&machines, "data");
    let file = path(&machines, "data", "data");
    let record = Record {
        disks: [(serial.clone(), file)].into(),
        ..Record::default()
    };
    let _web = machines.start("web", record, |_| answer("200 OK", "{}"));
    let resize = ["vm", "resize", "web", "--disk", &serial, "--size", "4M"];
    plinth_in(machines.path(), &resize).refused(
        CONFIGURATION,
        &["is the volume 'data'", "plinth volume resize data SIZE"],
    );
}

#[test]
fn a_volume_is_detached_by_its_own_name() {
    let machines = Machines::new();
    let serial = create(&machines, "data");
    let file = path(&machines, "data", "data");
    let record = Record {
        disks: [(serial.clone(), file)].into(),
        ..Record::default()
    };
    let web = machines.start("web", record, |_| DONE.into());
    let log = machines.start("log", Record::default(), |_| DONE.into());
    for machine in ["web", "log"] {
        let run = plinth_in(machines.path(), &["vm", "detach", machine, "data"]);
        assert_eq!(run.code, 0, "{}", run.err);
    }
    assert!(web.lines()[0].starts_with(&format!("POST /v1/devices/{serial}/detach")));
    // A machine without that volume may have a device of that name.
    assert!(log.lines()[0].starts_with("POST /v1/devices/data/detach"));
}
