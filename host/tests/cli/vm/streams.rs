//! What a machine says for as long as somebody listens.

use super::*;
use std::process::Command;

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
