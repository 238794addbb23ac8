#![allow(unsafe_code)] // Decodes the run area of the vCPU it owns.
//! One vCPU and the thread that runs it.
//!
//! The thread passes the gate, runs the guest, dispatches each exit to a bus,
//! and comes back to the gate when kicked. It never waits for another vCPU.
//! After a crash it ends: a vCPU in an unknown state does not run again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use devices::bus::Bus;
use devices::thread;
use kvm_bindings::kvm_run;
use kvm_ioctls::VcpuFd;

use super::crash::{Crash, CrashCause};
use super::exit::{Exit, RUN_AREA, decode};
use super::gate::{Gate, Phase};
use super::kick::{self, ImmediateExit};
use super::thread_clock::cpu_time;
use crate::error::{Error, Result};
use crate::kvm::stats::VcpuStats;
use crate::metrics::VcpuMeasurements;

/// The address spaces that a vCPU's exits go to. Clones are the same.
#[derive(Clone)]
pub(crate) struct Buses {
    pub(crate) ports: Bus,
    pub(crate) mmio: Bus,
}

/// What a vCPU has done. Written by its thread only.
#[derive(Debug, Default)]
pub(crate) struct VcpuCounters {
    /// Exits to this process for port accesses.
    pub(crate) port_exits: AtomicU64,
    /// Exits to this process for MMIO accesses.
    pub(crate) mmio_exits: AtomicU64,
    /// Exits to this process for anything else.
    pub(crate) other_exits: AtomicU64,
    /// All exits, also those that KVM handled, from each power-on to the end.
    all_exits: Mutex<Option<u64>>,
}

impl VcpuCounters {
    /// All exits, also those that KVM handled, of the times that have ended.
    pub(crate) fn all_exits(&self) -> Option<u64> {
        *self.ended()
    }

    /// The vCPU has ended, after `exits` in all.
    pub(crate) fn end(&self, exits: u64) {
        let mut ended = self.ended();
        *ended = Some(ended.unwrap_or(0) + exits);
    }

    fn ended(&self) -> MutexGuard<'_, Option<u64>> {
        // A plain value is valid whoever panicked.
        self.all_exits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a vCPU thread needs.
pub(crate) struct VcpuContext {
    pub(crate) id: u8,
    pub(crate) buses: Arc<Buses>,
    pub(crate) counters: Arc<VcpuCounters>,
    /// Called with what ended the guest.
    pub(crate) on_crash: Box<dyn Fn(Crash) + Send>,
    /// Called when the guest is entered for the first time.
    pub(crate) on_entry: Option<Box<dyn FnOnce(Instant) + Send>>,
}

/// A vCPU's thread, from outside.
pub(crate) struct VcpuHandle {
    /// Gives the vCPU back when it ends, so that its run area stays mapped
    /// for as long as it may be kicked.
    thread: JoinHandle<VcpuFd>,
    id: u8,
    immediate_exit: ImmediateExit,
    counters: Arc<VcpuCounters>,
    /// KVM's counters, where it tells.
    stats: Option<VcpuStats>,
}

impl VcpuHandle {
    /// Starts a thread for `vcpu`, which waits at the gate.
    pub(crate) fn spawn(
        mut vcpu: VcpuFd,
        run_size: usize,
        gate: Arc<Gate>,
        context: VcpuContext,
    ) -> Result<Self> {
        if run_size < RUN_AREA {
            return Err(Error::KvmTooOld("a run area with port data"));
        }
        let run: *mut kvm_run = vcpu.get_kvm_run();
        // SAFETY: the run area is mapped as long as the vCPU lives, which is
        // until the thread is joined; then the handle is gone.
        let immediate_exit = unsafe { ImmediateExit::new(run) };
        let counters = Arc::clone(&context.counters);
        let (id, stats) = (context.id, VcpuStats::of(&vcpu));
        let mut runner = Runner {
            vcpu,
            immediate_exit,
            context,
        };
        let thread = thread::builder(&format!("vcpu{}", runner.context.id))
            .spawn(move || {
                // A panic of a device would otherwise unmap the run area under
                // whoever kicks, and leave a machine that hangs.
                let ran = catch_unwind(AssertUnwindSafe(|| runner.run(&gate)));
                if ran.is_err() {
                    runner.crash(CrashCause::Panicked);
                }
                runner.vcpu
            })
            .map_err(Error::host("a vCPU thread"))?;
        Ok(Self {
            thread,
            id,
            immediate_exit,
            counters,
            stats,
        })
    }

