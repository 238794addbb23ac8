//! Drivers that break the rules: each mistake costs its own connection, is
//! counted, and harms nobody else.

use std::io::Read;

use proptest::prelude::*;

use super::guest::{BUFFER, GUEST, Guest, packet};
use crate::vsock::header::{Header, Operation, SIZE};

#[test]
fn packets_that_belong_to_nothing_are_answered_with_a_reset() {
    let mut guest = Guest::new();
    let stray = packet(Operation::Data, 1024, 7);
    for header in [
        stray,
        packet(Operation::Response, 1024, 7),
        packet(Operation::Shutdown, 1024, 7),
        packet(Operation::CreditUpdate, 1024, 7),
        packet(Operation::CreditRequest, 1024, 7),
        packet(Operation::Unknown(0), 1024, 7),
        packet(Operation::Unknown(99), 1024, 7),
        Header { kind: 2, ..stray },
        Header {
            destination_cid: 5,
            ..stray
        },
        Header {
            destination_cid: 1 << 40,
            ..stray
        },
        packet(Operation::Request, 1024, u32::MAX),
        packet(Operation::Request, u32::MAX, 7),
    ] {
        guest.send(header, b"");
        let (reset, _) = guest.receive();
        assert_eq!(reset.operation, Operation::Reset, "{header:?}");
        assert_eq!(reset.source_cid, header.destination_cid);
        assert_eq!(reset.destination_cid, GUEST);
        assert_eq!(reset.source_port, header.destination_port);
        assert_eq!(reset.destination_port, header.source_port);
    }
    guest.assert_works();
}

#[test]
fn a_reset_is_not_answered() {
    let mut guest = Guest::new();
    guest.send(packet(Operation::Reset, 1024, 7), b"");
    guest.send(
        Header {
            kind: 9,
            ..packet(Operation::Reset, 1024, 7)
        },
        b"",
    );
    assert_eq!(guest.receive_all(), []);
}

