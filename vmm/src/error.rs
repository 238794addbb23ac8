//! What can go wrong with a virtual machine, as one type.

use std::io;
use std::time::Duration;

use devices::block::capacity::ResizeError;
use devices::bus::BusError;
use devices::reactor::ReactorError;
use volume::freeze::FreezeError;

use crate::command::Reply;
use crate::device_name::DeviceName;
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
    #[error("{bytes} bytes of {backing} cannot be allocated; {}", remedy(*.backing))]
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
    /// vCPUs cannot be taken from a guest.
    #[error(
        "the guest has {present} vCPUs and cannot be left with {asked}: they are only added; \
         take some out of use in the guest instead"
    )]
    FewerCpus {
        /// How many were asked for.
        asked: u8,
        /// How many there are.
        present: u8,
    },
    /// There is no room for so many vCPUs.
    #[error(
        "{asked} vCPUs are more than the {max} that the machine was built for; \
         start it with a larger maximum (--cpus N,max=N)"
    )]
    TooManyCpus {
        /// How many were asked for.
        asked: u8,
        /// How many there may be.
        max: u8,
    },
    /// No device has this name.
    #[error("there is no device '{name}'{}", others(.known))]
    UnknownDevice {
        /// Which was asked for.
        name: DeviceName,
        /// Those that there are.
        known: String,
    },
    /// Another device has this name.
    #[error("there is a device '{0}' already; give the new one another name")]
    NameTaken(DeviceName),
    /// A device of this name was detached, and the host's storage is not done
    /// with it.
    #[error(
        "a device '{0}' was detached and is still being closed; wait for the event \
         device-detached, or give the new one another name"
    )]
    NameClosing(DeviceName),
    /// The guest cannot do without its root disk.
    #[error(
        "'{0}' is the guest's root disk, which it cannot give up; \
         detach it by force if the guest is to lose it all the same"
    )]
    RootDisk(DeviceName),
    /// The guest was asked to give a device up and did not.
    #[error(
        "the guest did not give '{device}' up within {patience:?}; {}",
        whether_it_may_still(*.withdrawn)
    )]
    GuestKeeps {
        /// Which one.
        device: DeviceName,
        /// How long it had.
        patience: Duration,
        /// It had not read the request, which was taken back: it never will.
        withdrawn: bool,
    },
    /// A guest that does not run cannot give a device up.
    #[error(
        "the machine is paused, so that its guest cannot give '{0}' up; \
         resume it first, or detach the device by force"
    )]
    GuestRests(DeviceName),
    /// A device was detached, and not in good order.
    #[error("'{device}' is detached, but what the guest wrote may not be durable")]
    Detach {
        /// Which one.
        device: DeviceName,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A device has left its guest, and the host's storage is not done with it.
    #[error(
        "the guest has lost '{device}', but the host's storage has not finished with it \
         within {patience:?}: its file stays open until it has, which the event \
         device-detached will tell"
    )]
    StillOpen {
        /// Which one.
        device: DeviceName,
        /// How long the storage had.
        patience: Duration,
    },
    /// A device did not come to rest.
    #[error(
        "device {device} did not come to rest and does not work any more; \
         what it had in flight may still change guest memory"
    )]
    Pause {
        /// Which one.
        device: String,
        /// What happened.
        source: ReactorError,
    },
    /// A device is not what was asked for.
    #[error("'{device}' is not a {kind}")]
    OtherKind {
        /// Which one.
        device: DeviceName,
        /// What it is not.
        kind: &'static str,
    },
    /// A disk cannot have another size.
    #[error("'{device}' cannot be resized")]
    Resize {
        /// Which one.
        device: DeviceName,
        /// Why.
        source: ResizeError,
    },
    /// A volume cannot be kept as it is.
    #[error("no snapshot of '{device}' can be taken")]
    Freeze {
        /// Which one.
        device: DeviceName,
        /// Why.
        source: FreezeError,
    },
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
    /// The guest, which did not do what it was asked to.
    Guest,
    /// Us.
    Internal,
}

/// What there is besides an unknown device.
fn others(known: &str) -> String {
    match known {
        "" => ", and no other".into(),
        known => format!("; there are {known}"),
    }
}

/// What comes of a device that the guest was asked for.
fn whether_it_may_still(withdrawn: bool) -> &'static str {
    match withdrawn {
        true => {
            "it has not read the request yet, which is taken back: the device stays; \
             ask again when the guest is up, or detach it by force"
        }
        false => "it may yet do so, or detach it by force",
    }
}

/// What to do about [`Error::Memory`].
fn remedy(backing: Backing) -> &'static str {
    match backing {
        Backing::Anonymous | Backing::Shared => "give the guest less, or free some on the host",
        Backing::Huge2M => "set enough pages aside with vm.nr_hugepages, or use ordinary pages",
        Backing::Huge1G => {
            "set enough pages aside when the host boots (hugepagesz=1G hugepages=N), \
             or use ordinary pages"
        }
    }
}

impl Error {
    /// Whom it concerns.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Boot(_)
            | Self::Config(_)
            | Self::FewerCpus { .. }
            | Self::TooManyCpus { .. }
            | Self::UnknownDevice { .. }
            | Self::NameTaken(_)
            | Self::NameClosing(_)
            | Self::RootDisk(_)
            | Self::GuestRests(_)
            | Self::OtherKind { .. }
            | Self::Resize { .. }
            | Self::Freeze { .. } => ErrorKind::Configuration,
            Self::GuestKeeps { .. } => ErrorKind::Guest,
            Self::KvmTooOld(_)
            | Self::Kvm { .. }
            | Self::Memory { .. }
            | Self::Load { .. }
            | Self::Device { .. }
            | Self::Host { .. }
            | Self::Detach { .. }
            | Self::StillOpen { .. }
            | Self::Pause { .. } => ErrorKind::Host,
            Self::Stopped | Self::Internal { .. } => ErrorKind::Internal,
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

    /// For `map_err` on the last act of `device`.
    pub(crate) fn detach<E>(device: &DeviceName) -> impl Fn(E) -> Self + '_
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Detach {
            device: device.clone(),
            source: source.into(),
        }
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

    /// The control thread answered a question with something else.
    pub(crate) fn unexpected_reply(reply: &Reply) -> Self {
        Self::internal("reply", format!("{reply:?}"))
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

#[cfg(test)]
mod tests;
