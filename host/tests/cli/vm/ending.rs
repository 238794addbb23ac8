//! The ends of machines, and of their processes.

use super::*;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

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
