//! The process that brings blocks of a volume which are still in a snapshot, as
//! the disk sees it: a socket over which blocks are asked for, one by one, and
//! answered in any order (`volume::fetch`).
//!
//! It is trusted with the volume's data, which it writes, and with nothing else:
//! answers to what was not asked are passed over.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use volume::fetch::{self, Answer, Request};

/// Blocks asked for, and the way to whom they are asked of.
#[derive(Debug)]
pub(super) struct Loader {
    socket: OwnedFd,
    /// Whether somebody waits for the block.
    asked: BTreeMap<u32, bool>,
    /// What the socket had no room for.
    unsent: VecDeque<Request>,
    gone: bool,
}

impl Loader {
    /// `socket` is connected and of type SOCK_SEQPACKET.
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            asked: BTreeMap::new(),
            unsent: VecDeque::new(),
            gone: false,
        }
    }

    /// Becomes readable when there is an answer.
    pub(super) fn waker(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// To wait for an answer.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether nobody answers any more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether `block` is being loaded.
    pub(super) fn is_asked(&self, block: u32) -> bool {
        self.asked.contains_key(&block)
    }

    /// Blocks being loaded for which nobody waits.
    pub(super) fn background(&self) -> usize {
        self.asked.values().filter(|urgent| !**urgent).count()
    }

    /// Whether nothing is being loaded.
    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// Asks for `block`, unless that was done already.
    pub(super) fn ask(&mut self, block: u32, urgent: bool) {
        let before = self.asked.insert(block, urgent);
        match before {
            None => self.unsent.push_back(Request { block, urgent }),
            Some(false) if urgent => self.unsent.push_back(Request { block, urgent }),
            Some(was_urgent) => {
                self.asked.insert(block, was_urgent);
            }
        }
        self.send();
    }

    /// Sends what there is room for.
    pub(super) fn send(&mut self) {
        while let Some(request) = self.unsent.front() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match send(&self.socket, &request.encode(), flags) {
                Ok(_) => {
                    self.unsent.pop_front();
                }
                Err(Errno::INTR) => {}
                // An answer makes room, and wakes the worker.
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }

    /// The next answer to something that was asked. `None` if there is none
    /// yet, or there will be none.
    pub(super) fn next_answer(&mut self) -> Option<Answer> {
        let mut message = [0; fetch::SIZE];
        while !self.gone {
            match recv(&self.socket, &mut message, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => self.gone = true,
                Ok((_, length)) => {
                    let answer = message.get(..length).and_then(Answer::decode);
                    let wanted = answer.filter(|a| self.asked.remove(&a.block).is_some());
                    if wanted.is_some() {
                        return wanted;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                Err(_) => self.gone = true,
            }
        }
        None
    }

    /// What was asked of a loader that is gone. Each is given once.
    pub(super) fn abandon(&mut self) {
        self.asked.clear();
        self.unsent.clear();
    }

    /// Nothing more will be asked: the loader may end.
    pub(super) fn dismiss(&self) {
        // The descriptor stays: the reactor watches it.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }
}

/// That a block cannot be had, as a disk says it.
pub(super) fn not_loaded(gone: bool) -> io::Error {
    io::Error::other(match gone {
        true => "the process that loads the volume's blocks has ended",
        false => "a block of the snapshot that the volume was made from cannot be had",
    })
}
