//! Who holds what a guest is to have: the process that locked a disk's file
//! or attached to a tap.
//!
//! The kernel does not say (an open file description's lock has no owner), so
//! the descriptors of the processes that this user may look at are searched.
//! Only ever asked after a refusal, for its message.

use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process of this host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pid: u32,
    command: String,
}

impl Holder {
    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Process `pid`, whatever it is.
    #[cfg(test)]
    pub(crate) fn for_test(pid: u32) -> Self {
        let command = "plinth".into();
        Self { pid, command }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command.escape_debug())
    }
}

/// `by process N (name)`, or that it is not known.
pub fn by(holder: Option<Holder>) -> String {
    match holder {
        Some(holder) => format!("by {holder}"),
        None => "by a process that this user may not look at".into(),
    }
}

/// The process that holds a lock on the file with this `metadata`.
pub fn of_lock(metadata: &Metadata) -> Option<Holder> {
    all_of_lock(metadata).next()
}

/// Every process that holds one: readers share it.
pub fn all_of_lock(metadata: &Metadata) -> impl Iterator<Item = Holder> {
    let identity = (metadata.dev(), metadata.ino());
    find(move |descriptor, info| {
        fs::metadata(descriptor).is_ok_and(|m| (m.dev(), m.ino()) == identity)
            && fs::read_to_string(info).is_ok_and(|info| shows_lock(&info))
    })
}

/// The process that is attached to the tap called `name`. Other network namespaces may
/// have taps that are called so, too; a process is taken to have those of its own.
pub fn of_tap(name: &str) -> Option<Holder> {
    let here = fs::read_link("/proc/thread-self/ns/net").ok();
    let mut holders = find(|descriptor, info| {
        let process = descriptor.ancestors().nth(2);
        let network = process.map(|process| fs::read_link(process.join("ns/net")));
        fs::read_link(descriptor).is_ok_and(|target| target == Path::new("/dev/net/tun"))
            && fs::read_to_string(info).is_ok_and(|info| shows_tap(&info, name))
            && network.and_then(Result::ok) == here
    });
    holders.next()
}

/// Processes with a descriptor for which `holds` says yes of its entries in
/// /proc/PID/fd and /proc/PID/fdinfo.
fn find(holds: impl Fn(&Path, &Path) -> bool) -> impl Iterator<Item = Holder> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(move |process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let directory = process.path();
        let descriptors = fs::read_dir(directory.join("fd")).ok()?;
        let is_one = descriptors.flatten().any(|descriptor| {
            let info = directory.join("fdinfo").join(descriptor.file_name());
            holds(&descriptor.path(), &info)
        });
        let command = || fs::read_to_string(directory.join("comm")).unwrap_or_default();
        is_one.then(|| Holder {
            pid,
            command: command().trim_end().to_owned(),
        })
    })
}

/// Whether a descriptor's fdinfo shows a record lock; others, such as flock's,
/// do not conflict with a disk's.
fn shows_lock(info: &str) -> bool {
    info.lines()
        .filter(|line| line.starts_with("lock:"))
        .any(|line| line.contains("OFDLCK") || line.contains("POSIX"))
}

/// Whether a descriptor's fdinfo shows that it is attached to the tap `name`.
fn shows_tap(info: &str, name: &str) -> bool {
    info.lines()
        .filter_map(|line| line.strip_prefix("iff:"))
        .any(|interface| interface.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_lock_is_told_from_others() {
        assert!(shows_lock(
            "pos:\t0\nlock:\t1: OFDLCK ADVISORY  WRITE -1 fe:00:12 0 EOF\n"
        ));
        assert!(shows_lock(
            "lock:\t1: POSIX  ADVISORY  READ 7 fe:00:12 0 EOF\n"
        ));
        assert!(!shows_lock(
            "lock:\t1: FLOCK  ADVISORY  WRITE 7 fe:00:12 0 EOF\n"
        ));
        assert!(!shows_lock("pos:\t0\nflags:\t02\n"));
    }

    #[test]
    fn a_tap_is_known_by_its_whole_name() {
        assert!(shows_tap("pos:\t0\niff:\ttap1\n", "tap1"));
        assert!(!shows_tap("iff:\ttap10\n", "tap1"));
    }

    #[test]
    fn a_holder_is_a_pid_and_a_name_without_control_characters() {
        let holder = Holder {
            pid: 7,
            command: "a\x1b[m".into(),
        };
        assert_eq!(by(Some(holder)), "by process 7 (a\\u{1b}[m)");
    }
}
