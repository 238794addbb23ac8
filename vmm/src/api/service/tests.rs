use super::bench::{Bench, Client, parsed, request};
use super::*;
use crate::api::connection::{MAX_WAITING, PATIENCE};
use crate::api::machine::{MAX_IN_PROGRESS, MAX_LISTENERS};
use crate::api::outgoing::WHOLE;
use crate::api::request::{MAX_BODY, MAX_HEAD};
use crate::command::{Command, Reply};
use crate::config::ConsoleConfig;
use crate::description::{Description, DeviceDescription, DeviceKind, State};
use crate::event::{Event, StopReason};
use crate::memory::MemoryStatus;
use proptest::prelude::*;
use std::fs::File;
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
fn a_request_has_ten_seconds() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    // A client may be idle for as long as it wants.
    bench.pass(PATIENCE * 100);
    let request = pause();
    let (first, rest) = request.split_at(10);
    client.send(first.as_bytes());
    bench.settle();
    bench.pass(PATIENCE - Duration::from_millis(1));
    client.send(&rest.as_bytes()[..3]);
    bench.settle();
    assert_eq!(client.receive(), "");
    bench.pass(Duration::from_millis(1));
    assert_eq!(refusal(&client.receive()).1, "too-slow");
    bench.pass(Duration::from_secs(1));
    assert!(client.is_closed());
}

#[test]
fn the_machine_may_take_longer_than_the_client() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    client.send(pause().as_bytes());
    let (_, answer) = bench.asked().unwrap();
    bench.pass(PATIENCE * 100);
    answer.send(Ok(Reply::Done));
    bench.settle();
    assert_eq!(client.receive(), DONE);
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

#[test]
fn a_client_that_reads_nothing_gets_only_so_far() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    let requests = request("GET", "/nowhere", "").repeat(500);
    loop {
        client.send(requests.as_bytes());
        bench.settle();
        if bench.interest() == PollFlags::OUT {
            break;
        }
    }
    bench.pass(PATIENCE);
    assert!(bench.service.connections.is_empty());
}

#[test]
fn a_client_that_reads_a_little_now_and_then_does_not_do_so_for_ever() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    client.send(request("GET", "/v1/vm", "").as_bytes());
    let (_, answer) = bench.asked().unwrap();
    let device = DeviceDescription::new("data".parse().unwrap(), DeviceKind::Net);
    let description = Description {
        state: State::Running,
        cpus: 1,
        max_cpus: 1,
        memory_bytes: 1,
        devices: vec![device; 200_000],
    };
    answer.send(Ok(Reply::Description(Box::new(description))));
    bench.settle();
    let step = PATIENCE / 2;
    let mut passed = Duration::ZERO;
    let mut taken = vec![0; 1 << 20];
    while passed + step < WHOLE {
        // Most of what waits in the kernel: it tells of no less room.
        assert!(client.stream.read(&mut taken).unwrap() > 0);
        bench.pass(step);
        passed += step;
        assert_eq!(bench.service.connections.len(), 1, "after {passed:?}");
    }
    assert!(client.stream.read(&mut taken).unwrap() > 0);
    bench.pass(step);
    assert!(bench.service.connections.is_empty());
}

#[test]
fn a_stream_of_events_outlasts_the_time_for_an_answer() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    bench.exchange(&mut client, &request("GET", "/v1/events", ""));
    bench.pass(WHOLE * 2);
    bench.happens(&Event::Paused);
    assert!(client.receive().contains("paused"));
    bench.pass(WHOLE * 2);
    bench.post(Mail::Ended);
    assert!(client.receive().ends_with("0\r\n\r\n"));
}

