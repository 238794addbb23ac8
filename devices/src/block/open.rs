//! From an open file to disks, one for each queue: vets it and chooses an
//! engine.
//!
//! The disks of one device share the open file, with its lock and its size:
//! a flush through any of them makes durable what was answered through all.
//! What else stands between them and the device is put around them by whoever
//! opens them: [`encrypted`].

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use volume::cipher::Cipher;
use volume::cipher::key::Key;

use super::aligned_disk::aligned_disk;
use super::backing::Backing;
use super::disk::Disk;
use super::encrypted_disk::encrypted_disk;
use super::error::BlockError;
use super::file_disk::FileDisk;
use super::joint_flush_disk::JointFlushDisk;
use super::mapped_disk::{MappedDisk, Mapping};
use super::ring::Ring;
use super::uring_disk::UringDisk;
use super::waits::OnError;
use crate::virtio::queue_count::QueueCount;

/// What carries out a disk's operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// io_uring: many operations per system call, in the background.
    IoUring,
    /// A system call for each operation, one after the other.
    Sync,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring => "io_uring",
            Self::Sync => "sync",
        })
    }
}

/// Which engine to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// io_uring where the host has it, else [`Engine::Sync`].
    #[default]
    Auto,
    /// io_uring or nothing.
    IoUring,
    /// Plain system calls.
    Sync,
}

/// How to use a file as a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskOptions {
    /// Which engine.
    pub engine: EngineChoice,
    /// Bypass the page cache. Sets `O_DIRECT` on the open file, duplicates of
    /// the descriptor included.
    pub direct: bool,
    /// Refuse to write.
    pub read_only: bool,
    /// How many queues a guest has to it, each worked off by itself. One,
    /// unless asked for: a queue has a ring and, as long as there are vCPUs, a
    /// thread of its own, which pays where a disk does more than one host CPU
    /// can ask of it.
    pub queues: QueueCount,
    /// What becomes of operations that the host fails; for the
    /// [device](super::device::Block::new) to see to.
    pub on_error: OnError,
}

/// Makes a disk for each queue of `file`, which must be open for writing unless
/// it is to be read-only. Says which engine was chosen.
///
/// Does not lock the file: see [`lock`](super::lock::lock).
///
/// # Errors
/// The file is not fit to be a disk, or cannot be used as asked.
pub fn open_disk(file: File, options: DiskOptions) -> Result<(Disks, Engine), BlockError> {
    let backing = Backing::new(file, options.direct, options.read_only)?;
    let queues = options.queues.get();
    let (disks, engine) = with_engine(&backing, queues, options.engine, Ring::new)?;
    let disks: Result<Disks, BlockError> = disks.into_iter().map(aligned).collect();
    Ok((disks?, engine))
}

/// Makes a disk of the volume that is in `file` and `mapping`, which only this
/// disk writes to from now on. Otherwise as [`open_disk`].
///
/// # Errors
/// The files are no volume, or damaged; or the file is not fit to be a disk, or
/// cannot be used as asked.
pub fn open_volume(
    file: File,
    mapping: Mapping,
    options: DiskOptions,
) -> Result<(Disks, Engine), BlockError> {
    // Its state is the worker's alone.
    let queues = options.queues.get();
    if queues > 1 {
        return Err(BlockError::OneQueue(queues));
    }
    let data = file.try_clone().map_err(BlockError::Inspect)?;
    let (disks, engine) = open_disk(file, options)?;
    let mut disks = disks.into_iter();
    let inner = disks.next().ok_or(BlockError::OneQueue(0))?;
    let disk = MappedDisk::new(inner, data, mapping)?;
    Ok((vec![Box::new(disk)], engine))
}

/// A disk, once for each queue.
pub type Disks = Vec<Box<dyn Disk>>;

/// `disks`, which hold what was written encrypted under `key`.
///
/// # Errors
/// There is no address space for the memory that data goes through.
pub fn encrypted(disks: Disks, key: &Key) -> Result<Disks, BlockError> {
    let cipher = Arc::new(Cipher::new(key));
    let encrypted = |disk| encrypted_disk(disk, Arc::clone(&cipher));
    let disks: io::Result<Disks> = disks.into_iter().map(encrypted).collect();
    disks.map_err(BlockError::NoMemory)
}

fn aligned(disk: Box<dyn Disk>) -> Result<Box<dyn Disk>, BlockError> {
    let disk = Box::new(JointFlushDisk::new(disk));
    if disk.info().buffer_alignment == 1 {
        return Ok(disk);
    }
    aligned_disk(disk).map_err(BlockError::NoMemory)
}

/// All with the same engine: where one ring is not to be had, none is used.
fn with_engine(
    backing: &Backing,
    queues: u16,
    choice: EngineChoice,
    make_ring: impl Fn(&Backing) -> io::Result<Ring>,
) -> Result<(Disks, Engine), BlockError> {
    if choice == EngineChoice::Sync {
        return Ok((sync_disks(backing, queues), Engine::Sync));
    }
    let rings: io::Result<Vec<Ring>> = (0..queues).map(|_| make_ring(backing)).collect();
    match rings {
        Ok(rings) => {
            let disk = |ring| -> Box<dyn Disk> { Box::new(UringDisk::new(backing.clone(), ring)) };
            Ok((rings.into_iter().map(disk).collect(), Engine::IoUring))
        }
        Err(error) if choice == EngineChoice::IoUring => Err(BlockError::NoIoUring(error)),
        Err(error) => {
            log::info!("io_uring cannot be used ({error}): disk operations go one by one");
            Ok((sync_disks(backing, queues), Engine::Sync))
        }
    }
}

fn sync_disks(backing: &Backing, queues: u16) -> Disks {
    let disk = |_| -> Box<dyn Disk> { Box::new(FileDisk::new(backing.clone())) };
    (0..queues).map(disk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn backing() -> Backing {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        Backing::new(file, false, false).unwrap()
    }

    fn no_ring(_: &Backing) -> io::Result<Ring> {
        Err(io::Error::from_raw_os_error(libc::ENOSYS))
    }

    #[test]
    fn without_io_uring_the_choice_falls_on_the_other_engine() {
        let (_, engine) = with_engine(&backing(), 1, EngineChoice::Auto, no_ring).unwrap();
        assert_eq!(engine, Engine::Sync);
    }

    #[test]
    fn io_uring_asked_for_and_missing_is_an_error() {
        let outcome = with_engine(&backing(), 1, EngineChoice::IoUring, no_ring);
        assert!(matches!(outcome, Err(BlockError::NoIoUring(_))));
    }

    #[test]
    fn io_uring_is_not_touched_unless_wanted() {
        let no_ring = |_: &Backing| panic!("a ring was made");
        let (_, engine) = with_engine(&backing(), 2, EngineChoice::Sync, no_ring).unwrap();
        assert_eq!(engine, Engine::Sync);
    }

    #[test]
    fn queues_of_one_disk_have_the_same_engine() {
        let made = Cell::new(0);
        let two_rings = |backing: &Backing| {
            made.set(made.get() + 1);
            match made.get() {
                1 | 2 => Ring::new(backing),
                _ => no_ring(backing),
            }
        };
        let outcome = with_engine(&backing(), 3, EngineChoice::Auto, two_rings);
        let (disks, engine) = outcome.unwrap();
        assert_eq!((disks.len(), engine), (3, Engine::Sync));
        assert!(disks.iter().all(|disk| disk.wakers().is_empty()));
        let (disks, engine) = with_engine(&backing(), 3, EngineChoice::Auto, Ring::new).unwrap();
        assert_eq!((disks.len(), engine), (3, Engine::IoUring));
    }
}
