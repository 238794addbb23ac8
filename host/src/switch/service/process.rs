//! The process that serves one network: `plinth serve-network NAME`, which nobody
//! needs to run by hand.
//!
//! It is there once: its log in the switch's directory is locked by whoever
//! starts it, and the process inherits the lock. It ends when nobody is plugged in
//! any more, which it makes sure of while it holds the switch, so that whoever is
//! plugged in next finds the log free.

use std::env;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use network::name::Name;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::super::directory::Switches;
use super::super::instance;
use super::super::record::Kind;
use super::super::side;
use super::run::Service;
use crate::error::Error;

/// Where the process says what went wrong.
pub const LOG: &str = "service.log";

/// The command.
pub const COMMAND: &str = "serve-network";

/// Starts the process for the switch `name`, unless it is there. Only routed
/// networks have one.
///
/// # Errors
/// It cannot be started.
pub fn start(switches: &Switches, name: &Name) -> Result<(), Error> {
    // Who looks whether it is there holds the switch, too.
    let switch = switches.open(name)?;
    if !matches!(switch.record.kind, Kind::Vpc(_)) {
        return Ok(());
    }
    let failed = |error: io::Error| {
        let what = format!("the service of network '{name}' cannot be started");
        Error::host(what).because(error)
    };
    let Some(log) = take_turn(&switches.directory(name)).map_err(failed)? else {
        return Ok(());
    };
    let program = env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command
        .arg(COMMAND)
        .arg(name.as_str())
        .current_dir("/")
        // It outlives the machine that it was started for.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(log));
    command.spawn().map(drop).map_err(failed)
}

/// Whether somebody is plugged into the switch `name`, and its process is not
/// there: it was killed.
///
/// # Errors
/// There is no such switch, or the host does not tell.
pub fn is_missing(switches: &Switches, name: &Name) -> Result<bool, Error> {
    let switch = switches.open(name)?;
    let kind = &switch.record.kind;
    if !matches!(kind, Kind::Vpc(_)) || !is_anybody_there(kind)? {
        return Ok(false);
    }
    let free = lock(&switches.directory(name)).map_err(|error| {
        let what = format!("whether network '{name}' is served cannot be seen");
        Error::host(what).because(error)
    })?;
    Ok(free.is_some())
}

fn is_anybody_there(kind: &Kind) -> Result<bool, Error> {
    Ok(side::plugged(kind)?.is_some_and(|taps| !taps.is_empty()))
}

/// The log, empty and locked, unless somebody has it.
fn take_turn(directory: &Path) -> io::Result<Option<File>> {
    let Some(log) = lock(directory)? else {
        return Ok(None);
    };
    log.set_len(0)?;
    Ok(Some(log))
}

fn lock(directory: &Path) -> io::Result<Option<File>> {
    let mut options = File::options();
    let log = options
        .append(true)
        .create(true)
        .open(directory.join(LOG))?;
    match flock(&log, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(log)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Serves the switch `name` as long as anybody is plugged in. `turn` is the log,
/// which the caller has locked.
///
/// # Errors
/// The switch is gone or damaged, or the host cannot.
pub fn run(switches: &Switches, name: &Name, turn: &File) -> Result<(), Error> {
    let mut service = Service::new(switches.clone(), name.clone())?;
    // The machine that it was started for can be gone already.
    while !(service.is_idle() && ends(switches, name, turn, &mut service)?) {
        service.turn()?;
    }
    Ok(())
}

/// Whether nobody is plugged in, and nobody is being plugged in, or the name is
/// another network's; it is over then.
pub(super) fn ends(
    switches: &Switches,
    name: &Name,
    turn: &File,
    service: &mut Service,
) -> Result<bool, Error> {
    if !switches.names()?.contains(name) {
        return Ok(true);
    }
    let switch = switches.open(name)?;
    if !service.serves(&switch.record) {
        return Ok(true);
    }
    if is_anybody_there(&switch.record.kind)? {
        return Ok(false);
    }
    for port in switch.record.kind.ports() {
        // It has secrets, and nobody to be told them.
        let _ = instance::remove(&switches.directory(name), port.id);
    }
    // Whoever is next opens the same sockets.
    service.close();
    let unlocked = flock(turn, FlockOperation::Unlock);
    unlocked.map_err(|errno| {
        Error::unexpected("the service's turn cannot be given up").because(io::Error::from(errno))
    })?;
    drop(switch);
    Ok(true)
}
