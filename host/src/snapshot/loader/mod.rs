//! Loading what a volume lacks, block by block as it is asked for
//! ([`volume::fetch`]): by the process of a virtual machine, or by [`fill`].
//!
//! The process of a machine has neither zstd nor a network: this is another one, which has
//! the volume's `data` open for writing and one end of a socket. It is an error
//! of whoever starts them to have two for one volume at the same time: the one
//! could overwrite what the guest wrote once the other had answered.

pub mod fill;
mod queue;
pub mod source;
pub mod turn;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use volume::fetch::{self, Answer, Request};

use crate::error::Error;

use super::block_reader::Content;
use super::chunk::{self, BLOCK, Block};

use queue::{Asked, Next, Queue};
use source::Source;

/// Blocks that are fetched at the same time: a store far away takes its time
/// for each.
const THREADS: usize = 4;

/// Answers what is asked on `socket`, of type SOCK_SEQPACKET, until the other
/// side closes it: writes the blocks that `source` has into `data`. Urgent
/// requests come first, the others at `rate` bytes in a second. When it returns
/// it has ceased to touch `data`.
///
/// A block that cannot be had is answered so; whoever asked may ask again.
/// `closed` is called as soon as the other side has closed the socket, while
/// blocks may still be under way.
///
/// # Errors
/// Something came that is no request, or the socket failed.
pub fn serve(
    socket: &OwnedFd,
    data: &File,
    source: Source,
    rate: Option<u64>,
    closed: impl FnOnce(),
) -> Result<(), Error> {
    let loader = Loader {
        socket: socket.as_fd(),
        data,
        state: Mutex::new(State {
            queue: Queue::new(rate, Instant::now()),
            closed: false,
        }),
        changed: Condvar::new(),
        failing: AtomicBool::new(false),
    };
    let others = (1..THREADS).map(|_| source.another());
    let mut sources = others.collect::<Result<Vec<_>, _>>()?;
    sources.push(source);
    thread::scope(|scope| {
        for source in sources {
            scope.spawn(|| loader.load(source));
        }
        let result = loader.receive();
        closed();
        loader.close();
        result
    })
}

struct Loader<'a> {
    socket: BorrowedFd<'a>,
    data: &'a File,
    state: Mutex<State>,
    /// Something was added to the queue, or it was closed.
    changed: Condvar,
    /// The last block could not be had.
    failing: AtomicBool,
}

struct State {
    queue: Queue,
    closed: bool,
}

impl Loader<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Takes requests in until the socket closes.
    fn receive(&self) -> Result<(), Error> {
        // A byte more, so that what is too long is seen to be.
        let mut message = [0; fetch::SIZE + 1];
        loop {
            let length = match retry_on_intr(|| recv(self.socket, &mut message, RecvFlags::empty()))
            {
                Ok((0, _)) | Err(Errno::CONNRESET) => return Ok(()),
                Ok((length, _)) => length,
                Err(error) => {
                    return Err(Error::unexpected("requests for blocks cannot be read")
                        .because(io::Error::from(error)));
                }
            };
            let request = Request::decode(&message[..length.min(message.len())]);
            let request =
                request.ok_or_else(|| Error::unexpected("a request for a block is none"))?;
            let asked = self.state().queue.ask(request);
            match asked {
                Asked::Waits => self.changed.notify_all(),
                Asked::Refused => self.answer(request.block, false),
            }
        }
    }

    /// Loads blocks until there is an end.
    fn load(&self, mut source: Source) {
        let mut block = chunk::empty();
        while let Some(index) = self.next() {
            let written = self.write(&mut source, index, &mut block);
            self.state().queue.done(index);
            self.note(written.as_ref().err());
            self.answer(index, written.is_ok());
        }
    }

    /// The next block to be loaded, when its time has come.
    fn next(&self) -> Option<u32> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            state = match state.queue.next(Instant::now()) {
                Next::Block(index) => return Some(index),
                Next::Later(wait) => {
                    let waited = self.changed.wait_timeout(state, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Next::Nothing => {
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    fn write(&self, source: &mut Source, index: u32, block: &mut Block) -> Result<(), Error> {
        let failed = |error| {
            let what = format!("block {index} cannot be written to the volume");
            Error::host(what).because(error)
        };
        let offset = u64::from(index) * BLOCK as u64;
        let size = self.data.metadata().map_err(failed)?.len();
        let length = match size.saturating_sub(offset) {
            0 => return Err(failed(io::ErrorKind::InvalidInput.into())),
            left => usize::try_from(left).unwrap_or(BLOCK).min(BLOCK),
        };
        match source.read(index, block)? {
            Content::Data => self.data.write_all_at(&block[..length], offset),
            Content::Zero => punch(self.data, offset, length, block),
        }
        .map_err(failed)
    }

    fn answer(&self, block: u32, loaded: bool) {
        let answer = Answer { block, loaded }.encode();
        // If nobody is there to hear it, nobody asks any more either.
        if retry_on_intr(|| send(self.socket, &answer, SendFlags::NOSIGNAL)).is_err() {
            self.close();
        }
    }

    /// Says why a block could not be had: once, until one could.
    fn note(&self, error: Option<&Error>) {
        let failed_before = self.failing.swap(error.is_some(), Ordering::Relaxed);
        if let (Some(error), false) = (error, failed_before) {
            // What is full may hold this log, too: no reason to end.
            let _ = writeln!(io::stderr(), "plinth: {}", error.report());
        }
    }
}

/// Makes a hole, or writes zeroes where the file system knows no holes.
fn punch(data: &File, offset: u64, length: usize, block: &mut Block) -> io::Result<()> {
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match retry_on_intr(|| fallocate(data, hole, offset, length as u64)) {
        Err(Errno::OPNOTSUPP) => {
            block.fill(0);
            data.write_all_at(&block[..length], offset)
        }
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests;
