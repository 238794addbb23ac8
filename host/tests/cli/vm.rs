//! `plinth vm` against a machine that answers what a test says.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use devices::block::lock::{Access, lock};
use host::registry::record::Record;

use crate::machine::{DONE, Machines, RUNTIME, answer};
use crate::plinth::{Run, plinth_in, plinth_with};

const CONFIGURATION: i32 = 2;

const DEVICES: &str = r#"[{"name":"disk0","kind":"disk"},{"name":"net0","kind":"net"}]"#;
const VM: &str = r#"{"state":"running","cpus":2,"memory_bytes":1073741824,
    "devices":[{"name":"disk0","kind":"disk"}]}"#;

fn detached() -> Record {
    Record {
        detached: true,
        ..Record::default()
    }
}

fn vm(machines: &Machines, arguments: &[&str]) -> Run {
    plinth_in(machines.path(), &[&["vm"], arguments].concat())
}

/// The usual answers.
fn usual(line: &str) -> String {
    match line {
        "GET /v1/vm" => answer("200 OK", VM),
        "GET /v1/devices" => answer("200 OK", DEVICES),
        "GET /v1/devices/disk0" => answer("200 OK", r#"{"name":"disk0","kind":"disk"}"#),
        "GET /v1/devices/net0" => answer("200 OK", r#"{"name":"net0","kind":"net"}"#),
        "POST /v1/devices" => answer("201 Created", r#"{"name":"new","kind":"disk"}"#),
        "POST /v1/devices/disk0/resize" => answer("200 OK", r#"{"bytes":4096}"#),
        _ if line.starts_with("GET") => answer(
            "404 Not Found",
            r#"{"error":{"code":"unknown-device","message":"there is no such device"}}"#,
        ),
        _ => DONE.into(),
    }
}

#[test]
fn an_unknown_machine_is_told_which_there_are() {
    let machines = Machines::new();
    for verb in [
        &["show"][..],
        &["pause"],
        &["stop"],
        &["kill"],
        &["console"],
        &["events"],
        &["metrics"],
        &["remove"],
        &["detach", "d"],
    ] {
        let arguments = [&verb[..1], &["web"], &verb[1..]].concat();
        vm(&machines, &arguments).refused(CONFIGURATION, &["there is no machine 'web'"]);
    }
    let _db = machines.start("db", detached(), usual);
    vm(&machines, &["pause", "web"]).refused(CONFIGURATION, &["'web'", "try: one of db"]);
    vm(&machines, &["pause", "../db"]).refused(CONFIGURATION, &["letters, digits"]);
}

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
        {"name":"disk0","kind":"disk","capacity_bytes":21474836480,"read_only":true,
         "limits":{"operations_per_second":3000,"bytes_per_second":1048576}},
        {"name":"net0","kind":"net","transmit":{"bytes_per_second":2048}}]}"#;
    let memory = r#"{"boot_bytes":1073741824,"resident_bytes":536870912,
        "requested_bytes":2147483648,"plugged_bytes":1073741824,"most_bytes":4294967296,
        "balloon":{"target_bytes":268435456,"actual_bytes":134217728}}"#;
    let _web = machines.start("web", detached(), move |line| match line {
        "GET /v1/memory" => answer("200 OK", memory),
        _ => answer("200 OK", vm_now),
    });
    let show = vm(&machines, &["show", "web"]);
    for part in [
        "disk0 (disk), 20 GiB, read-only, at most 3000 operations/s and 1 MiB/s\n",
        "net0 (net), transmit at most 2 KiB/s\n",
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

#[test]
fn each_verb_asks_for_what_it_says() {
    let machines = Machines::new();
    let web = machines.start("web", detached(), usual);
    for (arguments, expected) in [
        (&["pause", "web"][..], &["POST /v1/vm/pause"][..]),
        (&["resume", "web"], &["POST /v1/vm/resume"]),
        (&["reset", "web"], &["POST /v1/vm/reset"]),
        (
            &["detach", "web", "a/b", "--deadline", "5s"],
            &["POST /v1/devices/a%2Fb/detach {\"deadline_ms\":5000}"],
        ),
        (
            &["force-detach", "web", "disk0"],
            &["POST /v1/devices/disk0/force-detach"],
        ),
        (
            &[
                "limit",
                "web",
                "disk0",
                "--iops",
                "3000",
                "--iops-burst",
                "300",
            ],
            &[
                "GET /v1/devices/disk0",
                "PUT /v1/devices/disk0/limits \
                 {\"operations_burst\":300,\"operations_per_second\":3000}",
            ],
        ),
        (
            &["limit", "web", "disk0", "--unlimited"],
            &["GET /v1/devices/disk0", "PUT /v1/devices/disk0/limits {}"],
        ),
        (
            &[
                "limit",
                "web",
                "net0",
                "--bandwidth",
                "1M",
                "--direction",
                "transmit",
            ],
            &[
                "GET /v1/devices/net0",
                "PUT /v1/devices/net0/limits {\"transmit\":{\"bytes_per_second\":1048576}}",
            ],
        ),
        (
            &["limit", "web", "net0", "--unlimited"],
            &[
                "GET /v1/devices/net0",
                "PUT /v1/devices/net0/limits {\"receive\":null,\"transmit\":null}",
            ],
        ),
        (
            &["resize", "web", "--memory", "2G"],
            &["PUT /v1/memory {\"bytes\":2147483648}"],
        ),
        (
            &["resize", "web", "--balloon", "0"],
            &["PUT /v1/balloon {\"target_bytes\":0}"],
        ),
        (
            &["resize", "web", "--cpus", "4"],
            &["PUT /v1/cpus {\"count\":4}"],
        ),
    ] {
        let run = vm(&machines, arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.err);
        assert_eq!(web.lines(), expected);
    }
}

/// A process that lasts until it is killed.
fn process() -> Child {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_machine_that_does_not_answer_is_killed_by_its_process() {
    let machines = Machines::new();
    let mut child = process();
    let nonsense = |_: &str| "who are you?\r\n\r\n".to_owned();
    let web = machines.start_as(child.id(), "web", detached(), nonsense);
    vm(&machines, &["pause", "web"]).refused(1, &["cannot be talked to", "plinth vm kill web"]);
    let run = vm(&machines, &["kill", "web"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(web.lines(), ["POST /v1/vm/pause", "POST /v1/vm/kill"]);
}

#[test]
fn a_machine_that_stops_is_waited_for_and_not_killed() {
    let machines = Machines::new();
    for (arguments, asked) in [
        (
            &["stop", "web", "--deadline", "1m"][..],
            "POST /v1/vm/stop {\"deadline_ms\":60000}",
        ),
        (&["kill", "web"], "POST /v1/vm/kill"),
    ] {
        let mut child = process();
        let input = Mutex::new(child.stdin.take());
        // Its process ends when it has been asked to.
        let stop = move |_: &str| {
            drop(input.lock().unwrap().take());
            DONE.to_owned()
        };
        let web = machines.start_as(child.id(), "web", detached(), stop);
        let run = vm(&machines, arguments);
        assert_eq!(run.code, 0, "{}", run.err);
        assert!(child.wait().unwrap().success());
        assert_eq!(web.lines(), [asked]);
        assert_eq!(run.err, "");
        web.end(Some("the machine was stopped"));
    }
}

#[test]
fn whoever_stops_a_machine_hears_that_its_guest_was_cut_off() {
    let machines = Machines::new();
    let mut child = process();
    let input = Mutex::new(child.stdin.take());
    let end = machines.path().join(RUNTIME).join("web/end.json");
    let stop = move |_: &str| {
        let text =
            r#"{"status":5,"message":"the guest ignored it","reason":"power-cut","time_ms":1}"#;
        std::fs::write(&end, text).unwrap();
        drop(input.lock().unwrap().take());
        DONE.to_owned()
    };
    let _web = machines.start_as(child.id(), "web", detached(), stop);
    let run = vm(&machines, &["stop", "web"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(run.err, "plinth: machine 'web': the guest ignored it\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn bad_values_are_refused_before_anything_is_asked() {
    let machines = Machines::new();
    let web = machines.start("web", detached(), usual);
    for (arguments, why) in [
        (&["limit", "web", "d", "--iops", "0"][..], "from 1 to"),
        (&["limit", "web", "d", "--iops", "-5"], "from 1 to"),
        (
            &["limit", "web", "d", "--iops", "99999999999999999999"],
            "from 1 to",
        ),
        (&["limit", "web", "d", "--bandwidth", "0"], "from 1 byte"),
        (
            &["limit", "web", "d", "--bandwidth", "9999T"],
            "from 1 byte",
        ),
        (&["limit", "web", "d", "--iops-burst", "5"], "--iops"),
        (&["limit", "web", "d"], "--unlimited"),
        (
            &["limit", "web", "d", "--iops", "5", "--unlimited"],
            "cannot be used",
        ),
        (
            &["detach", "web", "d", "--deadline", "0s"],
            "from 1ms to 1h",
        ),
        (&["stop", "web", "--deadline", "30"], "500ms, 30s or 2m"),
        (&["resize", "web"], "--disk"),
        (
            &["resize", "web", "--disk", "d", "--size", "1000"],
            "sectors",
        ),
        (
            &["resize", "web", "--disk", "d", "--size", "-1G"],
            "whole number",
        ),
        (&["resize", "web", "--size", "1G"], "--disk"),
        (&["resize", "web", "--cpus", "0"], "1 to 64"),
        (&["resize", "web", "--memory", "1"], "MiB"),
        (&["attach", "web"], "--disk"),
        (
            &["attach", "web", "--net", "tap=t,mac=x"],
            "a MAC address is",
        ),
    ] {
        vm(&machines, arguments).refused(CONFIGURATION, &[why]);
        assert_eq!(web.lines(), [""; 0], "{arguments:?}");
    }
}

#[test]
fn a_refusal_of_the_machines_is_the_commands() {
    let machines = Machines::new();
    let refuse = |_: &str| {
        let body = r#"{"error":{"code":"conflict","message":"the machine is paused already"}}"#;
        answer("409 Conflict", body)
    };
    let _web = machines.start("web", detached(), refuse);
    vm(&machines, &["pause", "web"]).refused(
        CONFIGURATION,
        &["machine 'web': the machine is paused already"],
    );
    let late = |_: &str| {
        let body = r#"{"error":{"code":"guest-timeout","message":"the guest keeps 'data'"}}"#;
        answer("504 Gateway Timeout", body)
    };
    let _db = machines.start("db", detached(), late);
    vm(&machines, &["detach", "db", "data"]).refused(
        1,
        &["the guest keeps 'data'", "plinth vm force-detach db data"],
    );
}

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
    let disks = BTreeMap::from([("disk0".into(), disk.clone())]);
    let web = machines.start(
        "web",
        Record {
            disks,
            ..detached()
        },
        usual,
    );
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
fn events_are_printed_until_the_machine_ends() {
    let machines = Machines::new();
    let events = |_: &str| {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         13\r\n{\"event\":\"paused\"}\n\r\n14\r\n{\"event\":\"resumed\"}\n\r\n0\r\n\r\n"
            .to_owned()
    };
    let _web = machines.start("web", detached(), events);
    let run = vm(&machines, &["events", "web"]);
    assert_eq!(run.out, "{\"event\":\"paused\"}\n{\"event\":\"resumed\"}\n");
    assert_eq!(run.code, 0);
}

#[test]
fn events_end_when_nobody_reads_them_any_more() {
    let machines = Machines::new();
    // Whoever reads on comes upon what is no chunk.
    let events = |_: &str| {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         13\r\n{\"event\":\"paused\"}\n\r\nnonsense\r\n"
            .to_owned()
    };
    let _web = machines.start("web", detached(), events);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_plinth"))
        .args(["vm", "events", "web"])
        .env("PLINTH_RUNTIME_DIR", machines.path().join(RUNTIME))
        .stdout(writer)
        .status();
    assert_eq!(status.unwrap().code(), Some(0));
}

#[test]
fn metrics_are_printed_as_they_are() {
    let machines = Machines::new();
    let text = "# TYPE x counter\nx_total 1\n# EOF\n";
    let _web = machines.start("web", detached(), move |_| answer("200 OK", text));
    assert_eq!(vm(&machines, &["metrics", "web"]).out, text);
}

#[test]
fn a_console_carries_a_pipe_both_ways() {
    let machines = Machines::new();
    let console = |_: &str| "HTTP/1.1 101 Switching Protocols\r\n\r\nlogin: ".to_owned();
    let web = machines.start("web", detached(), console);
    let run = plinth_with(machines.path(), &["vm", "console", "web"], b"root\x01d\n");
    assert_eq!(run.out, "login: ");
    assert_eq!(web.lines(), ["POST /v1/console"]);
}

#[test]
fn every_verb_has_help_with_its_arguments() {
    let machines = Machines::new();
    let help = vm(&machines, &["--help"]);
    for verb in [
        "list",
        "show",
        "pause",
        "resume",
        "stop",
        "kill",
        "reset",
        "attach",
        "detach",
        "force-detach",
        "resize",
        "limit",
        "console",
        "events",
        "metrics",
        "remove",
    ] {
        assert!(help.out.contains(&format!("\n  {verb} ")), "{}", help.out);
        let run = vm(&machines, &[verb, "--help"]);
        assert_eq!(run.code, 0);
        assert!(run.out.contains("Usage: plinth vm "), "{}", run.out);
    }
}
