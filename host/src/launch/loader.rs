//! The process that loads what a volume lacks, beside the machine that has the
//! volume. It ends with the machine's end of the socket.

use std::env;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::error::Error;
use crate::snapshot::loader::source::Source;
use crate::snapshot::loader::turn::take_turn;
use crate::snapshot::store::Location;
use crate::volume::directory::Volume;

/// Bytes in a second that are loaded though no guest waits for them: as much as
/// EBS initialises a volume with at most (VolumeInitializationRate, 300 MiB/s).
pub const RATE: u64 = 300 << 20;

/// Starts a loader for `volume` if it lacks anything. Returns the socket on which
/// blocks are asked for. Snapshots are in `store`.
///
/// # Errors
/// What it lacks is not there, or the process cannot be started.
pub fn start(volume: &Volume, store: &Location, rate: u64) -> Result<Option<OwnedFd>, Error> {
    if volume.is_loaded()? {
        return Ok(None);
    }
    let name = volume.name();
    // Said before the guest starts, rather than in its log.
    Source::expect(volume, store)?;
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
        .args(["--volume", &volume.record().id.to_string()])
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
