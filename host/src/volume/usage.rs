//! Who uses a volume: those who hold a lock on its `data`.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io;

use devices::block::lock;

use crate::holder::{self, Holder};
use crate::registry::Registry;
use crate::registry::name::VmName;

use super::directory::Volume;

/// Whether a volume is free to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Nobody uses it.
    Available,
    /// It is in use, by those of its users that this one may look at.
    InUse(Vec<User>),
}

/// Somebody who uses a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// The machine that it is attached to.
    Machine(VmName),
    /// `plinth volume load`, which lets go of the volume when it is asked to.
    Loader(Holder),
    /// Another process, such as that of an export.
    Process(Holder),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(name) => write!(f, "machine '{name}'"),
            Self::Loader(holder) | Self::Process(holder) => holder.fmt(f),
        }
    }
}

impl Usage {
    /// Of `volume` at the moment.
    ///
    /// # Errors
    /// Its data cannot be looked at.
    pub fn of(volume: &Volume) -> io::Result<Self> {
        let data = File::open(volume.data())?;
        if !lock::is_locked(&data)? {
            return Ok(Self::Available);
        }
        Ok(Self::InUse(users(&data.metadata()?)))
    }

    /// Whether nobody is known to use it but who fills it, and makes way.
    pub fn is_loading(&self) -> bool {
        let is_loader = |user: &User| matches!(user, User::Loader(_));
        matches!(self, Self::InUse(users) if !users.is_empty() && users.iter().all(is_loader))
    }

    /// The machines that it is attached to.
    pub fn machines(&self) -> impl Iterator<Item = &VmName> {
        let users = match self {
            Self::Available => &[],
            Self::InUse(users) => users.as_slice(),
        };
        users.iter().filter_map(|user| match user {
            User::Machine(name) => Some(name),
            User::Loader(_) | User::Process(_) => None,
        })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Available => f.write_str("available"),
            Self::InUse(users) if users.is_empty() => {
                f.write_str("in use by a process that this user may not look at")
            }
            Self::InUse(users) => {
                let users: Vec<String> = users.iter().map(User::to_string).collect();
                write!(f, "in use by {}", users.join(", "))
            }
        }
    }
}

/// The command that a loader is known by, but for the program's name.
pub const LOAD: [&str; 2] = ["volume", "load"];

/// Whether process `pid`, which holds a volume, fills it.
pub(super) fn is_loader(pid: u32) -> bool {
    fills(&command_line(pid))
}

/// Whether who was called with `line` fills a volume.
fn fills(line: &[u8]) -> bool {
    let words = line.split(|byte| *byte == 0).skip(1);
    words.take(LOAD.len()).eq(LOAD.map(str::as_bytes))
}

/// What process `pid` was called with. Nothing if it is ending: its memory goes
/// before its files do (proc(5)).
fn command_line(pid: u32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// Those who hold a lock on the file with this `metadata`, but for those that are
/// ending. A process that belongs to a machine is told by the machine's name.
pub(super) fn users(metadata: &Metadata) -> Vec<User> {
    // Without a registry, processes are told by their numbers.
    let machines = Registry::of_this_user().and_then(|registry| registry.machines());
    let machines = machines.unwrap_or_default();
    let machine = |holder: &Holder| {
        let is_its = |pid: Option<u32>| pid == Some(holder.pid());
        let mut alive = machines.iter().filter(|machine| machine.is_alive());
        let machine = alive.find(|machine| is_its(machine.record().pid));
        machine.map(|machine| machine.name().clone())
    };
    let holders = holder::all_of_lock(metadata);
    let users = holders.filter_map(|holder| {
        let line = command_line(holder.pid());
        user(holder, &line, machine)
    });
    users.collect()
}

/// Who `holder` is, which was called with `line`; `None` if it is ending. It can be
/// from one moment to the next: it is looked at once.
fn user(
    holder: Holder,
    line: &[u8],
    machine: impl FnOnce(&Holder) -> Option<VmName>,
) -> Option<User> {
    if line.is_empty() {
        return None;
    }
    Some(match machine(&holder) {
        Some(machine) => User::Machine(machine),
        None if fills(line) => User::Loader(holder),
        None => User::Process(holder),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_known_by_what_it_was_called_with_and_none_if_it_is_ending() {
        let holder = || Holder::for_test(7);
        let user = |line: &[u8]| user(holder(), line, |_| None);
        assert_eq!(
            user(b"/usr/bin/plinth\0volume\0load\0data\0"),
            Some(User::Loader(holder()))
        );
        for line in [b"plinth\0volume\0export\0".as_slice(), b"volume\0load\0"] {
            assert_eq!(user(line), Some(User::Process(holder())));
        }
        assert_eq!(user(b""), None);
    }
}
