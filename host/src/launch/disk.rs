//! Disks: files and block devices, opened, measured and locked.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};

use devices::block::lock::{Access, LockError, lock};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use vmm::DiskId;
use vmm::config::BlockConfig;

use crate::error::Error;
use crate::holder;
use crate::option::disk::DiskOption;
use crate::shell::quoted;

/// What a disk is counted in, in bytes (virtio 1.3 §5.2.4).
const SECTOR: u64 = 512;

/// Opens disks in order.
///
/// # Errors
/// One cannot be opened, has no usable size, or is in use; or two have the
/// same identity or the same file.
pub fn open_all(options: Vec<DiskOption>) -> Result<Vec<BlockConfig>, Error> {
    let mut disks: Vec<BlockConfig> = Vec::with_capacity(options.len());
    for (number, option) in options.into_iter().enumerate() {
        let id = option.id.unwrap_or_else(|| numbered(number));
        if disks.iter().any(|disk| disk.id == id) {
            return Err(
                Error::configuration(format!("two disks have the id '{id}'"))
                    .remedy("another id=ID for one of them"),
            );
        }
        disks.push(open(option, id, &disks)?);
    }
    Ok(disks)
}

/// Opens one disk, for a machine that has others already.
///
/// # Errors
/// It cannot be opened, has no usable size, or is in use.
pub fn open_one(option: DiskOption, id: DiskId) -> Result<BlockConfig, Error> {
    open(option, id, &[])
}

/// The identity of a disk if the user gave none.
pub fn numbered(number: usize) -> DiskId {
    let id = format!("disk{number}");
    id.parse()
        .expect("a short word and a number have at most 20 characters")
}

fn open(option: DiskOption, id: DiskId, before: &[BlockConfig]) -> Result<BlockConfig, Error> {
    let file = open_file(&option)?;
    check_size(&option, &file)?;
    claim(&option, &file, before)?;
    // io_uring fails requests on a non-blocking file that would have to wait.
    fcntl_getfl(&file)
        .and_then(|flags| fcntl_setfl(&file, flags - OFlags::NONBLOCK))
        .map_err(|error| refused(&option, "cannot be used").because(error))?;
    Ok(BlockConfig {
        file,
        id,
        options: option.options,
        key: None,
        limits: option.limits,
        volume: None,
    })
}

fn refused(option: &DiskOption, why: &str) -> Error {
    Error::configuration(format!("disk '{}' {why}", option.path.display()))
}

/// Opens a regular file or a block device.
fn open_file(option: &DiskOption) -> Result<File, Error> {
    // Without O_NONBLOCK a pipe without a writer would be waited for.
    let mut flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    if option.options.direct {
        flags |= libc::O_DIRECT;
    }
    let file = OpenOptions::new()
        .read(true)
        .write(!option.options.read_only)
        .custom_flags(flags)
        .open(&option.path)
        .map_err(|error| unopened(option, error))?;
    let kind = metadata(option, &file)?.file_type();
    if kind.is_file() || kind.is_block_device() {
        return Ok(file);
    }
    let why = if kind.is_dir() {
        "is a directory"
    } else {
        "is neither a regular file nor a block device"
    };
    Err(refused(option, why).remedy("a disk image or a block device"))
}

fn metadata(option: &DiskOption, file: &File) -> Result<Metadata, Error> {
    file.metadata()
        .map_err(|error| refused(option, "cannot be examined").because(error))
}

/// Refuses a disk without sectors, or with part of one.
fn check_size(option: &DiskOption, mut file: &File) -> Result<(), Error> {
    // A block device's metadata does not tell its size.
    let size = file
        .seek(SeekFrom::End(0))
        .map_err(|error| refused(option, "cannot be measured").because(error))?;
    let path = quoted(&option.path);
    if size == 0 {
        return Err(
            refused(option, "is empty").remedy(format!("giving it a size: truncate -s 1G {path}"))
        );
    }
    if !size.is_multiple_of(SECTOR) {
        let why = format!("has {size} bytes, which is not a multiple of {SECTOR}");
        return Err(
            refused(option, &why).remedy(format!("making it whole: truncate -s %{SECTOR} {path}"))
        );
    }
    Ok(())
}

/// Locks the disk, against everybody to write to it, against writers to read
/// it.
fn claim(option: &DiskOption, file: &File, before: &[BlockConfig]) -> Result<(), Error> {
    let metadata = metadata(option, file)?;
    let read_only = option.options.read_only;
    let twice = before
        .iter()
        .filter(|other| same_file(&metadata, &other.file))
        .any(|other| !(read_only && other.options.read_only));
    if twice {
        let why = "is given twice, and not read-only both times";
        return Err(refused(option, why)
            .remedy("adding ,readonly to both, or another file for one of them"));
    }
    let access = if read_only {
        Access::Shared
    } else {
        Access::Exclusive
    };
    lock(file, access).map_err(|error| match error {
        LockError::InUse => {
            let by = holder::by(holder::of_lock(&metadata));
            refused(option, &format!("is in use {by}"))
                .remedy("ending that process, or adding ,readonly to all its users")
        }
        error => refused(option, "cannot be used").because(error),
    })
}

fn unopened(option: &DiskOption, error: io::Error) -> Error {
    let errno = Errno::from_io_error(&error);
    let how = if option.options.read_only {
        "cannot be opened"
    } else {
        "cannot be opened for writing"
    };
    let refused = refused(option, how).because(error);
    match errno {
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) if !option.options.read_only => {
            refused.remedy("adding ,readonly, or permission to write to it")
        }
        Some(Errno::ACCESS | Errno::PERM) => refused.remedy("permission to read it"),
        Some(Errno::INVAL) if option.options.direct => {
            refused.remedy("leaving out ,direct: this file system may not support it")
        }
        Some(Errno::ISDIR) => refused.remedy("a disk image or a block device"),
        Some(Errno::NOENT) => refused.remedy(format!(
            "making it: truncate -s 1G {}",
            quoted(&option.path)
        )),
        _ => refused,
    }
}

fn same_file(metadata: &Metadata, other: &File) -> bool {
    other
        .metadata()
        .is_ok_and(|other| (other.dev(), other.ino()) == (metadata.dev(), metadata.ino()))
}
