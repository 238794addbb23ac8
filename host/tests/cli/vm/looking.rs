//! Machines as they are listed and shown.

use super::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

#[test]
fn machines_are_listed_with_what_they_say_of_themselves() {
    let machines = Machines::new();
    let empty = vm(&machines, &["list"]);
    assert_eq!((empty.code, empty.out.as_str()), (0, ""));
    let _web = machines.start("web", detached(), usual);
    machines
        .start("db", detached(), usual)
        .end(Some("the guest crashed"));
    machines.start("mail", detached(), usual).end(None);
    let list = vm(&machines, &["list"]);
    let lines: Vec<&str> = list.out.lines().collect();
    assert_eq!(lines.len(), 4, "{}", list.out);
    assert!(lines[0].starts_with("NAME  STATE"));
    assert!(lines[1].starts_with("db    ended: the guest crashed"));
    assert!(lines[2].contains("died without a word"));
    assert!(lines[3].starts_with("web   running") && lines[3].contains("2     1 GiB"));

    let list = vm(&machines, &["list", "--output", "json"]);
    let list: serde_json::Value = serde_json::from_str(&list.out).unwrap();
    assert_eq!(list[2]["name"], "web");
    assert_eq!(list[2]["state"], "running");
    assert_eq!(list[0]["end"]["message"], "the guest crashed");
}

#[test]
fn a_machine_is_shown_alive_and_dead() {
    let machines = Machines::new();
    let disks = BTreeMap::from([("disk0".into(), PathBuf::from("/srv/d.img"))]);
    let record = Record {
        disks,
        ..detached()
    };
    let web = machines.start("web", record, usual);
    let show = vm(&machines, &["show", "web"]);
    assert_eq!(show.code, 0, "{}", show.err);
    for part in [
        "running",
        "1 GiB",
        "disk0 (disk) /srv/d.img",
        "web/api.sock",
    ] {
        assert!(show.out.contains(part), "{}", show.out);
    }
    web.end(Some("the guest crashed: triple fault"));
    let show = vm(&machines, &["show", "web"]);
    for part in ["ended: the guest crashed: triple fault", "  the last line"] {
        assert!(show.out.contains(part), "{}", show.out);
    }
    vm(&machines, &["pause", "web"]).refused(
        CONFIGURATION,
        &["'web' has ended: the guest crashed", "plinth vm show web"],
    );
    assert_eq!(vm(&machines, &["remove", "web"]).code, 0);
    vm(&machines, &["show", "web"]).refused(CONFIGURATION, &["no machine"]);
}

#[test]
fn a_machine_is_shown_with_what_its_devices_may_do_and_what_memory_it_takes() {
    let machines = Machines::new();
    let vm_now = r#"{"state":"running","cpus":2,"memory_bytes":1073741824,"devices":[
        {"name":"disk0","kind":"disk","capacity_bytes":21474836480,"read_only":true,"queues":1,
         "on_error":"wait","waits":"No space left on device",
         "limits":{"operations_per_second":3000,"bytes_per_second":1048576}},
        {"name":"net0","kind":"net","queues":4,"transmit":{"bytes_per_second":2048}}]}"#;
    let memory = r#"{"boot_bytes":1073741824,"resident_bytes":536870912,
        "requested_bytes":2147483648,"plugged_bytes":1073741824,"most_bytes":4294967296,
        "balloon":{"target_bytes":268435456,"actual_bytes":134217728}}"#;
    let _web = machines.start("web", detached(), move |line| match line {
        "GET /v1/memory" => answer("200 OK", memory),
        _ => answer("200 OK", vm_now),
    });
    let show = vm(&machines, &["show", "web"]);
    for part in [
        "disk0 (disk), 20 GiB, read-only, waits for the host: No space left on device, at most 3000 operations/s and 1 MiB/s\n",
        "net0 (net), 4 queues, transmit at most 2 KiB/s\n",
        "1 GiB of 2 GiB asked for, 4 GiB at most (512 MiB resident)\n",
        "128 MiB of 256 MiB asked for\n",
    ] {
        assert!(show.out.contains(part), "{}", show.out);
    }
    let show = vm(&machines, &["show", "web", "--output", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&show.out).unwrap();
    assert_eq!(shown["memory"]["resident_bytes"], 512 << 20);
    assert_eq!(shown["devices"][0]["limits"]["operations_per_second"], 3000);
}

#[test]
fn a_disk_that_left_late_is_forgotten() {
    let machines = Machines::new();
    let path = PathBuf::from("/srv/d.img");
    let disks = BTreeMap::from([("disk0".into(), path.clone()), ("late".into(), path)]);
    let record = Record {
        disks,
        ..detached()
    };
    let _web = machines.start("web", record, usual);
    let shown = |verb: &[&str]| {
        let run = vm(&machines, &[verb, &["--output", "json"]].concat());
        let document: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        let machine = document.get(0).unwrap_or(&document).clone();
        machine["disks"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let recorded = || {
        let file = machines.path().join(RUNTIME).join("web/vm.json");
        std::fs::read_to_string(file).unwrap()
    };
    assert_eq!(shown(&["list"]), ["disk0"]);
    assert!(recorded().contains("late"));
    assert_eq!(shown(&["show", "web"]), ["disk0"]);
    assert!(recorded().contains("disk0") && !recorded().contains("late"));
}

#[test]
fn a_relative_runtime_directory_is_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plinth"));
    command
        .args(["vm", "list"])
        .env("PLINTH_RUNTIME_DIR", "machines");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(CONFIGURATION));
    let report = String::from_utf8(output.stderr).unwrap();
    assert!(
        report.contains("PLINTH_RUNTIME_DIR is 'machines'"),
        "{report}"
    );
}

#[test]
fn a_machine_that_was_taken_over_cannot_change_what_is_recorded_of_it() {
    let machines = Machines::new();
    let lies = |_: &str| {
        answer(
            "200 OK",
            r#"{"state":"running","name":"db","pid":1,"socket":"/tmp/x","end":{}}"#,
        )
    };
    let _web = machines.start("web", detached(), lies);
    let run = vm(&machines, &["show", "web", "--output", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(shown["state"], "running");
    assert_eq!(shown["name"], "web");
    assert_eq!(shown["pid"], std::process::id());
    assert!(shown["socket"].as_str().unwrap().ends_with("web/api.sock"));
    assert!(shown.get("end").is_none(), "{shown}");
}

#[test]
fn what_is_no_machine_s_directory_is_nobody_s_concern() {
    let machines = Machines::new();
    let _web = machines.start("web", detached(), usual);
    std::fs::write(machines.path().join(RUNTIME).join("notes.txt"), "").unwrap();
    let list = vm(&machines, &["list"]);
    assert_eq!(list.code, 0, "{}", list.err);
    assert_eq!(list.out.lines().count(), 2, "{}", list.out);
    vm(&machines, &["pause", "notes.txt"]).refused(CONFIGURATION, &["there is no machine"]);
}
