//! Processes that do not outlive who started them.
#![allow(unsafe_code)] // pre_exec: a child must ask for the death signal itself.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Has what `command` starts get SIGKILL when the thread that starts it ends, which
/// must therefore outlive it.
pub fn ends_with_parent(command: &mut Command) {
    let parent = getpid();
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the signal was asked for.
        match getppid() {
            Some(now) if now == parent => Ok(()),
            _ => Err(io::Error::other("parent has ended")),
        }
    };
    // SAFETY: `prepare` makes two system calls, both async-signal-safe, and touches
    // no memory that another thread could have left half-changed.
    unsafe { command.pre_exec(prepare) };
}
