//! The power of an outer machine's disk: it is cut together with the machine's,
//! and what was not flushed is lost, or reaches the disk in parts.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::nbd::{self, Power, Powered};
use crate::volatile_disk::VolatileDisk;

/// A disk for one outer machine, under power.
#[derive(Debug)]
pub struct PoweredDisk {
    disk: Powered,
    socket: PathBuf,
}

/// What a cut did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Sectors that were written and not flushed.
    pub at_risk: usize,
    /// Those that were lost.
    pub lost: usize,
}

impl PoweredDisk {
    /// Puts the disk in the file at `image` under power. The emulator finds it at
    /// `socket`, which must not be there.
    ///
    /// # Errors
    /// The file cannot be opened, or the socket cannot be made.
    pub fn on(image: &Path, socket: &Path) -> Result<Self> {
        let disk = VolatileDisk::open(image).map_err(Error::setup("opening a disk's image"))?;
        let listener =
            UnixListener::bind(socket).map_err(Error::setup("making a disk's socket"))?;
        let power = Power {
            disk: Some(disk),
            fails_at: None,
            failed: false,
        };
        let disk: Powered = Arc::new((Mutex::new(power), Condvar::new()));
        let served = Arc::clone(&disk);
        // It ends with its client, the emulator, at the latest.
        thread::spawn(move || {
            if let Err(error) = nbd::serve(&listener, &served)
                && error.kind() != io::ErrorKind::UnexpectedEof
            {
                log::warn!("the outer machine's disk: {error}");
            }
        });
        Ok(Self {
            disk,
            socket: socket.to_owned(),
        })
    }

    /// Where the emulator finds it.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Has power fail with the write by which `sectors` are not flushed, which is
    /// not answered, and waits for that; but not for longer than `patience`.
    pub fn fail_at(&self, sectors: usize, patience: Duration) {
        let (power, failed) = &*self.disk;
        let mut power = power.lock().unwrap_or_else(PoisonError::into_inner);
        power.fails_at = Some(sectors);
        let _ = failed.wait_timeout_while(power, patience, |power| !power.failed);
    }

    /// Cuts the power, at this moment: nothing is answered any more. Of what was
    /// not flushed, that reaches the disk which `reaches` says does. The machine
    /// is to be killed next ([`OuterMachine::pid`](crate::OuterMachine::pid)).
    ///
    /// # Errors
    /// What reached the disk cannot be written to its file.
    pub fn cut(&self, mut reaches: impl FnMut() -> bool) -> Result<Cut> {
        let (power, _) = &*self.disk;
        let disk = power
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .disk
            .take();
        let _ = std::fs::remove_file(&self.socket);
        let Some(mut disk) = disk else {
            return Ok(Cut {
                at_risk: 0,
                lost: 0,
            });
        };
        let (at_risk, mut lost) = (disk.at_risk(), 0);
        let left = disk.leave(|| {
            let reaches = reaches();
            lost += usize::from(!reaches);
            reaches
        });
        left.map_err(Error::setup("writing a disk's image"))?;
        Ok(Cut { at_risk, lost })
    }
}
