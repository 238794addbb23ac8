//! What can go wrong with a virtual machine, as one type.

use std::io;

use devices::bus::BusError;
use devices::reactor::ReactorError;

use crate::memory::Backing;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a machine could not be built or operated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel, the command line or the machine's shape is not acceptable.
    #[error(transparent)]
    Boot(#[from] boot::Error),
    /// A configuration that no machine can have.
    #[error("{0}")]
    Config(String),
    /// This host's KVM lacks something that every machine needs.
    #[error("this host's KVM lacks {0}; Linux 5.10 or later with KVM has it")]
    KvmTooOld(&'static str),
    /// KVM refused a request.
    #[error("KVM refused to {action}")]
    Kvm {
        /// What was asked of it.
        action: &'static str,
        /// Its answer.
        source: kvm_ioctls::Error,
    },
    /// Guest memory cannot be allocated.
    #[error("{bytes} bytes of guest memory ({backing:?}) cannot be allocated")]
    Memory {
        /// How much was asked for.
        bytes: u64,
        /// Of what kind.
        backing: Backing,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file cannot be put into guest memory.
    #[error("the {what} cannot be put into guest memory")]
    Load {
        /// Which part of the boot plan.
        what: &'static str,
        /// What happened.
        source: io::Error,
    },
    /// A device cannot be made or put into its place.
    #[error("{device} cannot be added")]
    Device {
        /// Which one.
        device: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A thread or a descriptor is not to be had.
    #[error("the host refused {what}")]
    Host {
        /// What was asked for.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// A device did not come to rest.
    #[error("a device did not come to rest")]
    Pause(#[from] ReactorError),
    /// The machine has stopped: there is nothing to operate any more.
    #[error("the virtual machine has stopped")]
    Stopped,
    /// Something that cannot be: a defect of this program.
    #[error("internal error: {what}")]
    Internal {
        /// Where.
        what: &'static str,
        /// What was found.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Whom an error concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Whoever asked for this machine: what was asked for cannot be.
    Configuration,
    /// Whoever runs this host: it cannot do what was asked for.
    Host,
    /// Us.
    Internal,
}

impl Error {
    /// Whom it concerns.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Boot(_) | Self::Config(_) => ErrorKind::Configuration,
            Self::KvmTooOld(_)
            | Self::Kvm { .. }
            | Self::Memory { .. }
            | Self::Load { .. }
            | Self::Device { .. }
            | Self::Host { .. } => ErrorKind::Host,
            Self::Pause(_) | Self::Stopped | Self::Internal { .. } => ErrorKind::Internal,
        }
    }

    /// For `map_err` on a KVM request.
    pub(crate) fn kvm(action: &'static str) -> impl Fn(kvm_ioctls::Error) -> Self {
        move |source| Self::Kvm { action, source }
    }

    /// For `map_err` on a host request.
    pub(crate) fn host(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Host { what, source }
    }

    /// For `map_err` on making `device`.
    pub(crate) fn device<E>(device: &str) -> impl Fn(E) -> Self + '_
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Device {
            device: device.into(),
            source: source.into(),
        }
    }

    pub(crate) fn internal(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Internal {
            what,
            source: source.into(),
        }
    }
}

impl From<BusError> for Error {
    fn from(error: BusError) -> Self {
        Self::internal("bus", error)
    }
}
