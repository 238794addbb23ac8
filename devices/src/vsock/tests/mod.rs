//! Tests of the device through its transport: a fake driver on one side, real
//! Unix sockets on the other.

mod closing;
mod flow;
mod guest;
mod hostile;

use std::io::{Read, Write};

use guest::{GUEST, Guest, make, packet};

use super::header::Operation;
use super::lobby::PATIENCE;
use crate::clock::fake::FakeClock;
use crate::virtio::contract::device_contract;
use crate::virtio::device::VirtioDevice;

device_contract!(make, queues: [1]);

#[test]
fn the_guest_reads_its_context_id() {
    let mut guest = Guest::new();
    assert_eq!(guest.driver.config(0, 8), GUEST.to_le_bytes());
}

#[test]
fn a_host_program_connects_to_the_guest_and_both_talk() {
    let mut guest = Guest::new();
    let mut program = guest.program("CONNECT 52\n");
    let (request, _) = guest.receive();
    assert_eq!(request.operation, Operation::Request);
    assert_eq!((request.source_cid, request.destination_cid), (2, GUEST));
    assert_eq!(request.destination_port, 52);
    assert_eq!((request.kind, request.len), (1, 0));
    assert!(request.buffer_size >= 1 << 16);

    guest.answer(&request, Operation::Response, b"");
    let expected = format!("OK {}\n", request.source_port);
    assert_eq!(
        guest::read(&mut program, expected.len()),
        expected.as_bytes()
    );

    program.write_all(b"from the host").unwrap();
    let (data, bytes) = guest.receive();
    assert_eq!(data.operation, Operation::Data);
    assert_eq!(bytes, b"from the host");
    guest.answer(&data, Operation::Data, b"from the guest");
    assert_eq!(guest::read(&mut program, 14), b"from the guest");
}

#[test]
fn a_host_program_may_talk_before_it_is_answered() {
    let mut guest = Guest::new();
    let mut program = guest.program("CONN");
    program.write_all(b"ECT 52\nat once").unwrap();
    let (request, _) = guest.receive();
    guest.answer(&request, Operation::Response, b"");
    assert_eq!(guest.receive().1, b"at once");
}

#[test]
fn the_guest_connects_to_a_service_of_the_host_and_both_talk() {
    let mut guest = Guest::new();
    let service = guest.service(1024);
    guest.send(packet(Operation::Request, 1024, 7), b"");
    let (response, _) = guest.receive();
    assert_eq!(response.operation, Operation::Response);
    assert_eq!((response.source_port, response.destination_port), (1024, 7));
    let (mut program, _) = service.accept().unwrap();

    guest.answer(&response, Operation::Data, b"question");
    assert_eq!(guest::read(&mut program, 8), b"question");
    program.write_all(b"answer").unwrap();
    assert_eq!(guest.receive().1, b"answer");
    let counters = &guest.counters;
    assert_eq!(counters.guest_connections.get(), 1);
    assert_eq!(counters.sent_bytes.get(), 8);
    assert_eq!(counters.received_bytes.get(), 6);
    assert_eq!(counters.faults.get(), 0);
}

#[test]
fn a_service_that_is_not_there_is_refused() {
    let mut guest = Guest::new();
    guest.send(packet(Operation::Request, 1024, 7), b"");
    let (reset, _) = guest.receive();
    assert_eq!(reset.operation, Operation::Reset);
    assert_eq!((reset.source_cid, reset.destination_cid), (2, GUEST));
    assert_eq!((reset.source_port, reset.destination_port), (1024, 7));
    assert_eq!(guest.counters.refused.get(), 1);
}

#[test]
fn a_port_that_nobody_has_in_the_guest_is_refused() {
    let mut guest = Guest::new();
    let mut program = guest.program("CONNECT 52\n");
    let (request, _) = guest.receive();
    guest.answer(&request, Operation::Reset, b"");
    assert_eq!(
        program.read(&mut [0; 8]).unwrap(),
        0,
        "closed, not answered"
    );
    assert_eq!(guest.counters.refused.get(), 1);
}

