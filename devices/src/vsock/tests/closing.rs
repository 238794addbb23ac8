//! How connections end, by halves and at once.

use std::io::{Read, Write};
use std::net::Shutdown;

use super::guest::{Guest, packet, read};
use crate::vsock::header::{Header, Operation, shutdown};

fn shutting_down(connection: &Header, flags: u32) -> Header {
    Header {
        flags,
        ..packet(
            Operation::Shutdown,
            connection.source_port,
            connection.destination_port,
        )
    }
}

#[test]
fn the_guest_may_end_its_half() {
    let mut guest = Guest::new();
    let (mut program, request) = guest.connected(52);
    guest.answer(&request, Operation::Data, b"the last");
    guest.send(shutting_down(&request, shutdown::SEND), b"");
    let mut all = Vec::new();
    program.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"the last");
    program.write_all(b"and still an answer").unwrap();
    assert_eq!(guest.receive().1, b"and still an answer");
    drop(program);
    guest.receive_goodbye();
}

#[test]
fn a_host_program_may_end_its_half() {
    let mut guest = Guest::new();
    let (mut program, request) = guest.connected(52);
    program.write_all(b"the last").unwrap();
    program.shutdown(Shutdown::Write).unwrap();
    assert_eq!(guest.receive().1, b"the last");
    let (header, _) = guest.receive();
    assert_eq!(
        (header.operation, header.flags),
        (Operation::Shutdown, shutdown::SEND)
    );
    guest.answer(&request, Operation::Data, b"and still an answer");
    assert_eq!(read(&mut program, 19), b"and still an answer");
    guest.send(shutting_down(&request, shutdown::BOTH), b"");
    assert_eq!(guest.receive().0.operation, Operation::Reset);
    assert_eq!(program.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_guest_that_takes_nothing_more_stops_the_host_program() {
    let mut guest = Guest::new();
    let (mut program, request) = guest.connected(52);
    guest.send(shutting_down(&request, shutdown::RECEIVE), b"");
    let (header, _) = guest.receive();
    assert_eq!(
        (header.operation, header.flags),
        (Operation::Shutdown, shutdown::SEND)
    );
    assert!(program.write_all(b"too late").is_err());
    guest.answer(&request, Operation::Data, b"still heard");
    assert_eq!(read(&mut program, 11), b"still heard");
}

#[test]
fn a_guest_that_closes_in_order_is_answered_with_a_reset() {
    let mut guest = Guest::new();
    let (mut program, request) = guest.connected(52);
    guest.answer(&request, Operation::Data, b"the last");
    guest.send(shutting_down(&request, shutdown::BOTH), b"");
    assert_eq!(guest.receive().0.operation, Operation::Reset);
    let mut all = Vec::new();
    program.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"the last");
    // The ports are free again.
    guest.answer(&request, Operation::Data, b"stray");
    assert_eq!(guest.receive().0.operation, Operation::Reset);
}

#[test]
fn everything_is_delivered_before_the_end_of_a_host_program_is() {
    let mut guest = Guest::new();
    let (mut program, _) = guest.connected(52);
    let bytes: Vec<u8> = (0..100_000u32)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    program.write_all(&bytes).unwrap();
    drop(program);
    let mut all = Vec::new();
    loop {
        let (header, data) = guest.receive();
        match header.operation {
            Operation::Data => all.extend(data),
            // Its two halves may be known one after the other.
            operation => assert_eq!(operation, Operation::Shutdown),
        }
        if header.flags == shutdown::BOTH {
            break;
        }
    }
    assert!(all == bytes);
}

#[test]
fn data_for_a_program_that_has_gone_goes_nowhere_and_harms_nobody() {
    let mut guest = Guest::new();
    let (program, request) = guest.connected(52);
    drop(program);
    for _ in 0..100 {
        guest.answer(&request, Operation::Data, &[0; 4096]);
    }
    guest.answer(&request, Operation::Reset, b"");
    assert_eq!(guest.counters.faults.get(), 0);
    let mut guest = Guest::new();
    guest.assert_works();
}

#[test]
fn what_the_guest_sent_before_it_closed_arrives_after_it_has_gone() {
    let mut guest = Guest::new();
    let (mut program, request) = guest.connected(52);
    let sent = guest.fill(&request);
    guest.send(shutting_down(&request, shutdown::BOTH), b"");
    guest.answer(&request, Operation::Reset, b"");
    // Its ports are not free yet.
    guest.answer(&request, Operation::Request, b"");
    guest.receive_until(Operation::Reset);
    let mut all = Vec::new();
    program.read_to_end(&mut all).unwrap();
    assert!(all == sent);
}

#[test]
fn a_program_that_gives_up_before_the_guest_answers_is_forgotten() {
    let mut guest = Guest::new();
    let program = guest.program("CONNECT 52\n");
    let (request, _) = guest.receive();
    drop(program);
    assert_eq!(guest.receive().0.operation, Operation::Reset);
    guest.answer(&request, Operation::Response, b"");
    assert_eq!(guest.receive().0.operation, Operation::Reset);
}
