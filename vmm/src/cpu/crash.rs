//! What a guest did that ended it, told so that a person can look further.

use std::fmt;

use kvm_bindings::{
    KVM_INTERNAL_ERROR_DELIVERY_EV, KVM_INTERNAL_ERROR_EMULATION, KVM_INTERNAL_ERROR_SIMUL_EX,
    KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON,
};
use kvm_ioctls::VcpuFd;

/// A guest's end by its own fault, or KVM's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The vCPU.
    pub vcpu: u8,
    /// What happened.
    pub cause: CrashCause,
    /// Where the instruction pointer was, if it could be read. After a triple
    /// fault, some processors have reset it.
    pub rip: Option<u64>,
    /// The bytes of the instruction, where KVM gives them.
    pub instruction: Vec<u8>,
}

/// Why a vCPU cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashCause {
    /// An exception while handling a double fault.
    TripleFault,
    /// KVM's own trouble: its number and its data.
    InternalError {
        /// `KVM_INTERNAL_ERROR_*`.
        suberror: u32,
        /// What KVM tells about it.
        data: Vec<u64>,
    },
    /// The processor refused the guest's state, with a reason of its own.
    EntryFailure {
        /// The processor's number for it.
        reason: u64,
    },
    /// An exit that nobody handles.
    UnhandledExit {
        /// `KVM_EXIT_*`.
        reason: u32,
    },
    /// Running the vCPU failed with an error of the host.
    RunFailed {
        /// The error number.
        errno: i32,
    },
    /// A defect of this program: what the guest did made it panic.
    Panicked,
}

impl Crash {
    /// Describes `cause` on `vcpu`, number `id`.
    pub(crate) fn of(vcpu: &VcpuFd, id: u8, cause: CrashCause) -> Self {
        let rip = vcpu.get_regs().ok().map(|regs| regs.rip);
        let instruction = cause.instruction();
        Self {
            vcpu: id,
            cause,
            rip,
            instruction,
        }
    }
}

impl CrashCause {
    /// KVM's data for an emulation failure begin with flags and, if the first
    /// flag is set, a length and up to 15 bytes of the instruction
    /// (Documentation/virt/kvm/api.rst §5, `emulation_failure`).
    fn instruction(&self) -> Vec<u8> {
        const HAS_BYTES: u64 = 1;
        match self {
            Self::InternalError { suberror, data }
                if *suberror == KVM_INTERNAL_ERROR_EMULATION
                    && data.len() >= 3
                    && data[0] & HAS_BYTES != 0 =>
            {
                let bytes: Vec<u8> = data[1..3].iter().flat_map(|w| w.to_le_bytes()).collect();
                let len = usize::from(bytes[0]).min(15);
                bytes[1..=len].to_vec()
            }
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vCPU {}: {}", self.vcpu, self.cause)?;
        if let Some(rip) = self.rip {
            write!(f, ", at RIP {rip:#x}")?;
        }
        if !self.instruction.is_empty() {
            f.write_str(", instruction bytes")?;
            for byte in &self.instruction {
                write!(f, " {byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for CrashCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TripleFault => f.write_str("triple fault"),
            Self::InternalError { suberror, data } => {
                let what = match *suberror {
                    KVM_INTERNAL_ERROR_EMULATION => "an instruction it cannot emulate",
                    KVM_INTERNAL_ERROR_SIMUL_EX => "simultaneous exceptions",
                    KVM_INTERNAL_ERROR_DELIVERY_EV => "a failed event delivery",
                    KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON => "an unexpected exit",
                    _ => "an unknown error",
                };
                write!(f, "KVM internal error {suberror} ({what}), data {data:x?}")
            }
            Self::EntryFailure { reason } => {
                write!(f, "the processor refused the guest's state ({reason:#x})")
            }
            Self::UnhandledExit { reason } => write!(f, "unhandled exit reason {reason}"),
            Self::RunFailed { errno } => {
                let error = std::io::Error::from_raw_os_error(*errno);
                write!(f, "KVM cannot run it: {error}")
            }
            Self::Panicked => f.write_str("this program panicked while serving it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulation_failure_shows_where_and_what() {
        let bytes = [2, 0x0f, 0xc7, 0, 0, 0, 0, 0];
        let cause = CrashCause::InternalError {
            suberror: KVM_INTERNAL_ERROR_EMULATION,
            data: vec![1, u64::from_le_bytes(bytes), 0],
        };
        let crash = Crash {
            vcpu: 1,
            instruction: cause.instruction(),
            cause,
            rip: Some(0xffff_ffff_8100_0000),
        };
        let text = crash.to_string();
        assert!(text.contains("vCPU 1"), "{text}");
        assert!(text.contains("cannot emulate"), "{text}");
        assert!(text.contains("RIP 0xffffffff81000000"), "{text}");
        assert!(text.ends_with("instruction bytes 0f c7"), "{text}");
    }

    #[test]
    fn hostile_data_gives_no_bytes_and_no_panic() {
        for data in [vec![], vec![1], vec![1, u64::MAX, u64::MAX], vec![0, 1, 2]] {
            let cause = CrashCause::InternalError {
                suberror: KVM_INTERNAL_ERROR_EMULATION,
                data,
            };
            assert!(cause.instruction().len() <= 15);
        }
    }
}
