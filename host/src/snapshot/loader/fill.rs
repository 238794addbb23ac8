//! Filling a volume that no machine has: all that it lacks is loaded.
//!
//! Whoever does it has the volume, and lets go of it when it is asked to by a
//! signal. What was loaded is in the map once it is durable; so it may also be
//! killed at any moment, and what was not noted is loaded again.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use volume::BLOCK;
use volume::fetch::{self, Answer, Request, Wish};
use volume::freeze::{self, Freeze};
use volume::map::BlockMap;

use super::serve;
use super::source::Source;
use super::turn::take_turn;
use crate::error::Error;
use crate::progress::Progress;
use crate::snapshot::store::Location;
use crate::volume::blocks::Loaded;
use crate::volume::directory::Volume;

/// Blocks that are being loaded at a time.
const WINDOW: u32 = 8;

/// Blocks that are loaded before they are made durable: 64 MiB of them.
const BATCH: usize = 128;

/// How long to wait before looking again whether somebody fills the volume.
const GLANCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// The volume lacks nothing.
    Whole,
    /// Somebody wants the volume.
    Stopped,
}

/// Loads what `volume` lacks, at `rate` bytes in a second, until `stop` is
/// readable; or waits until who does so already has. Snapshots are in `store`.
///
/// # Errors
/// The volume is in use, or a block cannot be had or written; what was loaded
/// stays.
pub fn fill(
    volume: &mut Volume,
    store: &Location,
    rate: Option<u64>,
    stop: BorrowedFd<'_>,
) -> Result<Filled, Error> {
    let Some(data) = wait_for(volume, stop)? else {
        return Ok(Filled::Stopped);
    };
    if volume.is_loaded()? {
        volume.let_source_go()?;
        return Ok(Filled::Whole);
    }
    let source = Source::open(volume, store)?;
    let failed = |error: io::Error| failed(volume, error);
    let _turn = take_turn(volume).map_err(failed)?;
    let (near, far) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno| failed(errno.into()))?;
    let mut filling = Filling::open(volume, &data, near)?;
    let to = &data;
    let filled = thread::scope(|scope| {
        let served = scope.spawn(move || serve(&far, to, source, rate, || {}));
        let filled = filling.run(stop).map_err(failed);
        // Before what is under way is waited for: one may not have the time.
        let filled = filling.close().map_err(failed).and(filled);
        let served = served.join();
        served.unwrap_or_else(|_| Err(Error::unexpected("a thread that loads blocks")))?;
        filled
    })?;
    if filled == Filled::Whole {
        volume.let_source_go()?;
    }
    Ok(filled)
}

/// Has `volume` to fill it, once nobody else does. `None` if `stop` is readable
/// before.
fn wait_for(volume: &mut Volume, stop: BorrowedFd<'_>) -> Result<Option<File>, Error> {
    let progress = Progress::new("loading", volume.record().size.bytes());
    loop {
        if let Some(data) = volume.open_to_fill()? {
            return Ok(Some(data));
        }
        // Its map may be being written to.
        if let Ok(Loaded { blocks, absent }) = volume.loaded() {
            progress.reach(u64::from(blocks - absent) * BLOCK);
        }
        let mut sources = [PollFd::from_borrowed_fd(stop, PollFlags::IN)];
        let stopped = retry_on_intr(|| poll(&mut sources, Some(&GLANCE)));
        if stopped.map_err(|errno| failed(volume, errno.into()))? > 0 {
            return Ok(None);
        }
    }
}

fn failed(volume: &Volume, error: io::Error) -> Error {
    Error::host(format!("volume '{}' cannot be filled", volume.name())).because(error)
}

/// A volume that is being filled.
struct Filling<'a> {
    map: BlockMap,
    freezes: Vec<Freeze>,
    data: &'a File,
    socket: OwnedFd,
    /// Blocks not looked at yet.
    rest: Range<u32>,
    /// Asked for, and not answered.
    asked: u32,
    /// There are absent blocks that cannot be had.
    lacking: u32,
    progress: Progress,
    done: u64,
}