#[test]
fn listeners_leave_room_for_requests() {
    let mut bench = Bench::new();
    let events = request("GET", "/v1/events", "");
    let mut listeners: Vec<Client> = Vec::new();
    for _ in 0..MAX_LISTENERS {
        let mut client = bench.client();
        let head = bench.exchange(&mut client, &events);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        listeners.push(client);
    }
    let mut client = bench.client();
    let refused = bench.exchange(&mut client, &events);
    assert_eq!(refusal(&refused), (503, "busy".into(), None));
    // It can do all else, and so can others.
    for client in [&mut client, &mut bench.client()] {
        client.send(pause().as_bytes());
        let (_, answer) = bench.asked().unwrap();
        answer.send(Ok(Reply::Done));
        bench.settle();
        assert_eq!(client.receive(), DONE);
    }
    drop(listeners.pop());
    bench.settle();
    let head = bench.exchange(&mut client, &events);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[test]
fn events_are_streamed_until_the_last() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    let head = bench.exchange(&mut client, &request("GET", "/v1/events", ""));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
    bench.happens(&Event::Started);
    let line = "{\"event\":\"started\",\"time\":\"1970-01-01T00:00:00.000Z\"}\n";
    assert_eq!(client.receive(), format!("{:x}\r\n{line}\r\n", line.len()));
    bench.happens(&Event::Stopped(StopReason::PowerOff));
    bench.post(Mail::Ended);
    let end = client.receive();
    assert!(end.contains("\"reason\":\"power-off\""), "{end}");
    assert!(end.ends_with("\r\n0\r\n\r\n"), "{end}");
    // Whoever asks now hears that there is nothing to come.
    let mut late = bench.client();
    let stream = bench.exchange(&mut late, &request("GET", "/v1/events", ""));
    assert!(stream.ends_with("\r\n0\r\n\r\n"), "{stream}");
}

#[test]
fn who_does_not_read_events_hears_how_many_were_lost() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    bench.exchange(&mut client, &request("GET", "/v1/events", ""));
    let mut told = 0;
    let mut text = String::new();
    while bench.interest().is_empty() {
        bench.happens(&Event::Paused);
        told += 1;
    }
    for _ in 0..MAX_WAITING / 50 {
        bench.happens(&Event::Paused);
        told += 1;
    }
    bench.post(Mail::Lost(5));
    while !text.contains("lost") {
        bench.settle();
        text += &client.receive();
    }
    let heard = text.matches("\"paused\"").count();
    let lost = told - heard + 5;
    assert!(lost > 5, "{heard} of {told}");
    assert!(text.contains(&format!("\"count\":{lost}}}\n")), "{lost}");
    bench.happens(&Event::Resumed);
    assert!(client.receive().contains("resumed"));
}

#[test]
fn a_client_attaches_to_the_console_types_and_leaves() {
    let (near, far) = ConsoleConfig::served().unwrap();
    let mut bench = Bench::with_console(Some(far));
    let (mut output, mut input) = (File::from(near.output), File::from(near.input.unwrap()));
    output.write_all(b"login: ").unwrap();
    bench.settle();
    let attach = "POST /v1/console HTTP/1.1\r\nHost: x\r\n\
                  Connection: Upgrade\r\nUpgrade: plinth-console\r\n\r\n";
    let mut first = bench.client();
    // What is typed at once is input as well.
    let shown = bench.exchange(&mut first, &format!("{attach}ro"));
    assert!(
        shown.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{shown}"
    );
    assert!(shown.ends_with("\r\n\r\nlogin: "), "{shown}");
    first.send(b"ot\n");
    bench.settle();
    let mut typed = [0; 5];
    input.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"root\n");
    output.write_all(b"# ").unwrap();
    bench.settle();
    assert_eq!(first.receive(), "# ");

    let mut second = bench.client();
    let refused = bench.exchange(&mut second, attach);
    assert_eq!(refusal(&refused).1, "conflict");
    drop(first);
    bench.settle();
    let shown = bench.exchange(&mut second, attach);
    assert!(shown.ends_with("\r\n\r\nlogin: # "), "{shown}");
    // The machine ends, and with it the console.
    output.write_all(b"bye").unwrap();
    drop((output, input));
    bench.settle();
    assert_eq!(second.receive(), "bye");
    assert!(second.is_closed());
}

#[test]
fn input_that_the_guest_does_not_read_waits_at_the_client() {
    let (near, far) = ConsoleConfig::served().unwrap();
    let mut bench = Bench::with_console(Some(far));
    let mut input = File::from(near.input.unwrap());
    let mut client = bench.client();
    let attach = "POST /v1/console HTTP/1.1\r\nHost: x\r\n\
                  Connection: Upgrade\r\nUpgrade: plinth-console\r\n\r\n";
    bench.exchange(&mut client, attach);
    let mut typed = 0;
    while let Ok(count) = client.stream.write(&[b'x'; 1000]) {
        typed += count;
        bench.settle();
    }
    // However long it takes.
    bench.pass(PATIENCE * 10);
    let mut read = 0;
    while read < typed {
        read += input.read(&mut [0; 9000]).unwrap();
        bench.settle();
    }
    assert_eq!(read, typed);
}

