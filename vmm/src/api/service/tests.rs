//! Requests and their answers, and what all tests of the service share.

mod bounds;
mod patience;
mod streams;

use super::bench::{Bench, Client, parsed, request};
use super::*;
use crate::api::request::{MAX_BODY, MAX_HEAD};
use crate::command::{Command, Reply};
use crate::description::{Description, State};
use crate::event::Event;
use crate::memory::MemoryStatus;
use std::io::{Read, Write};
use std::net::Shutdown;

const DONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";

fn pause() -> String {
    request("POST", "/v1/vm/pause", "")
}

/// The code and the field of a failure.
fn refusal(response: &str) -> (u16, String, Option<String>) {
    let (status, body) = parsed(response);
    let text = |name: &str| body["error"][name].as_str().map(str::to_owned);
    let message = text("message").unwrap();
    assert!(message.len() > 10, "{message}");
    (status, text("code").unwrap(), text("field"))
}

#[test]
fn a_command_is_answered_when_it_is_carried_out() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    for body in ["", "{}"] {
        let request = request("POST", "/v1/vm/pause", body);
        assert_eq!(bench.exchange(&mut client, &request), "");
        let (command, answer) = bench.asked().unwrap();
        assert!(matches!(command, Command::Pause));
        answer.send(Ok(Reply::Done));
        bench.settle();
        assert_eq!(client.receive(), DONE);
    }
}

#[test]
fn a_description_is_json() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    client.send(request("GET", "/v1/vm", "").as_bytes());
    let description = Description {
        state: State::Running,
        cpus: 2,
        max_cpus: 2,
        memory_bytes: 1 << 30,
        devices: Vec::new(),
    };
    let (_, answer) = bench.asked().unwrap();
    answer.send(Ok(Reply::Description(Box::new(description.clone()))));
    bench.settle();
    let (status, body) = parsed(&client.receive());
    assert_eq!(status, 200);
    assert_eq!(body, serde_json::to_value(&description).unwrap());
}

#[test]
fn memory_is_json() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    client.send(request("GET", "/v1/memory", "").as_bytes());
    let (command, answer) = bench.asked().unwrap();
    assert!(matches!(command, Command::Memory));
    let status = MemoryStatus {
        boot_bytes: 1 << 30,
        resident_bytes: 1 << 29,
        requested_bytes: 1 << 30,
        plugged_bytes: 1 << 30,
        most_bytes: 1 << 31,
        balloon: None,
    };
    answer.send(Ok(Reply::Memory(Box::new(status))));
    bench.settle();
    let (status, body) = parsed(&client.receive());
    assert_eq!(status, 200);
    assert_eq!(body["resident_bytes"], 1 << 29);
    assert_eq!(body["most_bytes"], 1_u64 << 31);
    assert!(body["balloon"].is_null());
}

#[test]
fn requests_sent_ahead_are_answered_one_after_the_other() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    let resume = request("POST", "/v1/vm/resume", "");
    let nowhere = request("GET", "/nowhere", "");
    client.send([pause(), nowhere, resume].concat().as_bytes());
    let (first, answer) = bench.asked().unwrap();
    assert!(matches!(first, Command::Pause));
    assert!(bench.asked().is_none(), "one is in progress");
    assert_eq!(client.receive(), "");
    answer.send(Ok(Reply::Done));
    let (third, answer) = bench.asked().unwrap();
    assert!(matches!(third, Command::Resume));
    let first = client.receive();
    assert!(first.starts_with(DONE));
    assert_eq!(refusal(&first[DONE.len()..]).1, "unknown-path");
    answer.send(Ok(Reply::Done));
    bench.settle();
    assert_eq!(client.receive(), DONE);
}

#[test]
fn clients_do_not_wait_for_each_other() {
    let mut bench = Bench::new();
    let (mut slow, mut quick) = (bench.client(), bench.client());
    slow.send(pause().as_bytes());
    let (_, _slow_answer) = bench.asked().unwrap();
    quick.send(request("POST", "/v1/vm/kill", "").as_bytes());
    let (command, answer) = bench.asked().unwrap();
    assert!(matches!(command, Command::Stop));
    answer.send(Ok(Reply::Done));
    bench.settle();
    assert_eq!(quick.receive(), DONE);
    assert_eq!(slow.receive(), "");
}

#[test]
fn a_machine_that_has_stopped_is_told_as_such() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    client.send(pause().as_bytes());
    drop(bench.asked().unwrap());
    bench.settle();
    let (status, code, _) = refusal(&client.receive());
    assert_eq!((status, &*code), (503, "stopped"));
}

