use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use volume::fetch::Wish;

use super::*;
use crate::snapshot::block_reader::BlockReader;
use crate::snapshot::digest::Digest;
use crate::snapshot::store::{Directory, Name};
use crate::snapshot::test_blocks::text;
use crate::snapshot::test_volume::{TestVolume, id};

const BLOCKS: u32 = 8;

/// A snapshot with text in some blocks, and a volume full of ones.
struct Fixture {
    directory: tempfile::TempDir,
    data: File,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut volume = TestVolume::new(BLOCKS, &[(1, 1), (2, 2), (7, 7)]);
        let store = Directory::new(directory.path().join("snapshots"));
        volume
            .store(1, None, None, &store, directory.path())
            .unwrap();
        let data = tempfile::tempfile().unwrap();
        // The last block is a part of one.
        let size = BLOCKS as usize * BLOCK - 4096;
        data.write_all_at(&vec![1; size], 0).unwrap();
        Self { directory, data }
    }

    fn source(&self) -> Source {
        let store = Directory::new(self.directory.path().join("snapshots"));
        BlockReader::open(Arc::new(store), id(1)).unwrap().into()
    }

    fn block(&self, index: u32, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let offset = u64::from(index) * BLOCK as u64;
        self.data.read_exact_at(&mut bytes, offset).unwrap();
        bytes
    }

    /// Runs a loader while `client` has the other end of its socket.
    fn served(&self, rate: Option<u64>, client: impl FnOnce(&OwnedFd)) -> Result<(), Error> {
        let flags = SocketFlags::CLOEXEC;
        let ends = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let (ours, theirs) = ends.unwrap();
        let data = self.data.try_clone().unwrap();
        let source = self.source();
        thread::scope(|scope| {
            let loader = scope.spawn(move || serve(&theirs, &data, source, rate, || {}));
            client(&ours);
            drop(ours);
            loader.join().unwrap()
        })
    }
}

fn ask(socket: &OwnedFd, block: u32, urgent: bool) {
    let wish = if urgent { Wish::Urgent } else { Wish::Load };
    wishes(socket, block, wish);
}

fn wishes(socket: &OwnedFd, block: u32, wish: Wish) {
    let request = Request { block, wish }.encode();
    send(socket, &request, SendFlags::NOSIGNAL).unwrap();
}

fn answer(socket: &OwnedFd) -> Answer {
    let mut message = [0; fetch::SIZE];
    let (length, _) = recv(socket, &mut message, RecvFlags::empty()).unwrap();
    Answer::decode(&message[..length]).unwrap()
}

#[test]
fn what_is_asked_for_is_written_before_it_is_answered() {
    let fixture = Fixture::new();
    let served = fixture.served(None, |socket| {
        for (index, length, expected) in [
            (1, BLOCK, text(1)),
            (3, BLOCK, chunk::empty()),
            (7, BLOCK - 4096, text(7)),
        ] {
            ask(socket, index, index == 3);
            let expected_answer = Answer {
                block: index,
                loaded: true,
            };
            assert_eq!(answer(socket), expected_answer);
            assert!(fixture.block(index, length) == expected[..length]);
        }
    });
    served.unwrap();
    // What nobody asked for was not touched, nor did the file grow.
    assert!(fixture.block(2, BLOCK) == vec![1; BLOCK]);
    let size = fixture.data.metadata().unwrap().len();
    assert_eq!(size, u64::from(BLOCKS) * BLOCK as u64 - 4096);
}

#[test]
fn all_that_is_asked_for_at_once_is_answered() {
    let fixture = Fixture::new();
    let served = fixture.served(None, |socket| {
        for index in 0..BLOCKS {
            ask(socket, index, false);
        }
        let answered: BTreeSet<u32> = (0..BLOCKS).map(|_| answer(socket).block).collect();
        assert_eq!(answered.len(), BLOCKS as usize);
    });
    served.unwrap();
}

#[test]
fn a_block_that_the_guest_may_have_written_to_is_not_written_again() {
    let fixture = Fixture::new();
    let served = fixture.served(None, |socket| {
        ask(socket, 1, false);
        assert!(answer(socket).loaded);
        fixture
            .data
            .write_all_at(b"from the guest", BLOCK as u64)
            .unwrap();
        wishes(socket, 1, Wish::Hurry);
        ask(socket, 2, true);
        assert_eq!(answer(socket).block, 2, "nobody asked for 1 again");
    });
    served.unwrap();
    assert_eq!(fixture.block(1, 14), b"from the guest");
}

#[test]
fn an_urgent_block_does_not_wait_for_the_rate() {
    let fixture = Fixture::new();
    // A block in some days.
    let served = fixture.served(Some(1), |socket| {
        ask(socket, 1, false);
        assert_eq!(answer(socket).block, 1);
        ask(socket, 2, false);
        ask(socket, 7, true);
        assert_eq!(answer(socket).block, 7);
    });
    served.unwrap();
}

#[test]
fn a_block_that_cannot_be_had_is_answered_so_and_can_be_had_later() {
    let fixture = Fixture::new();
    let name = Name::Chunk(Digest::of(&*text(1)));
    let path = fixture.directory.path().join(format!("snapshots/{name}"));
    let chunk = fs::read(&path).unwrap();
    let served = fixture.served(None, |socket| {
        fs::write(&path, &chunk[..100]).unwrap();
        ask(socket, 1, true);
        assert!(!answer(socket).loaded);
        assert!(fixture.block(1, BLOCK) == vec![1; BLOCK]);
        fs::write(&path, &chunk).unwrap();
        ask(socket, 1, true);
        assert!(answer(socket).loaded);
        assert!(fixture.block(1, BLOCK) == text(1).as_slice());
        // Behind the volume's end.
        ask(socket, BLOCKS, true);
        assert!(!answer(socket).loaded);
    });
    served.unwrap();
}

#[test]
fn what_is_no_request_ends_the_loader() {
    let fixture = Fixture::new();
    for message in [&b"x"[..], &[0; 7], &[2; 8], &[0; 9]] {
        let served = fixture.served(None, |socket| {
            send(socket, message, SendFlags::NOSIGNAL).unwrap();
        });
        assert!(served.unwrap_err().report().contains("is none"));
    }
}
