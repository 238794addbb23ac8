//! A network of the test's own: a namespace with one tap in it, and this end
//! of the transfers that `guest net` makes.
#![allow(unsafe_code)] // A network namespace is entered by a bare system call.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::BOUND;
use crate::stream::{Stream, Tally};

const TAP: &str = "tap0";
const HOST: &str = "192.0.2.1";
const GUEST: &str = "192.0.2.2";

/// The network that this thread, and the guests it starts, are in.
#[derive(Debug)]
pub struct Network {
    listener: TcpListener,
}

/// What a tap counted, from the host's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapCounters {
    /// Bytes and packets that came from the guest.
    pub from_guest: (u64, u64),
    /// Bytes and packets that went to the guest.
    pub to_guest: (u64, u64),
    /// Packets that were lost, either way.
    pub dropped: u64,
}

impl Network {
    /// Moves this thread into a new network with a tap of this MTU. Only
    /// threads and processes that it starts from now on are there with it.
    pub fn enter(mtu: u16) -> Self {
        Self::enter_with(mtu, "")
    }

    /// The same with a tap that has several queues.
    pub fn enter_with_queues(mtu: u16) -> Self {
        Self::enter_with(mtu, " multi_queue")
    }

    /// Moves this thread into a network like that of a host: an interface with the
    /// guest's address, and a way out that leads nowhere. To a guest with a network
    /// of its user, the router is this end.
    pub fn enter_like_a_host() -> Self {
        enter();
        ip("link add eth0 type veth peer name other");
        ip(&format!("address add {GUEST}/24 dev eth0"));
        ip("link set eth0 up");
        ip("link set other up");
        ip(&format!("route add default via {HOST}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        Self { listener }
    }

    fn enter_with(mtu: u16, words: &str) -> Self {
        enter();
        ip(&format!("tuntap add {TAP} mode tap vnet_hdr{words}"));
        ip(&format!("address add {HOST}/24 dev {TAP}"));
        ip(&format!("link set {TAP} mtu {mtu} up"));
        let listener = TcpListener::bind((HOST, 0)).unwrap();
        Self { listener }
    }

    /// The value of `--net` for a guest in this network.
    pub fn option(&self) -> String {
        format!("tap={TAP}")
    }

    /// The guest's address.
    pub fn guest(&self) -> &'static str {
        GUEST
    }

    /// The word that gives the guest its address.
    pub fn guest_address(&self) -> String {
        format!("plinth.ip={GUEST}/24")
    }

    /// Where a guest finds this end, as `ADDRESS:PORT`.
    pub fn address(&self) -> String {
        let port = self.listener.local_addr().unwrap().port();
        format!("{HOST}:{port}")
    }

    /// Takes a connection of the guest and all that it sends.
    pub fn receive(&self) -> Tally {
        Tally::of(self.accept())
    }

    /// Takes a connection of the guest and sends it a stream.
    pub fn send(&self, seed: u64, bytes: usize) -> Tally {
        pass(Stream::new(seed, bytes), self.accept())
    }

    /// Connects to `guest net echo PORT`, sends it a stream and takes what
    /// comes back: both tallies.
    pub fn echo(&self, port: u16, seed: u64, bytes: usize) -> (Tally, Tally) {
        let connection = connect(port);
        let back = connection.try_clone().unwrap();
        let reader = thread::spawn(move || Tally::of(back));
        let sent = pass(Stream::new(seed, bytes), connection);
        (sent, reader.join().unwrap())
    }

    /// What the tap counted so far (proc(5), /proc/net/dev).
    pub fn counters(&self) -> TapCounters {
        let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let prefix = format!("{TAP}:");
        let line = table
            .lines()
            .find_map(|line| line.trim().strip_prefix(&prefix));
        let figures: Vec<u64> = line
            .expect("the tap is there")
            .split_whitespace()
            .map(|figure| figure.parse().unwrap())
            .collect();
        TapCounters {
            from_guest: (figures[0], figures[1]),
            to_guest: (figures[8], figures[9]),
            dropped: figures[2] + figures[3] + figures[10] + figures[11],
        }
    }

    /// How many of the tap's queues the kernel uses, and how many are open and
    /// rest (ip-link(8), `numqueues` and `numdisabled`).
    pub fn tap_queues(&self) -> (u32, u32) {
        let shown = Command::new("ip")
            .args(["-d", "link", "show", TAP])
            .output();
        let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
        let figure = |word: &str| {
            let mut words = shown.split_whitespace().skip_while(|other| *other != word);
            words
                .nth(1)
                .expect("the tap has several queues")
                .parse()
                .unwrap()
        };
        (figure("numqueues"), figure("numdisabled"))
    }

    fn accept(&self) -> TcpStream {
        let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
        let bound = Timespec::try_from(BOUND).unwrap();
        let ready = poll(&mut fds, Some(&bound)).unwrap();
        assert_eq!(ready, 1, "the guest did not connect");
        bounded(self.listener.accept().unwrap().0)
    }
}

/// Connects as soon as the guest listens.
fn connect(port: u16) -> TcpStream {
    let deadline = Instant::now() + BOUND;
    loop {
        match TcpStream::connect((GUEST, port)) {
            Ok(connection) => return bounded(connection),
            Err(error) => assert!(Instant::now() < deadline, "no connection: {error}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn bounded(connection: TcpStream) -> TcpStream {
    connection.set_read_timeout(Some(BOUND)).unwrap();
    connection.set_write_timeout(Some(BOUND)).unwrap();
    connection
}

/// Sends all of `stream` and ends the connection's one direction.
fn pass(mut stream: Stream, mut connection: TcpStream) -> Tally {
    let mut copy = Vec::new();
    stream.read_to_end(&mut copy).unwrap();
    connection.write_all(&copy).unwrap();
    connection.shutdown(Shutdown::Write).unwrap();
    Tally::of(copy.as_slice())
}

/// Moves this thread into a new network.
fn enter() {
    // SAFETY: a network namespace concerns neither memory nor the
    // descriptors that this thread has.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("guest tests run as root");
    ip("link set lo up");
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    let status = status.expect("cannot run ip, from the package iproute2");
    assert!(status.success(), "ip {arguments} failed");
}
