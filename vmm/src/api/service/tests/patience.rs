//! How long a client and the machine may take.

use super::*;
use crate::api::connection::PATIENCE;
use crate::api::outgoing::WHOLE;
use crate::description::{DeviceDescription, DeviceKind};

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
