//! A disk that finishes operations when a test tells it to.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::EventFd;

use crate::block::capacity::Capacity;
use crate::block::disk::{Completion, Disk, DiskInfo, Operation, OperationKind, Slot};
use crate::block::open::Disks;

const PATIENCE: Duration = Duration::from_secs(30);

/// The disk's end that a test holds.
pub(in crate::block) struct Control {
    pub(super) shared: Arc<Shared>,
    /// Operations, as they arrive.
    pub(super) arrivals: mpsc::Receiver<(Slot, OperationKind, u64)>,
}

pub(in crate::block) struct Shared {
    pub(super) state: Mutex<State>,
    ready: EventFd,
    /// Names a descriptor that is not open instead of `ready`.
    pub(super) deaf: AtomicBool,
}

#[derive(Default)]
pub(in crate::block) struct State {
    pub(super) held: BTreeMap<Slot, Operation>,
    done: Vec<Completion>,
    /// What was written, as it was when it was finished.
    pub(super) written: Vec<Vec<u8>>,
}

struct HeldDisk {
    shared: Arc<Shared>,
    arrivals: mpsc::Sender<(Slot, OperationKind, u64)>,
    depth: usize,
    capacity: Arc<Capacity>,
}

/// A disk that takes `depth` operations, and its other end.
pub(in crate::block) fn held_disk(depth: usize) -> (Disks, Control) {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        ready: EventFd::new(0).unwrap(),
        deaf: AtomicBool::new(false),
    });
    let (arrivals, received) = mpsc::channel();
    let disk = HeldDisk {
        shared: Arc::clone(&shared),
        arrivals,
        depth,
        // Of a disk that never grows.
        capacity: Arc::new(Capacity::new(
            1 << 20,
            512,
            &Arc::new(tempfile::tempfile().unwrap()),
        )),
    };
    let control = Control {
        shared,
        arrivals: received,
    };
    (vec![Box::new(disk)], control)
}

impl Control {
    /// The next operation to arrive: its slot, its kind, its offset.
    pub(super) fn next(&self) -> (Slot, OperationKind, u64) {
        self.arrivals.recv_timeout(PATIENCE).expect("an operation")
    }

    /// Finishes those in `slots`. A read brings the numbers of its sectors, each
    /// over and over, as far as it fits a byte.
    pub(in crate::block) fn finish(&self, slots: &[Slot], result: fn() -> io::Result<()>) {
        let mut state = self.shared.state.lock().unwrap();
        for slot in slots {
            let mut operation = state.held.remove(slot).unwrap();
            if operation.kind == OperationKind::Read {
                let first = operation.offset / 512;
                for sector in first..first + operation.len / 512 {
                    let byte = u8::try_from(sector % 256).unwrap();
                    operation.data.write(&[byte; 512]).unwrap();
                }
            }
            if operation.kind == OperationKind::Write {
                let mut data = vec![0; usize::try_from(operation.len).unwrap()];
                operation.data.read(&mut data).unwrap();
                state.written.push(data);
            }
            state.done.push(Completion {
                slot: *slot,
                data: operation.data,
                result: result(),
            });
        }
        drop(state);
        self.shared.ready.write(1).unwrap();
    }

    /// Waits until whoever has the disk has taken in what was finished.
    pub(super) fn wait_until_taken_in(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.shared.state.lock().unwrap().done.is_empty() {
            assert!(Instant::now() < deadline, "nobody looks");
            std::thread::yield_now();
        }
    }
}

impl Disk for HeldDisk {
    fn info(&self) -> DiskInfo {
        DiskInfo {
            capacity: self.capacity.get(),
            logical_block: 512,
            physical_block: 4096,
            buffer_alignment: 1,
            read_only: false,
            can_discard: true,
            depth: self.depth,
        }
    }
    fn capacity(&self) -> Arc<Capacity> {
        Arc::clone(&self.capacity)
    }
    fn submit(&mut self, slot: Slot, operation: Operation) {
        let arrival = (slot, operation.kind, operation.offset);
        let mut state = self.shared.state.lock().unwrap();
        let before = state.held.insert(slot, operation);
        assert!(before.is_none(), "slot {slot} is in use");
        drop(state);
        let _ = self.arrivals.send(arrival);
    }
    fn start(&mut self) {}
    fn next_completion(&mut self) -> Option<Completion> {
        self.shared.state.lock().unwrap().done.pop()
    }
    fn wakers(&self) -> Vec<RawFd> {
        let deaf = self.shared.deaf.load(Ordering::Acquire);
        vec![if deaf {
            RawFd::MAX
        } else {
            self.shared.ready.as_raw_fd()
        }]
    }
    fn is_at_rest(&self) -> bool {
        let state = self.shared.state.lock().unwrap();
        state.held.is_empty() && state.done.is_empty()
    }
    fn wait(&mut self, _: Instant) {
        std::thread::yield_now();
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
