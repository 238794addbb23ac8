//! A guest in miniature: a fake driver that speaks vsock, and the host's
//! programs around it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::fake::FakeClock;
use crate::reactor::Reactor;
use crate::virtio::fake_driver::{Buffer, FakeDriver};
use crate::vsock::counters::Counters;
use crate::vsock::header::{Header, Operation, SIZE, STREAM, shutdown};
use crate::vsock::{GuestCid, HostEnd, Vsock};

/// The guest's context id.
pub(super) const GUEST: u64 = 3;

/// What the guest says it has room for on each connection.
pub(super) const ROOM: u32 = 1 << 18;

/// Bytes of each buffer that the guest posts, a header and a page, and how
/// many it posts.
pub(super) const BUFFER: u32 = 44 + 4096;
const POSTED: usize = 64;

const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct World {
    _reactor: Reactor,
    directory: tempfile::TempDir,
}

impl World {
    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("vm.sock")
    }
}

/// A new device, with its socket at `vm.sock` in a directory of its own.
pub(super) fn make() -> (Vsock, World) {
    make_with(FakeClock::new())
}

/// The same, with patience that goes by `clock`.
pub(super) fn make_with(clock: FakeClock) -> (Vsock, World) {
    let world = World {
        _reactor: Reactor::spawn("test").unwrap(),
        directory: tempfile::tempdir().unwrap(),
    };
    let listener = UnixListener::bind(world.path()).unwrap();
    let directory = std::fs::File::open(world.directory.path()).unwrap();
    let stem = "vm.sock".parse().unwrap();
    let host = HostEnd::new(listener.into(), directory.into(), stem).unwrap();
    let cid = GuestCid::new(3).unwrap();
    let device = Vsock::with_clock(cid, host, world._reactor.handle(), clock).unwrap();
    (device, world)
}

pub(super) struct Guest {
    pub(super) driver: FakeDriver,
    pub(super) counters: Arc<Counters>,
    world: World,
    posted: HashMap<u16, Buffer>,
    scratch: Buffer,
}

/// A packet of the guest's from its port `guest` to the host's port `host`.
pub(super) fn packet(operation: Operation, host: u32, guest: u32) -> Header {
    Header {
        source_cid: GUEST,
        destination_cid: 2,
        source_port: guest,
        destination_port: host,
        len: 0,
        kind: STREAM,
        operation,
        flags: 0,
        buffer_size: ROOM,
        forwarded: 0,
    }
}

impl Guest {
    /// A guest that has posted buffers.
    pub(super) fn new() -> Self {
        let mut guest = Self::without_buffers();
        guest.post(POSTED, BUFFER);
        guest
    }

    pub(super) fn without_buffers() -> Self {
        let (device, world) = make();
        Self::with(device, world)
    }

    pub(super) fn with(device: Vsock, world: World) -> Self {
        let counters = device.counters();
        let mut driver = FakeDriver::started(device, u64::MAX);
        let scratch = driver.writable(1 << 18);
        Self {
            driver,
            counters,
            world,
            posted: HashMap::new(),
            scratch,
        }
    }

    /// Resets the device and starts anew.
    pub(super) fn start(&mut self) {
        self.driver.start(u64::MAX);
        self.posted.clear();
        self.post(POSTED, BUFFER);
    }

    pub(super) fn post(&mut self, count: usize, len: u32) {
        for _ in 0..count {
            let buffer = self.driver.writable(len);
            self.post_again(buffer);
        }
        self.driver.kick(0);
    }

    fn post_again(&mut self, buffer: Buffer) {
        let head = self.driver.add(0, &[buffer]);
        self.posted.insert(head, buffer);
    }

    /// Waits for the next packet to the guest and its data.
    pub(super) fn receive(&mut self) -> (Header, Vec<u8>) {
        let used = self.driver.wait(0);
        let buffer = self.posted.remove(&used.head).expect("it was posted");
        let mut bytes = self.driver.contents(buffer);
        bytes.truncate(used.written.try_into().unwrap());
        let data = bytes.split_off(SIZE);
        let header = Header::parse(&bytes.try_into().unwrap());
        assert_eq!(data.len(), usize::try_from(header.len).unwrap());
        self.post_again(buffer);
        self.driver.kick(0);
        (header, data)
    }

    /// All packets that those sent so far have caused: what they cause is
    /// there when the answer to the next one is.
    pub(super) fn receive_all(&mut self) -> Vec<Header> {
        self.send(packet(Operation::CreditUpdate, 9999, 9999), b"");
        let packets = std::iter::from_fn(|| {
            let (header, _) = self.receive();
            (header.source_port != 9999).then_some(header)
        });
        packets.collect()
    }

    /// Sends a packet, with its length right, and waits until it is taken.
    pub(super) fn send(&mut self, header: Header, data: &[u8]) {
        let len = data.len().try_into().unwrap();
        self.send_raw(&Header { len, ..header }.to_bytes(), data);
    }

