//! The small initramfs: our init, busybox, and the modules a kernel needs to
//! reach its virtio devices. Uncompressed, since unpacking costs a guest more
//! time than the extra bytes cost the host.
//!
//! What the init does with it is told by words on the kernel command line;
//! see `guest-images/init/src/command_line.rs`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::cpio::Archive;
use crate::digest;
use crate::error::{Error, ErrorKind, Result};
use crate::modules::ModuleTree;
use crate::package::Package;

/// What a guest needs to use plinth's devices and a root disk: its system finds
/// no modules on the disk, and hears of the power button through `button` and
/// `evdev`. ext4 asks for its checksum by name, so depmod does not list it.
pub const GUEST_MODULES: [&str; 15] = [
    "virtio_mmio",
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "virtio_net",
    "virtio_rng",
    "virtio_balloon",
    "virtio_mem",
    "vmw_vsock_virtio_transport",
    "wdat_wdt",
    "pvpanic_mmio",
    "button",
    "evdev",
    "crc32c_generic",
    "ext4",
];

/// Builds the initramfs for a kernel into the cache and returns its path.
///
/// `init` is the binary of the `init` crate; `modules` the kernel's tree, or
/// None for a kernel that has everything built in. Equal content has one path,
/// so another init or kernel never disturbs a running guest's file.
pub fn initramfs(cache: &Cache, init: &Path, modules: Option<&ModuleTree>) -> Result<PathBuf> {
    let archive = assemble(init, &busybox(cache)?, modules)?;
    let key = format!("initramfs/{}.cpio", digest::name([&archive]));
    cache.entry(&key, |path| {
        fs::write(path, &archive).map_err(Error::file("writing", path))
    })
}

/// The word `plinth.run=…` that makes the init run `command` through a shell:
/// everything that a kernel command line might split or unquote is encoded.
pub fn run_word(command: &str) -> String {
    let mut word = String::from("plinth.run=");
    for byte in command.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'/' | b'=' | b':' => {
                word.push(char::from(byte));
            }
            _ => {
                let _ = write!(word, "%{byte:02X}");
            }
        }
    }
    word
}

fn assemble(init: &Path, busybox: &Path, modules: Option<&ModuleTree>) -> Result<Vec<u8>> {
    let read = |path: &Path| fs::read(path).map_err(Error::file("reading", path));
    let modules = match modules {
        Some(tree) => tree.load_order(&GUEST_MODULES)?,
        None => Vec::new(),
    };
    let mut list = String::new();
    let mut files = Vec::new();
    for module in &modules {
        let path = format!("lib/modules/{}.ko", module.name);
        let _ = writeln!(list, "/{path}");
        files.push((path, module.bytes()?));
    }
    let (init, busybox) = (read(init)?, read(busybox)?);
    let write = || {
        let mut archive = Archive::new(Vec::new());
        // The kernel opens the console for init before devtmpfs is mounted.
        archive.character_device("dev/console", 0o600, (5, 1))?;
        // Where the console needs a module, init starts with this instead.
        archive.character_device("dev/null", 0o666, (1, 3))?;
        archive.file("init", 0o755, &init)?;
        archive.symlink("bin/guest", "../init")?;
        // busybox finds its other commands in itself, without links.
        archive.file("bin/busybox", 0o755, &busybox)?;
        archive.symlink("bin/sh", "busybox")?;
        archive.file("lib/modules.list", 0o644, list.as_bytes())?;
        for (path, content) in &files {
            archive.file(path, 0o644, content)?;
        }
        archive.finish()
    };
    write().map_err(|source| Error::caused(ErrorKind::File, "assembling the initramfs", source))
}

/// A static busybox; any version will do, so one in the cache is not renewed.
///
/// # Errors
/// There is none in the cache, and the package is not to be had.
pub fn busybox(cache: &Cache) -> Result<PathBuf> {
    const NAME: &str = "busybox-static";
    let cached = fs::read_dir(cache.root().join("packages"))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok())
        .find(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with(&format!("{NAME}_"))
        });
    let tree = match cached {
        Some(entry) => entry.path(),
        None => Package::candidate(NAME)?.unpacked(cache)?,
    };
    Ok(tree.join("bin/busybox"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache that holds a busybox, and a stand-in for the init binary.
    fn workshop() -> (tempfile::TempDir, Cache, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("packages/busybox-static_1.35-4/bin");
        fs::create_dir_all(&package).unwrap();
        fs::write(package.join("busybox"), "busybox").unwrap();
        let init = dir.path().join("init");
        fs::write(&init, "init one").unwrap();
        let cache = Cache::at(dir.path());
        (dir, cache, init)
    }

    #[test]
    fn equal_content_has_one_path_and_other_content_another() {
        let (_dir, cache, init) = workshop();
        let one = initramfs(&cache, &init, None).unwrap();
        assert_eq!(initramfs(&cache, &init, None).unwrap(), one);
        fs::write(&init, "init two").unwrap();
        let two = initramfs(&cache, &init, None).unwrap();
        assert_ne!(one, two);
        assert_eq!(fs::read(&one).unwrap().len(), fs::read(&two).unwrap().len());
    }

    #[test]
    fn modules_are_listed_in_load_order() {
        let (dir, cache, init) = workshop();
        let tree = dir.path().join("modules");
        fs::create_dir(&tree).unwrap();
        let mut dep = String::from("virtio.ko:\n");
        for name in GUEST_MODULES {
            writeln!(dep, "{name}.ko: virtio.ko").unwrap();
            fs::write(tree.join(format!("{name}.ko")), name).unwrap();
        }
        fs::write(tree.join("virtio.ko"), "virtio").unwrap();
        fs::write(tree.join("modules.dep"), dep).unwrap();
        fs::write(tree.join("modules.builtin"), "").unwrap();

        let tree = ModuleTree::open(&tree).unwrap();
        let archive = fs::read(initramfs(&cache, &init, Some(&tree)).unwrap()).unwrap();
        let text = String::from_utf8_lossy(&archive);
        let list =
            "/lib/modules/virtio.ko\n/lib/modules/virtio_mmio.ko\n/lib/modules/virtio_pci.ko\n";
        assert!(text.contains(list));
    }

    #[test]
    fn a_missing_init_is_named() {
        let (dir, cache, _) = workshop();
        let error = initramfs(&cache, &dir.path().join("absent"), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::File);
        assert!(error.to_string().contains("absent"), "{error}");
    }

    #[test]
    fn a_command_becomes_one_word() {
        assert_eq!(
            run_word("guest report; echo \"50%\""),
            "plinth.run=guest%20report%3B%20echo%20%2250%25%22"
        );
    }
}
