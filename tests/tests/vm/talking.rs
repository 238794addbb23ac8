//! What a machine says of itself, and its console.

use std::process::Command;

use guest_tests::{Guest, Terminal, wait};
use rustix::process::Signal;
use serde_json::Value;

use super::{heard, listen, with_a_shell};

#[test]
fn a_machine_is_found_by_its_name_and_its_console_comes_and_goes() {
    let (web, mut console) = with_a_shell(Guest::new());
    let list = web.list();
    assert!(list.contains("web   running  1     512 MiB"), "{list}");
    let show = web.show();
    assert_eq!(
        (&show["name"], &show["state"]),
        (&"web".into(), &"running".into())
    );
    assert_eq!(show["memory_bytes"], 512 << 20);

    console.type_in("variable=kept; echo $((6 * 7)) is it\n");
    console.wait_for("42 is it");
    web.refuses("console", 2, &["someone is attached"]);
    // The console goes with its command, and the machine stays.
    console.signal(Signal::KILL);
    console.end();

    let terminal = Terminal::open();
    let before = terminal.settings();
    let mut console = web.console_on(&terminal);
    // What was said last comes first.
    console.wait_for("42 is it");
    console.type_in("echo it is $variable\n");
    console.wait_for("it is kept");
    console.type_in("\u{1}d");
    let outcome = console.end().ends_with(0);
    outcome.complains("detached; 'web' runs on");
    assert_eq!(terminal.settings(), before);
    assert_eq!(web.show()["state"], "running");
}

#[test]
fn a_paused_machine_stands_still_and_goes_on() {
    let (web, mut console) = with_a_shell(Guest::new().cpus(2));
    console.type_in("while :; do n=$((n+1)); echo \"#$n\"; done\n");
    console.wait_for("\n#3\n");
    let exits = |cpu| web.metric(&format!("plinth_vcpu_exits_total{{vcpu=\"{cpu}\"}}"));

    web.vm("pause");
    assert_eq!(web.show()["state"], "paused");
    let counts = [exits(0), exits(1)];
    console.type_in("\u{3}");
    assert_eq!([exits(0), exits(1)], counts);
    web.vm("pause");
    web.vm("resume");
    // The loop ends by what was typed meanwhile.
    console.type_in("echo $((6 * 7)) is it\n");
    console.wait_for("42 is it");
    wait(|| exits(0), |exits| *exits > counts[0]);

    let events = listen(&web);
    web.vm("pause");
    web.vm("resume");
    web.vm("kill");
    let heard = heard(events);
    let names: Vec<&str> = heard.iter().map(|(event, _)| &**event).collect();
    assert!(
        names.ends_with(&["paused", "resumed", "stopped"]),
        "{names:?}"
    );
    assert_eq!(heard.last().unwrap().1.as_deref(), Some("stopped"));
}

#[test]
fn a_machine_speaks_http_at_its_control_socket() {
    let (_kernel, guest) = super::deaf();
    let web = guest.detach();
    let (head, body) = web.http("GET /v1/vm");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let vm: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&vm["state"], &vm["cpus"]), (&"running".into(), &1.into()));

    let (head, metrics) = web.http("GET /metrics");
    assert!(
        head.contains("application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(
        metrics.starts_with("# TYPE ") && metrics.ends_with("\n# EOF\n"),
        "{metrics}"
    );
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }

    let (head, body) = web.http("GET /v1/nothing");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let refusal: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(refusal["error"]["code"], "unknown-path");
    let (head, _) = web.http("GET /v1/vm/pause");
    assert!(
        head.starts_with("HTTP/1.1 405 ") && head.contains("Allow: POST"),
        "{head}"
    );

    // A program that everybody has, if this host has it.
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--unix-socket"]).arg(web.socket());
    if let Ok(output) = curl.arg("http://vm/v1/vm").output() {
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer, vm);
    }
}
