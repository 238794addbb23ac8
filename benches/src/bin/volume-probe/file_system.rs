//! The file system for volumes and snapshots.

use std::ffi::CString;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use benches::volume::place::{DATA, MKE2FS, RAM_DISK};
use rustix::mount::{MountFlags, mount as mount_at};
use rustix::system::init_module;

/// The disk's size in KiB; memory is taken as it is written to.
const KIB: u64 = 3 << 20;

const DEVICE: &str = "/dev/ram0";

/// Makes the disk and, on all of it, ext4 as users have it, but for its inode
/// tables, which are small and written at once: otherwise the kernel would do
/// that while something is measured.
pub(crate) fn mount() -> Result<()> {
    let module = fs::read(RAM_DISK).context("reading the module for disks in memory")?;
    let parameters = CString::new(format!("rd_nr=1 rd_size={KIB}"))?;
    init_module(&module, &parameters).context("loading the module for disks in memory")?;
    let made = Command::new(MKE2FS)
        .args(["-q", "-F", "-t", "ext4", "-N", "16384"])
        .args(["-E", "lazy_itable_init=0,lazy_journal_init=0", DEVICE])
        .status()
        .context("running mke2fs")?;
    ensure!(made.success(), "mke2fs failed, {made}");
    fs::create_dir_all(DATA)?;
    mount_at(DEVICE, DATA, "ext4", MountFlags::empty(), None).context("mounting")?;
    Ok(())
}
