//! The host's programs at a guest's vsock: they connect to the guest, and
//! serve what it connects to.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::BOUND;
use crate::stream::{Stream, Tally};

/// The socket of one machine, and those of services beside it.
#[derive(Debug)]
pub struct Vsock {
    directory: TempDir,
}

impl Vsock {
    /// A directory for sockets. This process may open as many descriptors as
    /// it is allowed.
    pub fn new() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let current = limit.maximum;
        setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    /// The machine's socket.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("vm.sock")
    }

    /// The value of `--vsock`.
    pub fn option(&self) -> String {
        format!("cid=3,socket={}", self.path().display())
    }

    /// Connects to a port of the guest. None if nobody listens there.
    pub fn connect(&self, port: u32) -> Option<UnixStream> {
        let mut connection = UnixStream::connect(self.path()).unwrap();
        connection.set_read_timeout(Some(BOUND)).unwrap();
        connection.set_write_timeout(Some(BOUND)).unwrap();
        connection
            .write_all(format!("CONNECT {port}\n").as_bytes())
            .unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while connection.read(&mut byte).unwrap() == 1 {
            line.push(byte[0]);
            if byte == *b"\n" {
                assert!(line.starts_with(b"OK "), "{line:?}");
                return Some(connection);
            }
        }
        assert_eq!(line, b"");
        None
    }

    /// Sends back, on port `port` of the host, all that comes on each of
    /// `count` connections, one after the other while others wait.
    pub fn echo(&self, port: u32, count: usize) -> JoinHandle<()> {
        let path = self.directory.path().join(format!("vm.sock_{port}"));
        let listener = UnixListener::bind(path).unwrap();
        let (sender, accepted) = mpsc::channel();
        thread::spawn(move || {
            for _ in 0..count {
                sender.send(listener.accept().unwrap().0).unwrap();
            }
        });
        thread::spawn(move || {
            for mut connection in accepted {
                let mut back = connection.try_clone().unwrap();
                io::copy(&mut connection, &mut back).unwrap();
                back.shutdown(Shutdown::Write).unwrap();
            }
        })
    }
}

impl Default for Vsock {
    fn default() -> Self {
        Self::new()
    }
}

/// Sends a stream over `connection`, ends that half, and takes what comes back:
/// both tallies.
pub fn converse(connection: &UnixStream, seed: u64, bytes: usize) -> (Tally, Tally) {
    let back = connection.try_clone().unwrap();
    let reader = thread::spawn(move || Tally::of(back));
    let mut copy = Vec::new();
    Stream::new(seed, bytes).read_to_end(&mut copy).unwrap();
    (&mut &*connection).write_all(&copy).unwrap();
    connection.shutdown(Shutdown::Write).unwrap();
    (Tally::of(copy.as_slice()), reader.join().unwrap())
}
