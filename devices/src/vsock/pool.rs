//! What all connections together may keep of what guests sent and hosts have
//! not taken.
//!
//! Each connection is promised a window at its beginning, wide while there
//! are few and narrower as the pool empties; an empty pool is what limits the
//! number of connections. Windows are promises: memory is used only where a
//! host program reads too slowly.

/// Bytes promised at most.
const CAPACITY: u32 = 128 << 20;

/// A new connection gets this part of what is left …
const SHARE: u32 = 1024;
/// … but no less than this.
const NARROWEST: u32 = 16 << 10;

/// The pool of one device.
#[derive(Debug)]
pub(super) struct Pool {
    left: u32,
}

impl Pool {
    /// A full pool.
    pub(super) fn new() -> Self {
        Self { left: CAPACITY }
    }

    /// A window for a new connection; none if the pool is empty.
    pub(super) fn take(&mut self) -> Option<u32> {
        let window = (self.left / SHARE).max(NARROWEST);
        self.left = self.left.checked_sub(window)?;
        Some(window)
    }

    /// A connection has ended.
    pub(super) fn give_back(&mut self, window: u32) {
        self.left += window;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_connections_share_what_one_cannot_use_up() {
        let mut pool = Pool::new();
        let windows: Vec<u32> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(windows.first(), Some(&(128 << 10)));
        assert_eq!(windows.last(), Some(&NARROWEST));
        assert!(windows.is_sorted_by(|one, next| one >= next));
        assert!(windows.len() > 3000, "{}", windows.len());
        assert_eq!(pool.take(), None);
        for window in windows {
            pool.give_back(window);
        }
        assert_eq!(pool.left, CAPACITY);
    }
}
