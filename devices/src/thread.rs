//! Threads of a machine: named, so that `top -H` explains itself, and with
//! small stacks.
//!
//! The usual stack is 2 MiB, just what a transparent huge page takes: where
//! such pages are always on, a stack of which the thread uses 8 KiB may be
//! given one.

use std::thread::Builder;

/// Several times what any thread here has been seen to use.
const STACK: usize = 256 << 10;

/// To start a thread called `name` (15 bytes at most show).
pub fn builder(name: &str) -> Builder {
    Builder::new().name(name.into()).stack_size(STACK)
}
