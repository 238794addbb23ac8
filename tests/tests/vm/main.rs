//! Machines that run on their own, operated as a person or a script does it:
//! by the verbs of `plinth vm`, and by HTTP at the control socket.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod debian;
mod disks;
mod ending;
mod nics;
mod resources;
mod talking;

use guest_tests::{BareKernel, Guest, Machine, Running, wait};
use serde_json::Value;

/// A machine with this guest, and its console with a shell that waits to be
/// typed at.
fn with_a_shell(guest: Guest) -> (Machine, Running) {
    let web = guest.detach();
    let console = web.console();
    console.wait_for("plinth-init: shell");
    (web, console)
}

/// A guest that runs and knows nothing of its devices: `hlt` for ever, with
/// interrupts off.
fn deaf() -> (BareKernel, Guest) {
    let kernel = BareKernel::of(&[0xf4, 0xeb, 0xfd]);
    let guest = Guest::booting(&kernel);
    (kernel, guest)
}

/// Asserts that `web` has ended with these last words, and is forgotten when
/// told to.
#[track_caller]
fn assert_ended(web: &Machine, words: &str) {
    let list = web.list();
    assert!(list.contains(&format!("web   ended: {words}")), "{list}");
    let show = web.show();
    assert_eq!(show["state"], "ended");
    assert!(
        show["end"]["message"].as_str().unwrap().contains(words),
        "{show}"
    );
    for verb in ["pause", "kill", "stop", "metrics", "console"] {
        web.refuses(verb, 2, &["'web' has ended", words, "plinth vm show web"]);
    }
    web.vm("remove");
    web.refuses("show", 2, &["there is no machine 'web'"]);
    assert_eq!(web.list(), "");
}

/// Listens to the events of `web`. When it begins to hear them nobody says, so
/// the machine is paused and resumed until it does.
fn listen(web: &Machine) -> Running {
    let events = web.follow("events");
    let look = || {
        web.vm("pause");
        web.vm("resume");
        events.said()
    };
    wait(look, |said| said.contains("resumed"));
    events
}

/// All that was heard, once the machine has ended: each event, and the device
/// or the reason.
#[track_caller]
fn heard(events: Running) -> Vec<(String, Option<String>)> {
    let outcome = events.end().ends_with(0);
    let lines = outcome.console.lines();
    let events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    events
        .map(|event| {
            assert!(event["time"].is_string(), "{event}");
            let about = text(&event["device"]).or_else(|| text(&event["reason"]));
            (text(&event["event"]).unwrap(), about)
        })
        .collect()
}