#[test]
fn bad_requests_are_refused_and_the_connection_goes_on_where_it_can() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    for (request, status, code, field) in [
        (request("GET", "/v1/vms", ""), 404, "unknown-path", None),
        (
            request("PUT", "/v1/vm", ""),
            405,
            "method-not-allowed",
            None,
        ),
        (request("POST", "/v1/vm/pause", "{"), 400, "bad-value", None),
        (
            request("POST", "/v1/vm/pause", r#"{"now":1}"#),
            400,
            "bad-value",
            Some("now"),
        ),
    ] {
        let response = bench.exchange(&mut client, &request);
        let expected = (status, code.to_owned(), field.map(str::to_owned));
        assert_eq!(refusal(&response), expected, "{request}");
    }
    client.send(pause().as_bytes());
    assert!(bench.asked().is_some());
}

#[test]
fn a_head_is_what_a_get_would_begin_with() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    for path in ["/openapi.json", "/nowhere"] {
        let whole = bench.exchange(&mut client, &request("GET", path, ""));
        let head = bench.exchange(&mut client, &request("HEAD", path, ""));
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        assert_eq!(whole[..head.len()], head);
        assert!(whole.len() > head.len());
    }
    client.send(request("HEAD", "/metrics", "").as_bytes());
    let (command, answer) = bench.asked().unwrap();
    assert!(matches!(command, Command::Measure));
    answer.send(Ok(Reply::Measurements(Box::default())));
    bench.settle();
    let head = client.receive();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let wrong = bench.exchange(&mut client, &request("HEAD", "/v1/vm/pause", ""));
    assert!(wrong.starts_with("HTTP/1.1 405"), "{wrong}");
    assert!(wrong.ends_with("\r\n\r\n"), "{wrong}");
    let events = bench.exchange(&mut client, &request("HEAD", "/v1/events", ""));
    assert!(events.ends_with("\r\n\r\n"), "{events}");
    assert!(client.is_closed());
}

#[test]
fn after_what_cannot_be_read_the_connection_ends() {
    let mut bench = Bench::new();
    for (text, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(MAX_HEAD)), 431),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
                MAX_BODY + 1
            ),
            413,
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            411,
        ),
        ("GET / HTTP/1.0\r\n\r\n".into(), 505),
    ] {
        let mut client = bench.client();
        let response = bench.exchange(&mut client, &text);
        assert_eq!(parsed(&response).0, status, "{text}");
        assert!(response.contains("Connection: close\r\n"));
        // What it still sends is taken, so that it reads the answer.
        let more = bench.exchange(&mut client, &pause());
        assert_eq!(more, "");
        client.stream.shutdown(Shutdown::Write).unwrap();
        bench.settle();
        assert!(client.is_closed());
    }
    assert!(bench.asked().is_none());
    assert!(bench.service.connections.is_empty());
}

#[test]
fn the_largest_body_is_taken_in_any_number_of_pieces() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    let body = format!("{{{}}}", " ".repeat(MAX_BODY - 2));
    let request = request("POST", "/v1/vm/pause", &body);
    for piece in request.as_bytes().chunks(1000) {
        assert!(bench.asked().is_none());
        client.send(piece);
    }
    assert!(bench.asked().is_some());
}

#[test]
fn a_client_that_wants_to_be_told_to_go_on_is() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    let head = "POST /v1/vm/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\
                Expect: 100-continue\r\n\r\n";
    let told = bench.exchange(&mut client, head);
    assert_eq!(told, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(b"{}");
    assert!(bench.asked().is_some());
    assert_eq!(client.receive(), "");
}

#[test]
fn a_client_that_says_no_more_still_gets_its_answers() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    client.send([pause(), pause()].concat().as_bytes());
    client.stream.shutdown(Shutdown::Write).unwrap();
    for _ in 0..2 {
        let (_, answer) = bench.asked().unwrap();
        answer.send(Ok(Reply::Done));
    }
    bench.settle();
    assert_eq!(client.receive(), DONE.repeat(2));
    assert!(client.is_closed());
    assert!(bench.service.connections.is_empty());
}

#[test]
fn a_client_that_has_gone_leaves_nothing_but_what_it_asked_for() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    client.send(pause().as_bytes());
    drop(client);
    let (_, answer) = bench.asked().unwrap();
    assert!(bench.service.connections.is_empty());
    answer.send(Ok(Reply::Done));
    bench.settle();
}