#[test]
fn a_program_that_says_something_else_is_hung_up_on() {
    let mut guest = Guest::new();
    let mut program = guest.program("GET / HTTP/1.1\n");
    // What was not read makes the end a reset.
    assert!(!matches!(program.read(&mut [0; 8]), Ok(1..)));
    assert_eq!(guest.counters.refused.get(), 1);
    guest.assert_works();
}

#[test]
fn a_program_that_does_not_say_in_time_what_it_wants_is_hung_up_on() {
    let clock = FakeClock::new();
    let (device, world) = guest::make_with(clock.clone());
    let mut guest = Guest::with(device, world);
    guest.post(8, guest::BUFFER);
    let mut silent = guest.program("");
    // In, as whoever came after it is.
    let _others = guest.connected(99);
    clock.advance(PATIENCE / 2);
    let mut slow = guest.program("CONNECT");
    let _more = guest.connected(99);

    clock.ring_after(PATIENCE / 2);
    assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(guest.counters.late_greetings.get(), 1);
    slow.write_all(b" 52\n").unwrap();
    let request = guest.receive_until(Operation::Request);
    assert_eq!(request.destination_port, 52, "in time");
    // The clock is set for nobody who has left.
    clock.ring_after(PATIENCE / 2);
    let _again = guest.connected(99);
    assert_eq!(guest.counters.late_greetings.get(), 1);
}

#[test]
fn hundreds_of_connections_are_kept_apart() {
    let mut guest = Guest::new();
    let mut open = Vec::new();
    for number in 0..300u32 {
        let mut program = guest.program(&format!("CONNECT {number}\n"));
        let (request, _) = guest.receive();
        guest.answer(&request, Operation::Response, b"");
        guest::read_line(&mut program);
        open.push((program, request));
    }
    for (number, (program, request)) in open.iter_mut().enumerate() {
        guest.answer(request, Operation::Data, &number.to_le_bytes());
        program.write_all(&number.to_be_bytes()).unwrap();
        let (data, bytes) = guest.receive();
        assert_eq!(data.destination_port, request.destination_port);
        assert_eq!(bytes, number.to_be_bytes());
    }
    for (number, (program, _)) in open.iter_mut().enumerate() {
        assert_eq!(guest::read(program, 8), number.to_le_bytes());
    }
    drop(open);
    for _ in 0..300 {
        let header = guest.receive_goodbye();
        guest.answer(&header, Operation::Reset, b"");
    }
    guest.assert_works();
}

#[test]
fn a_device_that_was_severed_refuses_everything() {
    let (mut device, world) = make();
    device.sever().perform().unwrap();
    assert!(!world.path().exists());
    let mut guest = Guest::with(device, world);
    let _service = guest.service(1024);
    guest.post(8, guest::BUFFER);
    guest.send(packet(Operation::Request, 1024, 7), b"");
    assert_eq!(guest.receive().0.operation, Operation::Reset);
}

#[test]
fn the_socket_goes_with_the_device() {
    let (device, world) = make();
    assert!(world.path().exists());
    drop(device);
    assert!(!world.path().exists());
}

#[test]
fn a_pause_interrupts_no_connection_and_a_reset_all() {
    let mut guest = Guest::new();
    let (mut program, request) = guest.connected(52);
    for _ in 0..3 {
        guest.driver.transport.pause().unwrap();
        program.write_all(b"meanwhile").unwrap();
        guest.driver.transport.resume();
        assert_eq!(guest.receive().1, b"meanwhile");
        guest.answer(&request, Operation::Data, b"still here");
        assert_eq!(guest::read(&mut program, 10), b"still here");
    }
    guest.start();
    assert_eq!(program.read(&mut [0; 8]).unwrap(), 0, "ended");
    guest.assert_works();
}
