//! What guests are told that have no more to do than to end, or to idle, and what
//! they say meanwhile.

/// What init prints first (guest-images/init/src/boot.rs).
pub(crate) const FIRST_LINE: &str = "plinth-init: up";

/// What init prints when what it was told to run succeeded. A guest that ends
/// without has crashed.
pub(crate) const LAST_LINE: &str = "plinth-init: exit 0";

/// For a guest that ends at once.
pub(crate) const END_WORDS: &str = "plinth.root=none plinth.run=: plinth.then=reboot";

/// For a guest that idles, and what it says first.
pub(crate) const IDLE_WORDS: &str = "plinth.root=none plinth.run=echo%20idle;sleep%20100000";
pub(crate) const IDLE_LINE: &str = "idle";