impl<'a> Filling<'a> {
    fn open(volume: &Volume, data: &'a File, socket: OwnedFd) -> Result<Self, Error> {
        let cannot = |error: Box<dyn std::error::Error + Send + Sync>| {
            volume_unopened(volume).because(error)
        };
        let map = BlockMap::open(volume.open_map()?).map_err(|error| cannot(error.into()))?;
        let freezes = volume.open_freezes()?.into_iter();
        let freezes =
            freezes.filter_map(|files| Freeze::resume(files.freeze, files.kept, &map).transpose());
        let freezes = freezes.collect::<Result<Vec<_>, _>>();
        let freezes = freezes.map_err(|error| cannot(error.into()))?;
        let (size, loaded) = (map.header().size, volume.loaded()?);
        Ok(Self {
            map,
            freezes,
            data,
            socket,
            rest: 0..size.blocks(),
            asked: 0,
            lacking: 0,
            progress: Progress::new("loading", size.bytes()),
            done: u64::from(loaded.blocks - loaded.absent),
        })
    }

    /// Loads until there is an end.
    fn run(&mut self, stop: BorrowedFd<'_>) -> io::Result<Filled> {
        loop {
            self.ask()?;
            if self.asked == 0 {
                break;
            }
            let socket = self.socket.as_fd();
            let mut sources = [socket, stop].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            retry_on_intr(|| poll(&mut sources, None))?;
            let [answered, stopped] = sources.map(|source| !source.revents().is_empty());
            if stopped {
                return Ok(Filled::Stopped);
            }
            if answered {
                self.take_answer()?;
            }
        }
        self.settle()?;
        if self.lacking > 0 {
            let many = self.lacking;
            return Err(io::Error::other(format!("{many} blocks cannot be had")));
        }
        self.map.complete()?;
        Ok(Filled::Whole)
    }

    /// Asks for the next blocks.
    fn ask(&mut self) -> io::Result<()> {
        while self.asked < WINDOW {
            let Some(block) = self.map.absent_in(self.rest.clone())? else {
                self.rest.start = self.rest.end;
                return Ok(());
            };
            self.rest.start = block + 1;
            freeze::before_change(&mut self.freezes, block, &mut self.map, self.data)?;
            let request = Request {
                block,
                wish: Wish::Load,
            };
            retry_on_intr(|| send(&self.socket, &request.encode(), SendFlags::NOSIGNAL))?;
            self.asked += 1;
        }
        Ok(())
    }

    fn take_answer(&mut self) -> io::Result<()> {
        let mut message = [0; fetch::SIZE];
        let received = retry_on_intr(|| recv(&self.socket, &mut message, RecvFlags::empty()));
        let answer = match received {
            Ok((_, 0)) | Err(Errno::CONNRESET) => return Err(io::ErrorKind::BrokenPipe.into()),
            Ok((_, length)) => message.get(..length).and_then(Answer::decode),
            Err(errno) => return Err(errno.into()),
        };
        let answer = answer.ok_or(io::ErrorKind::InvalidData)?;
        self.asked = self.asked.saturating_sub(1);
        if !answer.loaded {
            self.lacking += 1;
            return Ok(());
        }
        self.map.loaded(answer.block)?;
        self.done += 1;
        self.progress.reach(self.done * BLOCK);
        match self.map.unsettled() >= BATCH {
            true => self.settle(),
            false => Ok(()),
        }
    }

    /// Notes in the map what was loaded, once that is durable.
    fn settle(&mut self) -> io::Result<()> {
        let batch = self.map.begin_settling();
        if batch.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.data.sync_data() {
            // The kernel says it once: the next sync would succeed all the same.
            self.map.forget_unsettled();
            return Err(error);
        }
        self.map.settle(&batch)
    }

    /// Notes what there is, and asks for nothing more.
    fn close(mut self) -> io::Result<()> {
        self.settle()?;
        self.map.close()
    }
}

fn volume_unopened(volume: &Volume) -> Error {
    Error::host(format!("volume '{}' cannot be opened", volume.name()))
}

#[cfg(test)]
mod tests;
