//! The machines of this user on this host, each known by its runtime
//! directory.
//!
//! `plinth run` makes a directory in which the machine is reached and leaves
//! its last words; `plinth vm` finds it there. No process keeps the registry:
//! a machine lives as long as its VM process holds the lock on a file in its
//! directory, so that nothing has to be tidied up after a crash.
//!
//! Who looks at the registry holds a shared lock on its root, who changes it
//! an exclusive one, both for a moment only: nobody sees half a machine.
//!
//! The VM process opens and names nothing, so it cannot remove its own
//! directory. A foreground machine's, which told its end to a terminal, is
//! swept by whoever looks next. A detached one's stays, with its last words,
//! until it is removed or its name is taken by a new machine: that needs no
//! asking, since a service that is restarted under its name must come up
//! after any crash.

pub mod machine;
pub mod name;
pub mod new_machine;
pub mod process;
pub mod record;
pub mod root;

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::Error;
use machine::Machine;
use name::VmName;
use new_machine::{Belongings, NewMachine};
use record::Record;

/// How often a generated name may be taken already.
const ATTEMPTS: u32 = 100;

/// All machines of one user.
#[derive(Clone, Debug)]
pub struct Registry {
    root: PathBuf,
}

impl Registry {
    /// This user's, which need not be there yet.
    ///
    /// # Errors
    /// The environment names a place that cannot be one.
    pub fn of_this_user() -> Result<Self, Error> {
        Ok(Self::at(root::locate()?))
    }

    /// The registry in the directory `root`.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Makes a runtime directory for a machine that is about to be started,
    /// called `name` or by a name of our choosing, and what its process is to
    /// have of it. It is alive from now on.
    ///
    /// # Errors
    /// A living machine has the name, the path is too long for a socket, or
    /// the file system refuses.
    pub fn create(
        &self,
        name: Option<VmName>,
        record: &Record,
    ) -> Result<(NewMachine, Belongings), Error> {
        root::prepare(&self.root)?;
        let _exclusive = self.lock(FlockOperation::LockExclusive)?;
        let machines = self.read_all()?;
        for machine in machines.iter().filter(|machine| machine.is_forgettable()) {
            machine.delete()?;
        }
        let name = match name {
            Some(name) => name,
            None => free_name(&machines)?,
        };
        if let Some(machine) = machines.iter().find(|machine| *machine.name() == name) {
            if machine.is_alive() {
                return Err(
                    Error::configuration(format!("machine '{name}' is running already"))
                        .remedy(format!("another --name, or plinth vm stop {name}")),
                );
            }
            machine.delete()?;
        }
        NewMachine::make(self.clone(), name, record)
    }

    /// All machines, in the order of their names.
    ///
    /// # Errors
    /// The registry cannot be read, or is open to other users.
    pub fn machines(&self) -> Result<Vec<Machine>, Error> {
        if !self.root.exists() {
            return Ok(Vec::new());
        }
        root::vet(&self.root)?;
        let _shared = self.lock(FlockOperation::LockShared)?;
        let mut machines = self.read_all()?;
        machines.retain(|machine| !machine.is_forgettable());
        Ok(machines)
    }

    /// The machine called `name`.
    ///
    /// # Errors
    /// There is none; the message names those that there are.
    pub fn find(&self, name: &VmName) -> Result<Machine, Error> {
        let machines = self.machines()?;
        let names: Vec<&str> = machines.iter().map(|m| m.name().as_str()).collect();
        let unknown = match names.as_slice() {
            [] => Error::configuration(format!("there is no machine '{name}', and no other"))
                .remedy("starting one: plinth run --detach --name NAME --kernel FILE …"),
            names => Error::configuration(format!("there is no machine '{name}'"))
                .remedy(format!("one of {}", names.join(", "))),
        };
        let found = machines.into_iter().find(|machine| machine.name() == name);
        found.ok_or(unknown)
    }

    /// Forgets a machine that has ended.
    ///
    /// # Errors
    /// There is none of that name, or it lives.
    pub fn remove(&self, name: &VmName) -> Result<(), Error> {
        self.find(name)?;
        let _exclusive = self.lock(FlockOperation::LockExclusive)?;
        let machine = self.read(name)?;
        if machine.is_alive() {
            return Err(Error::configuration(format!("machine '{name}' is running"))
                .remedy(format!("ending it first: plinth vm stop {name}")));
        }
        machine.delete()
    }

    /// Changes what is recorded of a machine.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn update(&self, name: &VmName, change: impl FnOnce(&mut Record)) -> Result<(), Error> {
        let _exclusive = self.lock(FlockOperation::LockExclusive)?;
        let mut record = self.read(name)?.record().clone();
        change(&mut record);
        record.write(&self.root.join(name.as_str()))
    }

    /// Forgets the disks of `machine` of which `is_there` says no, asked after
    /// the machine was read: a guest may give one up when whoever asked for it
    /// does not wait any more. A disk that came meanwhile stays.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn forget_departed(
        &self,
        machine: &Machine,
        is_there: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let mut departed = machine.record().disks.clone();
        departed.retain(|name, _| !is_there(name));
        if departed.is_empty() {
            return Ok(());
        }
        self.update(machine.name(), |record| {
            let stays = |name: &String, path: &PathBuf| departed.get(name) != Some(path);
            record.disks.retain(|name, path| stays(name, path));
        })
    }

    /// Every machine there is a directory of, in the order of their names.
    fn read_all(&self) -> Result<Vec<Machine>, Error> {
        let unreadable = |error: io::Error| self.refused("cannot be read", error);
        let mut names: Vec<VmName> = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            // What is no directory, or has no machine's name, is not ours.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name();
                names.extend(name.to_str().and_then(|name| name.parse().ok()));
            }
        }
        names.sort();
        names.iter().map(|name| self.read(name)).collect()
    }

    fn read(&self, name: &VmName) -> Result<Machine, Error> {
        Machine::read(name.clone(), self.root.join(name.as_str()))
    }

    /// Locked until what is returned is dropped.
    fn lock(&self, how: FlockOperation) -> Result<File, Error> {
        let root = File::open(&self.root).map_err(|error| self.refused("cannot be read", error))?;
        loop {
            match flock(&root, how) {
                Ok(()) => return Ok(root),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.refused("cannot be locked", errno.into())),
            }
        }
    }

    fn refused(&self, why: &str, error: io::Error) -> Error {
        Error::host(format!("runtime directory '{}' {why}", self.root.display())).because(error)
    }
}

fn free_name(machines: &[Machine]) -> Result<VmName, Error> {
    for _ in 0..ATTEMPTS {
        let name = VmName::generate()
            .map_err(|errno| Error::unexpected("no name can be made up").because(errno))?;
        if !machines.iter().any(|machine| *machine.name() == name) {
            return Ok(name);
        }
    }
    Err(Error::unexpected("every name that was made up is taken").remedy("a name with --name"))
}

#[cfg(test)]
mod tests;
