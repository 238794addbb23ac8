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
use volume::fetch::{self, Answer, Request, Wish};

/// Blocks asked for, and the way to whom they are asked of.
#[derive(Debug)]
pub(super) struct Loader {
    socket: OwnedFd,
    /// Each is answered once.
    asked: BTreeMap<u32, Asked>,
    /// What the socket had no room for.
    unsent: VecDeque<Request>,
    gone: bool,
}

/// What is known of a block that was asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// Somebody waits for it.
    urgent: bool,
    /// What is brought may be lost: it is asked for again.
    in_vain: bool,
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
        self.asked.values().filter(|asked| !asked.urgent).count()
    }

    /// Whether nothing is being loaded.
    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// Asks for `block`, unless that was done already; then, that it hurries if
    /// it is urgent only now.
    pub(super) fn ask(&mut self, block: u32, urgent: bool) {
        let wish = match self.asked.get_mut(&block) {
            None => {
                let in_vain = false;
                self.asked.insert(block, Asked { urgent, in_vain });
                wish(urgent)
            }
            Some(asked) if urgent && !asked.urgent => {
                asked.urgent = true;
                Wish::Hurry
            }
            Some(_) => return,
        };
        self.unsent.push_back(Request { block, wish });
        self.send();
    }

    /// What was brought up to now may be lost, if it was not answered for yet.
    pub(super) fn distrust(&mut self) {
        for asked in self.asked.values_mut() {
            asked.in_vain = true;
        }
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
                    let wanted = answer.and_then(|answer| self.take_in(answer));
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

    /// What is to be made of `answer`, if it is one to something that was asked.
    fn take_in(&mut self, answer: Answer) -> Option<Answer> {
        let asked = self.asked.remove(&answer.block)?;
        if asked.in_vain && answer.loaded {
            self.ask(answer.block, asked.urgent);
            return None;
        }
        Some(answer)
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

fn wish(urgent: bool) -> Wish {
    match urgent {
        true => Wish::Urgent,
        false => Wish::Load,
    }
}

/// That a block cannot be had at the moment, as a disk says it.
#[derive(Debug, thiserror::Error)]
#[error("a block of the snapshot that the volume was made from cannot be had")]
pub(super) struct NotLoaded;

/// That no block can be had any more, as a disk says it.
pub(super) fn nobody_loads() -> io::Error {
    io::Error::other("the process that loads the volume's blocks has ended")
}
