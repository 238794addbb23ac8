#![allow(unsafe_code)] // A signal handler, and a byte in the shared run area.
//! Kicking: making a vCPU thread come back from KVM.
//!
//! The first real-time signal interrupts `KVM_RUN`; its handler does nothing.
//! A signal that arrives just before the thread enters KVM would be lost, so
//! `immediate_exit` in the vCPU's run area is set first: KVM looks at it on
//! entry (Documentation/virt/kvm/api.rst §5). The handler for that one signal
//! is the only process-wide state that this crate sets.
//!
//! A thread that passes the gate clears the flag and then looks at the phase;
//! whoever kicks sets the phase and then the flag. All four are sequentially
//! consistent: otherwise the thread could see the old phase and still clear
//! the new flag.

use std::ffi::{c_int, c_void};
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;

use kvm_bindings::kvm_run;
use libc::siginfo_t;
use vmm_sys_util::errno;
use vmm_sys_util::signal::{Killable, register_signal_handler, unblock_signal};

use crate::error::{Error, Result};

/// The first real-time signal that the C library leaves to programs.
fn signal() -> c_int {
    vmm_sys_util::signal::SIGRTMIN()
}

extern "C" fn do_nothing(_: c_int, _: *mut siginfo_t, _: *mut c_void) {}

/// Installs the handler, once for the process.
pub(crate) fn install_handler() -> Result<()> {
    static INSTALLED: OnceLock<std::result::Result<(), errno::Error>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| register_signal_handler(signal(), do_nothing));
    installed.map_err(|error| Error::Host {
        what: "a handler for the signal that kicks vCPUs",
        source: error.into(),
    })
}

/// Lets this thread be kicked, whatever signals the thread that made it had
/// blocked.
pub(crate) fn allow() -> io::Result<()> {
    unblock_signal(signal()).map_err(|error| io::Error::other(format!("{error:?}")))
}

/// The `immediate_exit` flag of a vCPU.
#[derive(Clone, Copy)]
pub(crate) struct ImmediateExit(*const AtomicU8);

// SAFETY: the flag is atomic, and whoever made this keeps it mapped.
unsafe impl Send for ImmediateExit {}

impl ImmediateExit {
    /// The flag in the run area `run`.
    ///
    /// # Safety
    /// `run` stays mapped for as long as the flag is used.
    pub(crate) unsafe fn new(run: *mut kvm_run) -> Self {
        // SAFETY: the field lies within the run area.
        let flag = unsafe { &raw mut (*run).immediate_exit };
        Self(flag.cast_const().cast())
    }

    /// Sets or clears the flag.
    pub(crate) fn set(&self, value: bool) {
        // SAFETY: mapped, by the contract of `new`; a byte is always aligned.
        let flag = unsafe { &*self.0 };
        flag.store(u8::from(value), Ordering::SeqCst);
    }
}

/// Makes `thread`, which runs the vCPU with flag `exit`, come back from KVM.
pub(crate) fn kick<T>(thread: &JoinHandle<T>, exit: ImmediateExit) {
    exit.set(true);
    // A thread that has ended has come back; nothing else can fail.
    let _ = thread.kill(signal());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use vmm_sys_util::signal::block_signal;

    /// Sleeps until interrupted, as a vCPU does in KVM.
    fn sleep_until_interrupted() -> io::Error {
        // SAFETY: waiting for no descriptor touches no memory.
        let ready = unsafe { libc::poll(std::ptr::null_mut(), 0, -1) };
        assert_eq!(ready, -1);
        io::Error::last_os_error()
    }

    #[test]
    fn a_kick_interrupts_and_raises_the_flag_even_if_the_embedder_blocks_the_signal() {
        install_handler().unwrap();
        install_handler().unwrap();
        let mut run = Box::new(kvm_run::default());
        // SAFETY: the run area outlives the thread and the flag.
        let exit = unsafe { ImmediateExit::new(&raw mut *run) };
        let embedder = thread::spawn(move || {
            block_signal(signal()).unwrap();
            let sleeper = thread::spawn(|| {
                allow().unwrap();
                sleep_until_interrupted()
            });
            // One that comes before the thread sleeps is lost; in KVM the
            // flag makes up for that.
            while !sleeper.is_finished() {
                kick(&sleeper, exit);
                thread::yield_now();
            }
            kick(&sleeper, exit);
            sleeper.join().unwrap().kind()
        });
        assert_eq!(embedder.join().unwrap(), io::ErrorKind::Interrupted);
        assert_eq!(run.immediate_exit, 1);
        exit.set(false);
        assert_eq!(run.immediate_exit, 0);
    }
}