    /// Makes the thread come back to the gate.
    pub(crate) fn kick(&self) {
        kick::kick(&self.thread, self.immediate_exit);
    }

    /// Waits for the thread to end, and does the last count.
    pub(crate) fn join(self) {
        let vcpu = self.thread.join();
        if let Some(exits) = self.stats.as_ref().and_then(VcpuStats::exits) {
            self.counters.end(exits);
        }
        drop(vcpu);
    }

    /// What the vCPU has done so far.
    pub(crate) fn measure(&self) -> VcpuMeasurements {
        let kvm = self.stats.as_ref().map(VcpuStats::read).unwrap_or_default();
        let named = |wanted: &str| kvm.iter().find(|(name, _)| name == wanted);
        let before = self.counters.all_exits().unwrap_or(0);
        let exits = named("exits").map(|(_, exits)| before + exits);
        let halted = named("halt_wait_ns").map(|(_, ns)| Duration::from_nanos(*ns));
        let reason = |(name, count): &(String, u64)| {
            let reason = name.strip_suffix("_exits")?;
            Some((reason.replace('_', "-"), *count))
        };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        VcpuMeasurements {
            id: self.id,
            exits,
            exits_by_reason: kvm.iter().filter_map(reason).collect(),
            user_exits: [
                ("port", count(&self.counters.port_exits)),
                ("mmio", count(&self.counters.mmio_exits)),
                ("other", count(&self.counters.other_exits)),
            ],
            cpu_time: cpu_time(&self.thread),
            halted,
        }
    }
}

struct Runner {
    vcpu: VcpuFd,
    immediate_exit: ImmediateExit,
    context: VcpuContext,
}

impl Runner {
    fn run(&mut self, gate: &Gate) {
        kick::allow().expect("the signal is one that can be unblocked");
        while let Some(_passage) = gate.pass() {
            self.immediate_exit.set(false);
            if let Some(on_entry) = self.context.on_entry.take() {
                on_entry(Instant::now());
            }
            if let Err(cause) = self.run_until_kicked(gate) {
                self.crash(cause);
                return;
            }
        }
    }

    fn crash(&self, cause: CrashCause) {
        let crash = Crash::of(&self.vcpu, self.context.id, cause);
        (self.context.on_crash)(crash);
    }

    fn run_until_kicked(&mut self, gate: &Gate) -> std::result::Result<(), CrashCause> {
        while gate.phase() == Phase::Running {
            if let Err(error) = self.vcpu.run() {
                match error.errno() {
                    libc::EINTR | libc::EAGAIN => continue,
                    errno => return Err(CrashCause::RunFailed { errno }),
                }
            }
            let run: *mut kvm_run = self.vcpu.get_kvm_run();
            // SAFETY: the vCPU just came back and does not run before the
            // exit has been dispatched.
            self.context.dispatch(unsafe { decode(run) })?;
        }
        Ok(())
    }
}

impl VcpuContext {
    fn dispatch(&self, exit: Exit<'_>) -> std::result::Result<(), CrashCause> {
        let counter = match exit {
            Exit::PortRead { .. } | Exit::PortWrite { .. } => &self.counters.port_exits,
            Exit::MmioRead { .. } | Exit::MmioWrite { .. } => &self.counters.mmio_exits,
            _ => &self.counters.other_exits,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        match exit {
            Exit::PortRead { port, width, data } => {
                for access in data.chunks_mut(width) {
                    self.buses.ports.read(port.into(), access);
                }
            }
            Exit::PortWrite { port, width, data } => {
                for access in data.chunks(width) {
                    self.buses.ports.write(port.into(), access);
                }
            }
            Exit::MmioRead { address, data } => self.buses.mmio.read(address, data),
            Exit::MmioWrite { address, data } => self.buses.mmio.write(address, data),
            Exit::TripleFault => return Err(CrashCause::TripleFault),
            Exit::InternalError { suberror, data } => {
                return Err(CrashCause::InternalError { suberror, data });
            }
            Exit::EntryFailure { reason } => return Err(CrashCause::EntryFailure { reason }),
            Exit::SystemEvent { kind } => {
                log::warn!("vCPU {}: system event {kind}", self.id);
                return Err(CrashCause::UnhandledExit {
                    reason: kvm_bindings::KVM_EXIT_SYSTEM_EVENT,
                });
            }
            Exit::Unknown { reason } => return Err(CrashCause::UnhandledExit { reason }),
        }
        Ok(())
    }
}
