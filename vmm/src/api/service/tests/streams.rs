//! Clients that listen to events, and one that is the console.

use super::*;
use crate::api::connection::{MAX_WAITING, PATIENCE};
use crate::api::machine::MAX_LISTENERS;
use crate::config::ConsoleConfig;
use crate::event::StopReason;
use std::fs::File;

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
    // One goes at the moment at which another comes.
    drop(listeners.pop());
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
