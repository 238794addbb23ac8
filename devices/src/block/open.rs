//! From an open file to a disk: vets it and chooses an engine.

use std::fmt;
use std::fs::File;

use super::aligned_disk::AlignedDisk;
use super::backing::Backing;
use super::disk::Disk;
use super::error::BlockError;
use super::file_disk::FileDisk;
use super::ring::Ring;
use super::uring_disk::UringDisk;

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
}

/// Makes a disk of `file`, which must be open for writing unless it is to be
/// read-only. Says which engine was chosen.
///
/// Does not lock the file: see [`lock`](super::lock::lock).
///
/// # Errors
/// The file is not fit to be a disk, or cannot be used as asked.
pub fn open_disk(file: File, options: DiskOptions) -> Result<(Box<dyn Disk>, Engine), BlockError> {
    let backing = Backing::new(file, options.direct, options.read_only)?;
    let (disk, engine) = with_engine(backing, options.engine, Ring::new)?;
    if disk.info().buffer_alignment == 1 {
        return Ok((disk, engine));
    }
    let aligned = AlignedDisk::new(disk).map_err(BlockError::NoDirect)?;
    Ok((Box::new(aligned), engine))
}

fn with_engine(
    backing: Backing,
    choice: EngineChoice,
    make_ring: impl FnOnce(&Backing) -> std::io::Result<Ring>,
) -> Result<(Box<dyn Disk>, Engine), BlockError> {
    if choice == EngineChoice::Sync {
        return Ok((Box::new(FileDisk::new(backing)), Engine::Sync));
    }
    match make_ring(&backing) {
        Ok(ring) => Ok((Box::new(UringDisk::new(backing, ring)), Engine::IoUring)),
        Err(error) if choice == EngineChoice::IoUring => Err(BlockError::NoIoUring(error)),
        Err(error) => {
            log::info!("io_uring cannot be used ({error}): disk operations go one by one");
            Ok((Box::new(FileDisk::new(backing)), Engine::Sync))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

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
        let (_, engine) = with_engine(backing(), EngineChoice::Auto, no_ring).unwrap();
        assert_eq!(engine, Engine::Sync);
    }

    #[test]
    fn io_uring_asked_for_and_missing_is_an_error() {
        let outcome = with_engine(backing(), EngineChoice::IoUring, no_ring);
        assert!(matches!(outcome, Err(BlockError::NoIoUring(_))));
    }

    #[test]
    fn io_uring_is_not_touched_unless_wanted() {
        let (_, engine) =
            with_engine(backing(), EngineChoice::Sync, |_| panic!("a ring was made")).unwrap();
        assert_eq!(engine, Engine::Sync);
    }
}
