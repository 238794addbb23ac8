//! Network namespaces for tests: each test has its own, and they go with it.

use std::net::UdpSocket;
use std::ops::Deref;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::{Link, LinkIndex, Namespace, Netlink};

/// What must arrive arrives sooner.
const BOUND: Duration = Duration::from_secs(10);
/// What must not arrive would have by then.
const SILENCE: Duration = Duration::from_millis(400);

/// A name that no other test has, on this host, and that no other's begins with.
pub(super) fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("plinth-test-{}-{number}-", process::id())
}

/// A network namespace of a test, deleted with it.
pub(super) struct Scratch {
    name: String,
    namespace: Namespace,
}

impl Scratch {
    pub(super) fn new() -> Self {
        let name = unique();
        let namespace = Namespace::create(&name).unwrap_or_else(|error| {
            panic!("this test makes network namespaces, so it must run as root: {error}")
        });
        Self { name, namespace }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn net(&self) -> Netlink {
        Netlink::in_namespace(&self.namespace).unwrap()
    }

    /// A socket for datagrams in this namespace.
    pub(super) fn socket(&self, address: &str) -> UdpSocket {
        let socket = self.within(|| UdpSocket::bind((address, 7))).unwrap();
        socket.unwrap_or_else(|error| panic!("{address}: {error}"))
    }
}

impl Deref for Scratch {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        Namespace::delete(&self.name).unwrap();
    }
}

/// The link called `name`, which must be there.
#[track_caller]
pub(super) fn link(net: &Netlink, name: &str) -> Link {
    net.link(name).unwrap().expect(name)
}

/// Gives the link `name` an address and brings it up.
#[track_caller]
pub(super) fn set_up(net: &Netlink, name: &str, prefix: &str) -> LinkIndex {
    let index = link(net, name).index;
    net.add_address(index, prefix.parse().unwrap()).unwrap();
    net.set_up(index).unwrap();
    index
}

/// Whether a datagram gets from one socket to the other.
pub(super) fn reaches(from: &UdpSocket, to: &UdpSocket) -> bool {
    arrives(from, to, BOUND)
}

/// The same where it must not.
pub(super) fn is_kept_from(from: &UdpSocket, to: &UdpSocket) -> bool {
    !arrives(from, to, SILENCE)
}

fn arrives(from: &UdpSocket, to: &UdpSocket, bound: Duration) -> bool {
    // What came earlier is no answer.
    to.set_nonblocking(true).unwrap();
    while to.recv_from(&mut [0; 16]).is_ok() {}
    to.set_nonblocking(false).unwrap();
    to.set_read_timeout(Some(bound)).unwrap();
    // A network that has no route says so here already.
    if from.send_to(b"hello", to.local_addr().unwrap()).is_err() {
        return false;
    }
    let mut datagram = [0; 16];
    match to.recv_from(&mut datagram) {
        Ok((len, sender)) => {
            assert_eq!(&datagram[..len], b"hello");
            assert_eq!(sender, from.local_addr().unwrap());
            true
        }
        Err(_) => false,
    }
}

/// Does `work` on a thread that has no capability.
pub(super) fn without_privilege<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let bare = || {
        let mut sets: CapabilitySets = capabilities(None).unwrap();
        sets.effective = CapabilitySet::empty();
        set_capabilities(None, sets).unwrap();
        work()
    };
    thread::scope(|scope| scope.spawn(bare).join().unwrap())
}