    pub(super) fn send_raw(&mut self, header: &[u8], data: &[u8]) {
        let Buffer::Writable { address, .. } = self.scratch else {
            unreachable!("it was made so");
        };
        let bytes = [header, data].concat();
        self.driver.poke(address, &bytes);
        let len = bytes.len().try_into().unwrap();
        self.driver.request(1, &[Buffer::Readable { address, len }]);
    }

    /// Makes a packet available, without a word.
    pub(super) fn add_packet(&mut self, header: Header) {
        let buffer = self.driver.readable(&header.to_bytes());
        self.driver.add(1, &[buffer]);
    }

    /// Waits until the device has taken this many more packets.
    pub(super) fn wait_taken(&mut self, count: usize) {
        for _ in 0..count {
            self.driver.wait(1);
        }
    }

    /// Asserts that the device takes no more packets, though it has looked.
    pub(super) fn assert_deaf(&mut self) {
        self.driver.transport.pause().unwrap();
        self.driver.transport.resume();
        self.driver.transport.pause().unwrap();
        self.driver.transport.resume();
        assert_eq!(self.driver.used(1), None);
    }

    /// Sends a packet on the connection that `header` came on.
    pub(super) fn answer(&mut self, header: &Header, operation: Operation, data: &[u8]) {
        let ports = (header.source_port, header.destination_port);
        self.send(packet(operation, ports.0, ports.1), data);
    }

    /// The next packet of this kind; what comes before it is passed over.
    pub(super) fn receive_until(&mut self, operation: Operation) -> Header {
        loop {
            let (header, _) = self.receive();
            if header.operation == operation {
                return header;
            }
        }
    }

    /// Waits until the guest has heard that a program is gone, which may be
    /// told of its two halves one after the other.
    pub(super) fn receive_goodbye(&mut self) -> Header {
        loop {
            let (header, _) = self.receive();
            assert_eq!(header.operation, Operation::Shutdown);
            if header.flags == shutdown::BOTH {
                return header;
            }
        }
    }

    /// Takes whatever packets are there.
    pub(super) fn take_all(&mut self) {
        while let Some(used) = self.driver.used(0) {
            let buffer = self.posted.remove(&used.head).expect("it was posted");
            self.post_again(buffer);
        }
        self.driver.kick(0);
    }

    /// Sends data until the device has no room for more, and says what.
    pub(super) fn fill(&mut self, connection: &Header) -> Vec<u8> {
        let mut sent = Vec::new();
        let mut forwarded = connection.forwarded;
        loop {
            let held = u32::try_from(sent.len()).unwrap() - forwarded;
            let room = connection.buffer_size - held;
            if room == 0 {
                // Perhaps the host took something meanwhile.
                self.answer(connection, Operation::CreditRequest, b"");
                let update = *self.receive_all().last().expect("it was asked for");
                assert_eq!(update.operation, Operation::CreditUpdate);
                if update.forwarded == forwarded {
                    return sent;
                }
                forwarded = update.forwarded;
                continue;
            }
            let len = usize::try_from(room.min(4096)).unwrap();
            let start = sent.len();
            sent.extend((start..start + len).map(|at| u8::try_from(at % 253).unwrap()));
            self.answer(connection, Operation::Data, &sent[start..]);
        }
    }

    /// Sends all of `bytes`, as fast as credit allows.
    pub(super) fn send_all(&mut self, connection: &Header, bytes: &[u8]) {
        let (mut sent, mut forwarded) = (0, 0);
        while sent < bytes.len() {
            let held = u32::try_from(sent).unwrap() - forwarded;
            let room = connection.buffer_size - held;
            if room == 0 {
                forwarded = self.receive_until(Operation::CreditUpdate).forwarded;
                continue;
            }
            let len = usize::try_from(room.min(60_000)).unwrap();
            let end = bytes.len().min(sent + len);
            self.answer(connection, Operation::Data, &bytes[sent..end]);
            sent = end;
        }
    }

    /// A host program that connects to the machine and says `greeting`.
    pub(super) fn program(&self, greeting: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.world.path()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(greeting.as_bytes()).unwrap();
        stream
    }

    /// A host program that is connected to the guest's port, and the request
    /// that the guest got.
    pub(super) fn connected(&mut self, port: u32) -> (UnixStream, Header) {
        let mut program = self.program(&format!("CONNECT {port}\n"));
        let (request, _) = self.receive();
        assert_eq!(request.operation, Operation::Request);
        self.answer(&request, Operation::Response, b"");
        assert!(read_line(&mut program).starts_with("OK "));
        (program, request)
    }

    /// A service that listens at the host's port.
    pub(super) fn service(&self, port: u32) -> UnixListener {
        let path = self.world.directory.path();
        UnixListener::bind(path.join(format!("vm.sock_{port}"))).unwrap()
    }

    /// A new connection does what it should.
    pub(super) fn assert_works(&mut self) {
        let (mut program, request) = self.connected(99);
        self.answer(&request, Operation::Data, b"works");
        assert_eq!(read(&mut program, 5), b"works");
    }
}

pub(super) fn read(stream: &mut UnixStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

pub(super) fn read_line(stream: &mut UnixStream) -> String {
    let mut line = String::new();
    while !line.ends_with('\n') {
        line.push(char::from(read(stream, 1)[0]));
    }
    line
}
