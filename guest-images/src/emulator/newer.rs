//! QEMU 10 from Debian 12's backports, unpacked and not installed. The
//! libraries that it needs are those of the installed one.

use std::fs;
use std::path::{Path, PathBuf};

use super::suite::Suite;
use super::{DIRECTORY, PROGRAM, write_wrapper};
use crate::cache::Cache;
use crate::digest;
use crate::error::{Error, Result};
use crate::tool::Tool;

const SUITE: &str = "bookworm-backports";
const PACKAGES: [&str; 4] = [
    "qemu-system-x86",
    "qemu-system-common",
    "qemu-system-data",
    "seabios",
];
const WRAPPER: &str = "#!/bin/sh\n\
    root=\"${0%/*}/root/usr\"\n\
    QEMU_MODULE_DIR=\"$root/lib/x86_64-linux-gnu/qemu\" \
    exec \"$root/bin/qemu-system-x86_64\" -L \"$root/share/qemu\" -L \"$root/share/seabios\" \"$@\"\n";

/// The first version that does not keep code that has changed.
const GOOD: u32 = 9;

/// The program, where the installed one is too old. Any version of the suite's
/// will do, so one that was fetched stays.
pub fn fetch(cache: &Cache) -> Result<Option<PathBuf>> {
    let shown = Tool::new(PROGRAM, "qemu-system-x86")
        .arg("--version")
        .output()?;
    if version(&String::from_utf8_lossy(&shown)).is_some_and(|major| major >= GOOD) {
        return Ok(None);
    }
    let key = format!("{DIRECTORY}/{SUITE}_{}", digest::name([WRAPPER]));
    let dir = cache.entry(&key, unpack)?;
    Ok(Some(dir.join(PROGRAM)))
}

/// The major version, of what `--version` prints.
fn version(shown: &str) -> Option<u32> {
    let (_, version) = shown.split_once("version ")?;
    version.split_once('.')?.0.parse().ok()
}

fn unpack(dir: &Path) -> Result<()> {
    let work = dir.join("work");
    log::info!("fetching a newer QEMU (13 MiB)");
    let suite = Suite::fetch(&work, "deb", SUITE)?;
    let names = PACKAGES.map(|name| format!("{name}/{SUITE}"));
    let words: Vec<&str> = ["download"]
        .into_iter()
        .chain(names.iter().map(String::as_str))
        .collect();
    suite.apt(&words)?;
    for package in suite.files("deb")? {
        Tool::new("dpkg-deb", "dpkg")
            .arg("-x")
            .args([&package, &dir.join("root")])
            .output()?;
    }
    write_wrapper(dir, WRAPPER)?;
    fs::remove_dir_all(&work).map_err(Error::file("removing", &work))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_major_version_is_read() {
        let shown = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\n";
        assert_eq!(version(shown), Some(7));
        assert_eq!(version("QEMU emulator version 10.0.2 (Debian"), Some(10));
        for other in ["", "QEMU", "version ", "version x.y"] {
            assert_eq!(version(other), None);
        }
    }
}
