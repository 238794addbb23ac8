//! Whose turn it is to load blocks into a volume: one process's at a time.

use std::fs::File;
use std::io;

use rustix::fs::{FlockOperation, flock};
use rustix::io::retry_on_intr;

use crate::volume::directory::Volume;

/// Where, in the volume's directory, a loader says what went wrong.
const LOG: &str = "load.log";

/// Opens the log of `volume` to be written to.
///
/// # Errors
/// It cannot be opened.
pub fn log(volume: &Volume) -> io::Result<File> {
    let mut options = File::options();
    let options = options.append(true).create(true);
    options.open(volume.directory().join(LOG))
}

/// The volume's log, empty and locked: who has it open, or inherits it, may write
/// into `data`. One that was there before has ended then; it does so as soon as
/// its machine has.
///
/// # Errors
/// The file system refuses.
pub fn take_turn(volume: &Volume) -> io::Result<File> {
    let log = log(volume)?;
    retry_on_intr(|| flock(&log, FlockOperation::LockExclusive))?;
    log.set_len(0)?;
    Ok(log)
}
