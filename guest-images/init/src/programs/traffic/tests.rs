use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use super::*;

const MILLISECONDS: u32 = 50;

#[test]
fn each_pattern_counts_what_arrived_in_the_time_it_took() {
    let server = serve::Server::bind(0).unwrap();
    let address = (Ipv4Addr::LOCALHOST, server.port()).into();
    // It has no end, and goes with this process.
    thread::spawn(move || server.run());
    // The second of each must not see the first's.
    for (name, pattern) in PATTERNS.into_iter().chain(PATTERNS) {
        let request = Request {
            pattern,
            milliseconds: MILLISECONDS,
        };
        let count = ask::ask(address, request).unwrap();
        assert!(count.units > 10, "{name}: {count:?}");
        assert!(count.time > request.duration() / 2, "{name}: {count:?}");
        assert!(count.time < request.duration() * 100, "{name}: {count:?}");
    }
}

#[test]
fn requests_and_counts_come_as_they_were_sent() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut other, _) = listener.accept().unwrap();
    let count = Count {
        units: u64::MAX - 1,
        time: Duration::from_nanos(1_234_567_890_123),
    };
    count.write(&mut one).unwrap();
    assert_eq!(Count::read(&mut other).unwrap(), count);
    for (_, pattern) in PATTERNS {
        let request = Request {
            pattern,
            milliseconds: 70_000,
        };
        request.write(&mut one).unwrap();
        assert_eq!(Request::read(&mut other).unwrap(), request);
    }
    one.write_all(&[99, 0, 0, 0, 1]).unwrap();
    let error = Request::read(&mut other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}
