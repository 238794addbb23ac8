//! Which blocks of a volume are loaded from the snapshot that it was made from:
//! those that somebody waits for, and meanwhile the others, two at a time. How
//! fast is the loader's business, and that a guest's wishes come first.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use volume::fetch::Answer;
use volume::map::BlockMap;

use super::loader::{Loader, nobody_loads};

/// Blocks that are loaded at a time though nobody waits for them.
const BACKGROUND: usize = 2;

/// Blocks that are loaded before they are made durable: 4 GiB of them.
pub(super) const MOST_UNSETTLED: usize = 8192;

/// Blocks looked at for one that is absent, in one go.
const SEARCH: u32 = 1 << 20;

/// A volume being filled.
pub(super) struct Loading {
    loader: Option<Loader>,
    /// From where on absent blocks are yet to be looked for; `None` if there
    /// are none.
    search: Option<u32>,
}

impl Loading {
    /// What is absent in `map` comes from who is at the other end of `socket`.
    pub(super) fn new(map: &BlockMap, socket: Option<OwnedFd>) -> Self {
        Self {
            loader: socket.map(Loader::new),
            search: (!map.is_complete()).then_some(0),
        }
    }

    /// Whether no block is absent.
    pub(super) fn is_over(&self) -> bool {
        self.search.is_none()
    }

    /// Blocks have become absent that were not.
    pub(super) fn begin_again(&mut self) {
        self.search = Some(0);
    }

    /// What was brought up to now may be lost.
    pub(super) fn distrust(&mut self) {
        if let Some(loader) = &mut self.loader {
            loader.distrust();
        }
    }

    /// # Errors
    /// Nobody is there to be asked.
    pub(super) fn can_ask(&self) -> io::Result<()> {
        match &self.loader {
            Some(loader) if !loader.is_gone() => Ok(()),
            _ => Err(nobody_loads()),
        }
    }

    /// Asks for `block`, which is absent.
    pub(super) fn ask(&mut self, block: u32, urgent: bool) {
        if let Some(loader) = &mut self.loader {
            loader.ask(block, urgent);
        }
    }

    /// Whether `block` is being loaded.
    pub(super) fn is_asked(&self, block: u32) -> bool {
        let asked = |loader: &Loader| loader.is_asked(block);
        self.loader.as_ref().is_some_and(asked)
    }

    /// Sends what could not be sent before.
    pub(super) fn send(&mut self) {
        if let Some(loader) = &mut self.loader {
            loader.send();
        }
    }

    /// The next block that came, or cannot be had.
    pub(super) fn next_answer(&mut self) -> Option<Answer> {
        self.loader.as_mut()?.next_answer()
    }

    /// Whether nobody answers any more. Nothing is asked for then.
    pub(super) fn has_broken_off(&mut self) -> bool {
        let gone = self.loader.as_mut().filter(|loader| loader.is_gone());
        gone.map(Loader::abandon).is_some()
    }

    /// Another block to be loaded that nobody waits for, if there is time. What
    /// is not durable is kept in mind, so there is an end to it until a flush.
    pub(super) fn next_ahead(&mut self, map: &mut BlockMap) -> Option<u32> {
        let loader = self.loader.as_ref().filter(|loader| !loader.is_gone())?;
        if loader.background() >= BACKGROUND || map.unsettled() >= MOST_UNSETTLED {
            return None;
        }
        let from = self.search?;
        let end = map.header().size.blocks();
        let until = end.min(from.saturating_add(SEARCH));
        // Whoever needs blocks that are not known is told.
        let found = map.absent_in(from..until).unwrap_or(None);
        self.search = Some(found.map_or(until, |block| block + 1));
        found
    }

    /// Whether there is nothing to do before a flush: all that was looked for is
    /// there, or so much that it must be made durable first.
    pub(super) fn waits_for_a_flush(&self, map: &BlockMap) -> bool {
        let end = map.header().size.blocks();
        let is_idle = self.loader.as_ref().is_some_and(Loader::is_idle);
        let all = is_idle && self.search.is_some_and(|from| from >= end);
        map.unsettled() >= MOST_UNSETTLED || all && map.unsettled() > 0
    }

    /// After a flush: if nothing is absent any more, that is remembered.
    pub(super) fn finish(&mut self, map: &mut BlockMap) {
        let end = map.header().size.blocks();
        let is_idle = self.loader.as_ref().is_some_and(Loader::is_idle);
        let looked = self.search.is_some_and(|from| from >= end);
        if !looked || !is_idle || map.unsettled() > 0 {
            return;
        }
        // Blocks that could not be loaded are looked for again.
        if !matches!(map.absent_in(0..end), Ok(None)) {
            return self.begin_again();
        }
        // If that is not durable, it is looked for again later.
        let _ = map.complete();
        self.search = None;
        if let Some(loader) = &self.loader {
            loader.dismiss();
        }
    }

    /// Becomes readable when there is an answer.
    pub(super) fn waker(&self) -> Option<RawFd> {
        self.loader.as_ref().map(Loader::waker)
    }

    /// To wait for an answer.
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.loader.as_ref().map(Loader::socket)
    }
}
