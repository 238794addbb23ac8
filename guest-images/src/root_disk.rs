//! A Debian 12 root disk: systemd boots to a login on the serial console and
//! sshd runs. Made in an ext4 file without mounting anything, as an ordinary
//! user or as root: mmdebstrap leaves an archive, which fakeroot unpacks for
//! mke2fs so that every owner in the image is right.
//!
//! Log in as root: on the console with [`CONSOLE_PASSWORD`], over ssh with the
//! private key beside the disk.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::digest;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::tool::Tool;

/// The password of root on the console; sshd takes keys only.
pub const CONSOLE_PASSWORD: &str = "plinth";

const SUITE: &str = "bookworm";
/// logind, which hears the power button, needs dbus; cloud-init asks for an
/// address with a client of its own.
const PACKAGES: &str = "systemd-sysv,systemd-resolved,dbus,udev,openssh-server,iproute2,\
    e2fsprogs,cloud-init,isc-dhcp-client";
/// Documentation would be a third of the disk; licences stay.
const DPKG_OPTIONS: [&str; 4] = [
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
];
const CUSTOMIZE: &str = include_str!("../root-disk.sh");
/// With this file on its disk cloud-init does nothing (cloud-init, "Boot stages").
const DISABLED: &str = "/etc/cloud/cloud-init.disabled";
/// Of the file system; the file is sparse. A copy may be made larger.
const SIZE: &str = "1G";
const DIRECTORY: &str = "root-disk";

/// A root disk in the cache. Guests must be given a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootDisk {
    /// The ext4 file system, without a partition table.
    pub image: PathBuf,
    /// The private key that may log in as root.
    pub ssh_key: PathBuf,
}

impl RootDisk {
    /// The disk of this recipe, built if the cache does not have it.
    pub fn build(cache: &Cache) -> Result<Self> {
        let key = format!("{DIRECTORY}/{}", recipe());
        cache.entry(&key, assemble).map(|dir| Self::at(&dir))
    }

    /// The disk of this recipe if it was built before.
    pub fn cached(cache: &Cache) -> Option<Self> {
        let dir = cache.root().join(DIRECTORY).join(recipe());
        dir.exists().then(|| Self::at(&dir))
    }

    /// Copies the disk, sparsely, to a file that a guest may write to.
    pub fn copy_to(&self, path: &Path) -> Result<()> {
        Tool::new("cp", "coreutils")
            .args(["--sparse=always", "--reflink=auto", "--"])
            .args([&self.image, path])
            .output()
            .map(drop)
    }

    /// Has cloud-init, which otherwise does nothing on it, set up the copy at `path`
    /// by what it is told.
    pub fn enable_cloud_init(path: &Path) -> Result<()> {
        Tool::new("debugfs", "e2fsprogs")
            .args(["-w", "-R"])
            .arg(format!("rm {DISABLED}"))
            .arg(path)
            .output()
            .map(drop)
    }

    fn at(dir: &Path) -> Self {
        Self {
            image: dir.join("root.ext4"),
            ssh_key: dir.join("id_ed25519"),
        }
    }
}

/// A name for all that determines the disk, except the day's packages.
fn recipe() -> String {
    let fixed = [SUITE, PACKAGES, CUSTOMIZE, SIZE];
    let parts = fixed.iter().chain(&DPKG_OPTIONS);
    format!("{SUITE}_{}", digest::name(parts))
}

fn assemble(dir: &Path) -> Result<()> {
    let disk = RootDisk::at(dir);
    let tree = dir.join("tree");
    let archive = dir.join("root.tar");
    fs::create_dir_all(&tree).map_err(Error::file("creating", &tree))?;
    Tool::new("ssh-keygen", "openssh-client")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "plinth", "-f"])
        .arg(&disk.ssh_key)
        .output()?;
    let public = disk.ssh_key.with_extension("pub");
    let public = fs::read_to_string(&public).map_err(Error::file("reading", &public))?;

    let mut progress = Progress::new("building the Debian root disk");
    Tool::new("mmdebstrap", "mmdebstrap")
        .args(["--variant=minbase", "--format=tar"])
        .arg(format!("--include={PACKAGES}"))
        .args(DPKG_OPTIONS.map(|option| format!("--dpkgopt={option}")))
        // Taken for a file name first; perl warns of one with a newline last.
        .arg(format!("--customize-hook={}", CUSTOMIZE.trim_end()))
        .arg(SUITE)
        .arg(&archive)
        .env("PLINTH_AUTHORIZED_KEY", public.trim())
        .follow(|line| progress.step(line))?;
    progress.step("making the file system");
    // One fakeroot for both: it remembers owners only while it runs. Device
    // nodes are left out, since the kernel mounts its own /dev.
    const MAKE: &str = "tar -C \"$1\" --exclude='./dev/*' -xpf \"$2\" && \
         mke2fs -q -t ext4 -L root -m 0 -E lazy_itable_init=0,lazy_journal_init=0 \
         -d \"$1\" \"$3\" \"$4\"";
    Tool::new("fakeroot", "fakeroot")
        .args(["--", "sh", "-c", MAKE, "make"])
        .arg(&tree)
        .arg(&archive)
        .arg(&disk.image)
        .arg(SIZE)
        .output()?;
    fs::remove_file(&archive).map_err(Error::file("removing", &archive))?;
    fs::remove_dir_all(&tree).map_err(Error::file("removing", &tree))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_knows_only_a_finished_disk() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        assert_eq!(RootDisk::cached(&cache), None);
        let entry = dir.path().join(DIRECTORY).join(recipe());
        fs::create_dir_all(&entry).unwrap();
        assert_eq!(RootDisk::cached(&cache), Some(RootDisk::at(&entry)));
    }

    #[test]
    fn a_copy_is_the_same_and_the_original_stays() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RootDisk::at(dir.path());
        fs::write(&disk.image, "file system").unwrap();
        let copy = dir.path().join("copy");
        disk.copy_to(&copy).unwrap();
        fs::write(&copy, "changed").unwrap();
        assert_eq!(fs::read(&disk.image).unwrap(), b"file system");
    }

    #[test]
    fn the_customizing_script_is_a_script() {
        let checked = Tool::new("sh", "dash")
            .args(["-n", "-c", CUSTOMIZE])
            .output();
        checked.unwrap();
    }
}
