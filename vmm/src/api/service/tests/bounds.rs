//! Many clients, hostile ones, and the end of the service.

use super::*;
use crate::api::connection::PATIENCE;
use crate::api::machine::MAX_IN_PROGRESS;
use proptest::prelude::*;

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
