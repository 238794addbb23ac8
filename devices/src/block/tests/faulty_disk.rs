//! A disk on a host that fails when a test says so, and forgets what it could
//! not write, as Linux does.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crate::block::backing::Backing;
use crate::block::capacity::Capacity;
use crate::block::disk::{Completion, Disk, DiskInfo, Operation, OperationKind, Slot};
use crate::block::file_disk::FileDisk;

/// What the kernel forgets by itself.
pub(super) const PAGE: usize = 4096;

/// What a test knows of the host, and decides. Clones are the same.
#[derive(Clone)]
pub(super) struct Host(Arc<Mutex<State>>);

struct State {
    data: File,
    /// What a power cut would leave.
    durable: Vec<u8>,
    /// Fails the next flush, and loses the pages for which this says so, one
    /// after another.
    lost: Option<Vec<bool>>,
    /// Fails operations but flushes, as long as it is set; writes are begun.
    errno: Option<i32>,
    failed: usize,
}

impl Host {
    pub(super) fn new(data: File) -> Self {
        let durable = contents(&data);
        Self(Arc::new(Mutex::new(State {
            data,
            durable,
            lost: None,
            errno: None,
            failed: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Has the next flush fail, and lose those pages not yet written for which
    /// `lost` says so, around and around.
    pub(super) fn fail_flush(&self, lost: Vec<bool>) {
        self.state().lost = Some(lost);
    }

    /// Has all but flushes fail from now on, or no more.
    pub(super) fn fail(&self, errno: Option<i32>) {
        self.state().errno = errno;
    }

    /// How often it has failed so far.
    pub(super) fn failed(&self) -> usize {
        self.state().failed
    }

    /// What a power cut leaves.
    pub(super) fn durable(&self) -> Vec<u8> {
        self.state().durable.clone()
    }

    /// Its disk.
    pub(super) fn disk(&self) -> Box<dyn Disk> {
        let data = self.state().data.try_clone().unwrap();
        let backing = Backing::new(data, false, false).unwrap();
        Box::new(FaultyDisk {
            inner: FileDisk::new(backing),
            host: self.clone(),
            failed: VecDeque::new(),
        })
    }

    /// Whether `operation` goes wrong, and how.
    fn outcome(&self, operation: &mut Operation) -> io::Result<()> {
        let mut state = self.state();
        let outcome = match operation.kind {
            OperationKind::Flush => state.flush(),
            kind => state.errno.map_or(Ok(()), |errno| {
                if kind == OperationKind::Write {
                    // A short write, then an error.
                    let mut half = vec![0; usize::try_from(operation.len / 2).unwrap()];
                    operation.data.read(&mut half).unwrap();
                    state.data.write_all_at(&half, operation.offset).unwrap();
                }
                Err(io::Error::from_raw_os_error(errno))
            }),
        };
        state.failed += usize::from(outcome.is_err());
        outcome
    }
}

impl State {
    fn flush(&mut self) -> io::Result<()> {
        let now = contents(&self.data);
        let Some(lost) = self.lost.take() else {
            self.durable = now;
            return Ok(());
        };
        let mut lost = lost.into_iter().cycle();
        for at in (0..now.len()).step_by(PAGE) {
            let page = at..at + PAGE;
            if now[page.clone()] == self.durable[page.clone()] {
                continue;
            }
            match lost.next() {
                Some(true) => {
                    let before = &self.durable[page];
                    self.data.write_all_at(before, at as u64).unwrap();
                }
                _ => self.durable[page.clone()].copy_from_slice(&now[page]),
            }
        }
        Err(io::Error::from_raw_os_error(libc::EIO))
    }
}

fn contents(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

struct FaultyDisk {
    inner: FileDisk,
    host: Host,
    failed: VecDeque<Completion>,
}

impl Disk for FaultyDisk {
    fn info(&self) -> DiskInfo {
        self.inner.info()
    }
    fn capacity(&self) -> Arc<Capacity> {
        self.inner.capacity()
    }
    fn submit(&mut self, slot: Slot, mut operation: Operation) {
        match self.host.outcome(&mut operation) {
            Ok(()) => self.inner.submit(slot, operation),
            Err(error) => self.failed.push_back(Completion {
                slot,
                data: operation.data,
                result: Err(error),
            }),
        }
    }
    fn start(&mut self) {}
    fn next_completion(&mut self) -> Option<Completion> {
        let failed = self.failed.pop_front();
        failed.or_else(|| self.inner.next_completion())
    }
    fn wakers(&self) -> Vec<RawFd> {
        Vec::new()
    }
    fn is_at_rest(&self) -> bool {
        self.failed.is_empty() && self.inner.is_at_rest()
    }
    fn wait(&mut self, _: Instant) {}
    fn sync(&mut self) -> io::Result<()> {
        self.host.state().flush()
    }
}
