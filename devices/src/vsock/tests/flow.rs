//! Flow control, both ways, and fairness.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::guest::{BUFFER, Guest, packet};
use crate::vsock::header::{Header, Operation, SIZE};

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Writes from a thread, as a program does that the guest may keep waiting.
fn write(mut program: UnixStream, bytes: Vec<u8>) -> std::thread::JoinHandle<UnixStream> {
    std::thread::spawn(move || {
        program.write_all(&bytes).unwrap();
        program
    })
}

#[test]
fn a_guest_is_sent_no_more_than_it_has_room_for() {
    let mut guest = Guest::new();
    let (program, request) = guest.connected(52);
    let ports = (request.source_port, request.destination_port);
    let credit = |forwarded, buffer_size| Header {
        forwarded,
        buffer_size,
        ..packet(Operation::CreditUpdate, ports.0, ports.1)
    };
    guest.send(credit(0, 10_000), b"");
    let sent = bytes(1_000_000);
    let writer = write(program, sent.clone());
    let mut received = Vec::new();
    while received.len() < sent.len() {
        let (header, data) = guest.receive();
        match header.operation {
            Operation::Data => received.extend(data),
            operation => {
                assert_eq!(operation, Operation::CreditRequest);
                assert_eq!(received.len() % 10_000, 0, "all room is used");
                let forwarded = received.len().try_into().unwrap();
                guest.send(credit(forwarded, 10_000), b"");
            }
        }
    }
    assert!(received == sent);
    writer.join().unwrap();
}

#[test]
fn a_slow_program_holds_up_only_itself_and_gets_everything() {
    let mut guest = Guest::new();
    let (mut slow, request) = guest.connected(52);
    let sent = guest.fill(&request);
    let (mut other, second) = guest.connected(53);
    for _ in 0..100 {
        guest.answer(&second, Operation::Data, b"meanwhile");
        assert_eq!(super::guest::read(&mut other, 9), b"meanwhile");
    }
    let mut received = vec![0; sent.len()];
    slow.read_exact(&mut received).unwrap();
    assert!(received == sent);
    // The guest hears that there is room again.
    let update = guest.receive_until(Operation::CreditUpdate);
    let len: u32 = sent.len().try_into().unwrap();
    assert!(len - update.forwarded < update.buffer_size);
    assert_eq!(guest.counters.faults.get(), 0);
}

#[test]
fn a_guest_that_sends_more_than_there_is_room_for_loses_its_connection_alone() {
    let mut guest = Guest::new();
    let (mut program, request) = guest.connected(52);
    guest.fill(&request);
    guest.answer(&request, Operation::Data, &[0; 4096]);
    guest.receive_until(Operation::Reset);
    assert_eq!(guest.counters.faults.get(), 1);
    program.read_to_end(&mut Vec::new()).unwrap();
    guest.assert_works();
}

#[test]
fn a_guest_that_asks_for_credit_is_told() {
    let mut guest = Guest::new();
    let (_program, request) = guest.connected(52);
    guest.answer(&request, Operation::Data, &[0; 1000]);
    guest.answer(&request, Operation::CreditRequest, b"");
    let (update, _) = guest.receive();
    assert_eq!(update.operation, Operation::CreditUpdate);
    assert_eq!(update.forwarded, 1000);
    assert_eq!(update.buffer_size, request.buffer_size);
}

#[test]
fn a_program_that_reads_keeps_the_guest_sending() {
    let mut guest = Guest::new();
    let (program, request) = guest.connected(52);
    let len = 4_000_000;
    let reader = std::thread::spawn(move || {
        let mut received = Vec::new();
        let mut program = program.take(len);
        program.read_to_end(&mut received).unwrap();
        received
    });
    let sent = bytes(len.try_into().unwrap());
    guest.send_all(&request, &sent);
    assert!(reader.join().unwrap() == sent);
}

#[test]
fn connections_take_turns() {
    const LEN: usize = 8 * 4096;
    let mut guest = Guest::without_buffers();
    guest.post(2, BUFFER);
    let mut programs = [0, 1, 2, 3].map(|port| guest.connected(port).0);
    // All have much to say at once, and there are two buffers to say it in.
    guest.driver.transport.pause().unwrap();
    for program in &mut programs {
        program.write_all(&bytes(LEN)).unwrap();
    }
    guest.driver.transport.resume();
    for _ in 0..LEN / 4096 {
        let mut round: Vec<_> = (0..4).map(|_| guest.receive().0).collect();
        round.sort_by_key(|header| header.destination_port);
        let ports: Vec<_> = round.iter().map(|header| header.destination_port).collect();
        assert_eq!(ports, [0, 1, 2, 3]);
        assert!(round.iter().all(|header| header.len == 4096));
    }
}

#[test]
fn a_buffer_in_pieces_is_as_good() {
    let mut guest = Guest::without_buffers();
    let header = u32::try_from(SIZE).unwrap();
    let pieces = [10, header - 10 + 3, 1000].map(|len| guest.driver.writable(len));
    let receive = |guest: &mut Guest| {
        let head = guest.driver.add(0, &pieces);
        guest.driver.kick(0);
        let used = guest.driver.wait(0);
        assert_eq!(used.head, head);
        let mut all = pieces.map(|piece| guest.driver.contents(piece)).concat();
        all.truncate(used.written.try_into().unwrap());
        let data = all.split_off(SIZE);
        (Header::parse(&all.try_into().unwrap()), data)
    };
    let mut program = guest.program("CONNECT 52\n");
    let (request, _) = receive(&mut guest);
    guest.answer(&request, Operation::Response, b"");
    program.write_all(b"in pieces").unwrap();
    assert_eq!(receive(&mut guest).1, b"in pieces");
}
