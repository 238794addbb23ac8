//! The root file system on a disk: found, mounted, and handed the machine.
//! Called by `boot`. `switch` comes back only if that root cannot take over;
//! whatever was tried before then is undone or harmless to a shell.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_move, unmount};
use rustix::process::chroot;

use crate::command_line::Root;
use crate::console::say;
use crate::mounts::INHERITED;

const FIRST_DISK: &str = "/dev/vda";
const MOUNT_POINT: &str = "/root-disk";
const INIT: &str = "sbin/init";
/// How long a device that was named may take to appear.
const PATIENCE: Duration = Duration::from_secs(5);

/// Becomes the init of the wanted root file system. Returns Ok if none is
/// wanted or there.
pub(crate) fn switch(root: &Root, read_only: bool) -> io::Result<()> {
    match root {
        Root::None => Ok(()),
        Root::Device(device) => {
            wait_for(device);
            take_over(device, read_only)
        }
        Root::IfPresent => match take_over(FIRST_DISK, read_only) {
            // No disk, or one without a system on it: that is for the shell.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        },
    }
}

fn wait_for(device: &str) {
    let start = Instant::now();
    while !Path::new(device).exists() && start.elapsed() < PATIENCE {
        sleep(Duration::from_millis(10));
    }
}

fn take_over(device: &str, read_only: bool) -> io::Result<()> {
    fs::create_dir_all(MOUNT_POINT)?;
    mount_any(device, read_only)?;
    // The link itself: absolute ones lead nowhere until the root is switched.
    if Path::new(MOUNT_POINT)
        .join(INIT)
        .symlink_metadata()
        .is_err()
    {
        unmount(MOUNT_POINT, UnmountFlags::empty())?;
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{device} holds no /{INIT}"),
        ));
    }
    say(format_args!("root {device}"));
    let initramfs = Path::new("/").metadata()?.dev();
    for place in INHERITED {
        mount_move(place, Path::new(MOUNT_POINT).join(&place[1..]))?;
    }
    empty(Path::new("/"), initramfs);
    std::env::set_current_dir(MOUNT_POINT)?;
    mount_move(".", "/")?;
    chroot(".")?;
    std::env::set_current_dir("/")?;
    Err(Command::new(Path::new("/").join(INIT)).exec())
}

/// Tries each file system the kernel has.
fn mount_any(device: &str, read_only: bool) -> io::Result<()> {
    if !Path::new(device).exists() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no {device}"),
        ));
    }
    let flags = match read_only || is_write_protected(device) {
        true => MountFlags::RDONLY,
        false => MountFlags::empty(),
    };
    let known = fs::read_to_string("/proc/filesystems")?;
    // Lines with a first word, "nodev", are not for disks. ext4 comes first,
    // since ext2 and ext3 complain aloud about one.
    let kinds = known.lines().filter_map(|line| line.strip_prefix('\t'));
    for kind in std::iter::once("ext4").chain(kinds) {
        if mount(device, MOUNT_POINT, kind, flags, None).is_ok() {
            return Ok(());
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("{device} holds no file system that this kernel knows"),
    ))
}

fn is_write_protected(device: &str) -> bool {
    let name = Path::new(device).file_name().unwrap_or_default();
    let attribute = Path::new("/sys/class/block").join(name).join("ro");
    fs::read_to_string(attribute).is_ok_and(|text| text.trim() == "1")
}

/// Removes the initramfs's files: they occupy memory until then. Stays on
/// the file system it starts on, and leaves what it cannot remove.
fn empty(directory: &Path, device: u64) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.metadata() {
            Ok(metadata) if metadata.dev() != device => {}
            Ok(metadata) if metadata.is_dir() => {
                empty(&path, device);
                let _ = fs::remove_dir(&path);
            }
            _ => {
                let _ = fs::remove_file(&path);
            }
        }
    }
}