#[test]
fn a_console_that_is_elsewhere_is_not_attached_to() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    let attach = "POST /v1/console HTTP/1.1\r\nHost: x\r\n\
                  Connection: Upgrade\r\nUpgrade: plinth-console\r\n\r\n";
    let refused = bench.exchange(&mut client, attach);
    assert_eq!(
        (refusal(&refused).0, &*refusal(&refused).1),
        (409, "conflict")
    );
}

#[test]
fn one_idle_client_makes_room_for_another() {
    let mut bench = Bench::new();
    let mut busy: Vec<Client> = Vec::new();
    for _ in 1..MAX_CONNECTIONS {
        let mut client = bench.client();
        client.send(pause().as_bytes());
        busy.push(client);
    }
    let mut answers: Vec<_> = std::iter::from_fn(|| bench.asked()).collect();
    assert_eq!(answers.len(), busy.len());
    let mut idle = bench.client();
    let mut new = bench.client();
    assert!(idle.is_closed());
    new.send(pause().as_bytes());
    answers.push(bench.asked().unwrap());
    // All are busy now: the next waits until one is not.
    let mut next = bench.client();
    let request = pause();
    assert_eq!(bench.exchange(&mut next, &request), "");
    assert!(bench.asked().is_none());
    let (_, answer) = answers.pop().unwrap();
    answer.send(Ok(Reply::Done));
    bench.settle();
    bench.pass(EXHAUSTED);
    assert!(bench.asked().is_some());
}

#[test]
fn commands_of_clients_that_have_gone_are_bounded_but_the_end_is_not() {
    let mut bench = Bench::new();
    let mut answers = Vec::new();
    for _ in 0..MAX_IN_PROGRESS {
        bench.client().send(pause().as_bytes());
        answers.push(bench.asked().unwrap());
    }
    let mut client = bench.client();
    let busy = bench.exchange(&mut client, &pause());
    assert_eq!(refusal(&busy).1, "busy");
    client.send(request("POST", "/v1/vm/kill", "").as_bytes());
    assert!(matches!(bench.asked(), Some((Command::Stop, _))));
}

#[test]
fn closing_finishes_what_is_in_progress() {
    let mut bench = Bench::new();
    let _idle = bench.client();
    let (mut waiting, mut listening) = (bench.client(), bench.client());
    waiting.send(pause().as_bytes());
    let (_, answer) = bench.asked().unwrap();
    bench.exchange(&mut listening, &request("GET", "/v1/events", ""));
    bench.post(Mail::Close);
    assert!(listening.receive().ends_with("0\r\n\r\n"));
    assert!(!bench.over);
    answer.send(Ok(Reply::Done));
    bench.settle();
    assert!(waiting.receive().starts_with("HTTP/1.1 204"));
    assert!(bench.over);
}

#[test]
fn closing_does_not_wait_for_ever() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    client.send(pause().as_bytes());
    let _answer = bench.asked().unwrap();
    bench.post(Mail::Close);
    assert!(!bench.over);
    bench.now += FAREWELL;
    let ready = bench.service.wait(Some(Duration::ZERO)).unwrap();
    assert!(bench.service.serve(&ready, bench.now).is_break());
}

#[test]
fn thousands_of_bad_requests_leave_nothing_behind() {
    let mut bench = Bench::new();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for round in 0..3000 {
        let mut client = bench.client();
        let text = match round % 3 {
            0 => "nonsense\r\n\r\n".into(),
            1 => request("GET", "/nowhere", "{"),
            _ => pause()[..20].to_owned(),
        };
        bench.exchange(&mut client, &text);
        drop(client);
        bench.settle();
        assert!(bench.service.connections.is_empty());
    }
    // Other tests open descriptors meanwhile, though not thousands.
    assert!(open() < before + 1000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_leave_the_service_working(
        pieces in prop::collection::vec(
            prop_oneof![
                Just(pause().into_bytes()),
                Just(b"GET /v1/events HTTP/1.1\r\n".to_vec()),
                Just(b"Host: x\r\n\r\n".to_vec()),
                prop::collection::vec(any::<u8>(), 0..50),
            ],
            0..8,
        ),
    ) {
        let mut bench = Bench::new();
        let mut client = bench.client();
        for piece in pieces {
            client.send(&piece);
            while let Some((_, answer)) = bench.asked() {
                answer.send(Ok(Reply::Done));
            }
        }
        bench.pass(PATIENCE);
        let mut other = bench.client();
        other.send(pause().as_bytes());
        prop_assert!(bench.asked().is_some());
    }
}