#[test]
fn a_reset_ends_a_connection_whatever_figures_it_has() {
    let mut guest = Guest::new();
    let (mut program, request) = guest.connected(52);
    let ports = (request.source_port, request.destination_port);
    let reset = packet(Operation::Reset, ports.0, ports.1);
    let forwarded = 12_345;
    guest.send(Header { forwarded, ..reset }, b"");
    assert_eq!(program.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(guest.receive_all(), []);
    assert_eq!(guest.counters.faults.get(), 0);
}

#[test]
fn a_packet_from_somebody_else_is_dropped_and_counted() {
    let mut guest = Guest::new();
    for source_cid in [0, 2, 4, GUEST | 1 << 32, u64::MAX] {
        let header = packet(Operation::Request, 1024, 7);
        guest.send(
            Header {
                source_cid,
                ..header
            },
            b"",
        );
    }
    assert_eq!(guest.counters.faults.get(), 5);
    assert_eq!(guest.receive_all(), []);
}

#[test]
fn mistakes_on_a_connection_cost_the_connection() {
    let mut guest = Guest::new();
    type Mistake = fn(&mut Guest, &Header);
    let mistakes: [(&str, Mistake); 6] = [
        ("a second response", |guest, request| {
            guest.answer(request, Operation::Response, b"");
        }),
        ("a request for what is there", |guest, request| {
            guest.answer(request, Operation::Request, b"");
        }),
        ("an unknown operation", |guest, request| {
            guest.answer(request, Operation::Unknown(8), b"");
        }),
        ("more data than there is", |guest, request| {
            let ports = (request.source_port, request.destination_port);
            let header = packet(Operation::Data, ports.0, ports.1);
            guest.send_raw(&Header { len: 100, ..header }.to_bytes(), &[0; 99]);
        }),
        ("more taken than was sent", |guest, request| {
            let ports = (request.source_port, request.destination_port);
            let header = packet(Operation::CreditUpdate, ports.0, ports.1);
            guest.send(
                Header {
                    forwarded: 1,
                    ..header
                },
                b"",
            );
        }),
        ("data after the end of data", |guest, request| {
            let ports = (request.source_port, request.destination_port);
            let header = packet(Operation::Shutdown, ports.0, ports.1);
            guest.send(Header { flags: 2, ..header }, b"");
            guest.answer(request, Operation::Data, b"more");
        }),
    ];
    for (count, (what, mistake)) in (1..).zip(mistakes) {
        let (_program, request) = guest.connected(52);
        mistake(&mut guest, &request);
        let (reset, _) = guest.receive();
        assert_eq!(reset.operation, Operation::Reset, "{what}");
        assert_eq!(guest.counters.faults.get(), count, "{what}");
    }
    guest.assert_works();
}

#[test]
fn data_before_the_guest_has_accepted_is_a_mistake() {
    let mut guest = Guest::new();
    let _program = guest.program("CONNECT 52\n");
    let (request, _) = guest.receive();
    guest.answer(&request, Operation::Data, b"early");
    assert_eq!(guest.receive().0.operation, Operation::Reset);
    assert_eq!(guest.counters.faults.get(), 1);
}

#[test]
fn a_guest_that_takes_no_answers_is_not_heard_until_it_does() {
    let mut guest = Guest::without_buffers();
    let stray = guest
        .driver
        .readable(&packet(Operation::Data, 1024, 7).to_bytes());
    // Each would be answered, and nothing is there to answer with.
    for taken in [200, 56] {
        for _ in 0..200 {
            guest.driver.add(1, &[stray]);
        }
        guest.driver.kick(1);
        guest.wait_taken(taken);
    }
    guest.assert_deaf();
    guest.post(64, BUFFER);
    for _ in 0..400 {
        assert_eq!(guest.receive().0.operation, Operation::Reset);
    }
    guest.wait_taken(144);
    guest.assert_works();
}

#[test]
fn answers_to_connections_that_are_over_do_not_pile_up() {
    let mut guest = Guest::without_buffers();
    let service = guest.service(1024);
    for round in 0.. {
        guest.add_packet(packet(Operation::Request, 1024, 7));
        guest.add_packet(packet(Operation::Reset, 1024, 7));
        guest.driver.kick(1);
        if round == 256 {
            break;
        }
        guest.wait_taken(2);
        drop(service.accept().unwrap());
    }
    guest.assert_deaf();
    guest.post(64, BUFFER);
    guest.wait_taken(2);
    guest.assert_works();
}

#[test]
fn buffers_without_room_for_a_packet_come_back_and_are_counted() {
    let mut guest = Guest::without_buffers();
    let small = guest.driver.writable(u32::try_from(SIZE).unwrap());
    for _ in 0..3 {
        guest.driver.add(0, &[small]);
    }
    guest.driver.kick(0);
    let _program = guest.program("CONNECT 52\n");
    for _ in 0..3 {
        assert_eq!(guest.driver.wait(0).written, 0);
    }
    assert_eq!(guest.counters.faults.get(), 3);
    guest.post(64, BUFFER);
    let (request, _) = guest.receive();
    assert_eq!(request.operation, Operation::Request);
    guest.assert_works();
}

/// A packet as a confused guest might send it, often nearly right.
fn any_packet() -> impl Strategy<Value = (Header, usize)> {
    let ports = (
        prop_oneof![4 => 1024u32..1027, 3 => (1u32 << 30)..(1 << 30) + 6, 1 => any::<u32>()],
        prop_oneof![4 => 0u32..4, 1 => any::<u32>()],
    );
    let figures = (
        prop_oneof![4 => 0u16..8, 1 => any::<u16>()],
        prop_oneof![6 => Just(1u16), 1 => any::<u16>()],
        prop_oneof![4 => 0u32..4, 1 => any::<u32>()],
        any::<u32>(),
        prop_oneof![4 => Just(0u32), 1 => 0u32..10_000, 1 => any::<u32>()],
    );
    let lies = (
        prop_oneof![9 => Just(GUEST), 1 => any::<u64>()],
        prop_oneof![9 => Just(2u64), 1 => any::<u64>()],
        prop_oneof![9 => Just(None), 1 => any::<u32>().prop_map(Some)],
        0usize..5000,
    );
    (ports, figures, lies).prop_map(|((host, guest), figures, lies)| {
        let (operation, kind, flags, buffer_size, forwarded) = figures;
        let (source_cid, destination_cid, len, data) = lies;
        let header = Header {
            source_cid,
            destination_cid,
            source_port: guest,
            destination_port: host,
            len: len.unwrap_or(data.try_into().unwrap()),
            kind,
            operation: operation.into(),
            flags,
            buffer_size,
            forwarded,
        };
        (header, data)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_sequence_of_packets_harms_the_device(
        packets in proptest::collection::vec(any_packet(), 0..120),
        programs in proptest::collection::vec((0u32..4, 0usize..100), 0..6),
    ) {
        let mut guest = Guest::new();
        let services = [1024, 1025].map(|port| guest.service(port));
        let programs: Vec<_> = programs
            .into_iter()
            .map(|(port, at)| (at, guest.program(&format!("CONNECT {port}\nhello"))))
            .collect();
        for (at, (header, data)) in packets.into_iter().enumerate() {
            guest.send_raw(&header.to_bytes(), &vec![7; data]);
            if let Some((_, program)) = programs.iter().find(|(when, _)| *when == at) {
                let _ = program.shutdown(std::net::Shutdown::Both);
            }
            guest.take_all();
        }
        prop_assert!(!guest.driver.needs_reset());
        drop(services);
        guest.start();
        guest.assert_works();
    }
}
