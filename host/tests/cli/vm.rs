//! `plinth vm` against a machine that answers what a test says.

mod disks;
mod ending;
mod looking;
mod streams;

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
        "GET /v1/devices/net0" => answer(
            "200 OK",
            r#"{"name":"net0","kind":"net","receive":{"operations_per_second":700,"operations_burst":7}}"#,
        ),
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
                "PUT /v1/devices/net0/limits \
                 {\"receive\":{\"operations_burst\":7,\"operations_per_second\":700},\
                 \"transmit\":{\"bytes_per_second\":1048576}}",
            ],
        ),
        (
            &[
                "limit",
                "web",
                "net0",
                "--iops",
                "5",
                "--direction",
                "receive",
            ],
            &[
                "GET /v1/devices/net0",
                "PUT /v1/devices/net0/limits \
                 {\"receive\":{\"operations_per_second\":5},\"transmit\":null}",
            ],
        ),
        (
            &[
                "limit",
                "web",
                "net0",
                "--unlimited",
                "--direction",
                "transmit",
            ],
            &[
                "GET /v1/devices/net0",
                "PUT /v1/devices/net0/limits \
                 {\"receive\":{\"operations_burst\":7,\"operations_per_second\":700},\
                 \"transmit\":null}",
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
