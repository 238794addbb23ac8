//! The kernel's own file systems, mounted before anything else can work.
//! Called once by `boot`; a mount that fails is said and skipped, since a
//! guest without, say, /tmp is still worth a shell.

use std::fs;

use rustix::mount::{MountFlags, mount};

use crate::console::say;

/// Source, target, type, options; in the order in which they nest.
const MOUNTS: [(&str, &str, &str, &str); 6] = [
    ("proc", "/proc", "proc", ""),
    ("sysfs", "/sys", "sysfs", ""),
    ("devtmpfs", "/dev", "devtmpfs", "mode=0755"),
    (
        "devpts",
        "/dev/pts",
        "devpts",
        "gid=5,mode=0620,ptmxmode=0666",
    ),
    ("tmpfs", "/run", "tmpfs", "mode=0755"),
    ("tmpfs", "/tmp", "tmpfs", "mode=1777"),
];

/// The mounts that a root file system's own init expects to inherit.
pub(crate) const INHERITED: [&str; 4] = ["/dev", "/proc", "/sys", "/run"];

/// Mounts them all.
pub(crate) fn mount_all() {
    for (source, target, kind, options) in MOUNTS {
        let options = std::ffi::CString::new(options).unwrap_or_default();
        let outcome = fs::create_dir_all(target).and_then(|()| {
            Ok(mount(
                source,
                target,
                kind,
                MountFlags::NOSUID,
                options.as_c_str(),
            )?)
        });
        if let Err(error) = outcome {
            say(format_args!("cannot mount {kind} on {target}: {error}"));
        }
    }
}
