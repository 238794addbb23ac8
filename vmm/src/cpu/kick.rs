#![allow(unsafe_code)] // A signal handler, and a byte in the shared run area.
//! Kicking: making a vCPU thread come back from KVM.
//!
//! The first real-time signal interrupts `KVM_RUN`; its handler does nothing.
//! A signal that arrives just before the thread enters KVM would be lost, so
//! `immediate_exit` in the vCPU's run area is set first: KVM looks at it on
//! entry (Documentation/virt/kvm/api.rst §5). The handler for that one signal
//! is the only process-wide state that this crate sets.

use std::ffi::{c_int, c_void};
use std::sync::Once;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;

use kvm_bindings::kvm_run;
use libc::siginfo_t;
use vmm_sys_util::signal::{Killable, register_signal_handler};

use crate::error::{Error, Result};

/// The first real-time signal that the C library leaves to programs.
fn signal() -> c_int {
    vmm_sys_util::signal::SIGRTMIN()
}

extern "C" fn do_nothing(_: c_int, _: *mut siginfo_t, _: *mut c_void) {}

/// Installs the handler, once for the process.
pub(crate) fn install_handler() -> Result<()> {
    static INSTALLED: Once = Once::new();
    let mut result = Ok(());
    INSTALLED.call_once(|| {
        let signal = signal();
        result = register_signal_handler(signal, do_nothing);
    });
    result.map_err(|error| Error::Host {
        what: "a handler for the signal that kicks vCPUs",
        source: error.into(),
    })
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
        flag.store(u8::from(value), Ordering::Release);
    }
}

/// Makes `thread`, which runs the vCPU with flag `exit`, come back from KVM.
pub(crate) fn kick<T>(thread: &JoinHandle<T>, exit: ImmediateExit) {
    exit.set(true);
    if let Err(error) = thread.kill(signal()) {
        log::error!("a vCPU thread cannot be signalled: {error}");
    }
}
