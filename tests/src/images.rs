//! What the guests boot, and the programs under test. All of it is there
//! before a test runs: `cargo xtask test` builds it, and in an outer machine
//! there is no network to fetch anything.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use guest_images::{Cache, DebianKernel, Kernel, RootDisk};
use tempfile::NamedTempFile;

const PREPARE: &str = "run the guest tests with: cargo xtask test --guest";

/// Debian's stock cloud kernel.
pub fn kernel() -> &'static Kernel {
    static KERNEL: LazyLock<Kernel> = LazyLock::new(|| {
        let kernel = DebianKernel::Cloud.cached(&cache()).expect(PREPARE);
        kernel.expect(PREPARE)
    });
    &KERNEL
}

/// The small initramfs for [`kernel`].
pub fn initramfs() -> &'static PathBuf {
    static INITRAMFS: LazyLock<PathBuf> = LazyLock::new(|| {
        let modules = kernel().module_tree().expect(PREPARE);
        let init = target().join("release/init");
        guest_images::initramfs(&cache(), &init, Some(&modules)).expect(PREPARE)
    });
    &INITRAMFS
}

/// [`initramfs`] and Debian's fio, for a guest with 512 MiB.
pub fn initramfs_with_fio() -> NamedTempFile {
    let mut both = NamedTempFile::new().unwrap();
    for part in [initramfs(), &guest_images::fio(&cache()).expect(PREPARE)] {
        let part = &mut File::open(part).expect(PREPARE);
        io::copy(part, &mut both).unwrap();
    }
    both
}

/// The Debian root disk; guests get a copy.
pub fn root_disk() -> RootDisk {
    RootDisk::cached(&cache()).expect(PREPARE)
}

/// A program of this workspace, such as `plinth`.
pub fn program(name: &str) -> PathBuf {
    built(name)
}

/// An example program of this workspace.
pub fn example(name: &str) -> PathBuf {
    built(&format!("examples/{name}"))
}

fn built(path: &str) -> PathBuf {
    let path = target().join("debug").join(path);
    assert!(path.exists(), "there is no {}; {PREPARE}", path.display());
    path
}

fn cache() -> Cache {
    Cache::open().expect("no image cache")
}

/// The target directory: programs are in its `debug`, test binaries below that.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let debug = program.ancestors().find(|above| above.ends_with("debug"));
    debug.and_then(Path::parent).expect(PREPARE).to_owned()
}
