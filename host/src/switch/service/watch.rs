//! How the service learns that a network has changed: what is stored of it, or
//! which taps there are.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify;
use rustix::io::Errno;

use super::super::instance;
use super::super::kernel::{LinkEvents, Namespace};
use crate::error::Error;

/// What tells of changes: not which.
#[derive(Debug)]
pub(super) struct Watch {
    files: OwnedFd,
    links: LinkEvents,
}

impl Watch {
    /// Watches the files in `directory`, and the links of `namespace`.
    ///
    /// # Errors
    /// The kernel has no more room for such, or the directory is gone.
    pub(super) fn new(directory: &Path, namespace: &Namespace) -> Result<Self, Error> {
        let failed = |error: Errno| {
            Error::host(format!("'{}' cannot be watched", directory.display()))
                .because(io::Error::from(error))
        };
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let files = inotify::init(flags).map_err(failed)?;
        let events = inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::DELETE_SELF;
        for directory in [directory, &instance::directory(directory)] {
            inotify::add_watch(&files, directory, events).map_err(failed)?;
        }
        let links = LinkEvents::open(namespace).map_err(super::super::live::failed)?;
        Ok(Self { files, links })
    }

    /// What becomes readable when anything has changed.
    pub(super) fn sources(&self) -> [BorrowedFd<'_>; 2] {
        [self.files.as_fd(), self.links.as_fd()]
    }

    /// Forgets what has changed up to now.
    pub(super) fn clear(&self) {
        let mut events = [0; 4096];
        while rustix::io::read(&self.files, &mut events).is_ok_and(|len| len > 0) {}
        self.links.clear();
    }
}
