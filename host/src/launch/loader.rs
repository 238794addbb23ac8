//! The process that loads blocks of a volume from the snapshot that it was made
//! from, beside the machine that has the volume. It ends with the machine's end
//! of the socket.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};
use rustix::io::retry_on_intr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::error::Error;
use crate::snapshot::store::{Location, Name};
use crate::volume::directory::Volume;

/// Bytes in a second that are loaded though no guest waits for them: as much as
/// EBS initialises a volume with at most (VolumeInitializationRate, 300 MiB/s).
pub const RATE: u64 = 300 << 20;

/// Where, in the volume's directory, a loader says what went wrong.
const LOG: &str = "load.log";

/// The volume's log, locked: the loader inherits the lock, and with it the right
/// to write into `data`. One that was there before has ended then; it does so as
/// soon as its machine has.
fn take_turn(volume: &Volume) -> io::Result<File> {
    let mut options = File::options();
    let options = options.write(true).create(true).truncate(false);
    let log = options.open(volume.directory().join(LOG))?;
    retry_on_intr(|| flock(&log, FlockOperation::LockExclusive))?;
    log.set_len(0)?;
    Ok(log)
}

/// Starts a loader for `volume` if some of it is still in its snapshot. Returns
/// the socket on which blocks are asked for.
///
/// # Errors
/// The snapshot is not in the store, or the process cannot be started.
pub fn start(volume: &Volume, store: &Location, rate: u64) -> Result<Option<OwnedFd>, Error> {
    if volume.is_loaded()? {
        return Ok(None);
    }
    let name = volume.name();
    let origin = volume.record().origin.ok_or_else(|| {
        Error::configuration(format!(
            "volume '{name}' is damaged: it has not been loaded, and its record names no snapshot"
        ))
    })?;
    // Said before the guest starts, rather than in its log.
    if !store.open()?.exists(&Name::Record(origin))? {
        return Err(Error::configuration(format!(
            "volume '{name}' is still being loaded from snapshot {origin}, which is not in {store}"
        ))
        .remedy("naming the store that it is in with PLINTH_STORE"));
    }
    let cannot = |error| {
        let what = format!("the process that loads volume '{name}' cannot be started");
        Error::unexpected(what).because(error)
    };
    let (near, far) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno| cannot(errno.into()))?;
    // Opened anew: the lock is the machine's, and ends with it.
    let data = File::options().read(true).write(true).open(volume.data());
    let log = take_turn(volume).map_err(cannot)?;
    let program = env::current_exe().map_err(cannot)?;
    let mut command = Command::new(program);
    command
        .arg("load-blocks")
        .args(["--snapshot", &origin.to_string()])
        .args(["--store", &store.to_string()])
        .args(["--rate", &rate.to_string()])
        // In a group of its own, what interrupts a machine in the foreground
        // does not end it.
        .process_group(0)
        .stdin(Stdio::from(far))
        .stdout(Stdio::from(data.map_err(cannot)?))
        .stderr(Stdio::from(log));
    command.spawn().map_err(cannot)?;
    Ok(Some(near))
}
