//! Recipes for guest kernels, initramfs and root disks, and for the emulator
//! that benchmarks run in.
//!
//! Nothing here is kept in git: every recipe builds into the [`Cache`] from
//! Debian packages and from binaries of this workspace, and every recipe can
//! be interrupted at any point and run again.

pub mod cache;
pub mod cpio;
mod digest;
pub mod emulator;
pub mod error;
pub mod fast_kernel;
pub mod fio;
pub mod initramfs;
pub mod kernel;
pub mod modules;
pub mod package;
pub mod progress;
pub mod root_disk;
pub mod tool;

pub use cache::Cache;
pub use error::{Error, ErrorKind, Result};
pub use fast_kernel::FastKernel;
pub use fio::fio;
pub use initramfs::{busybox, initramfs, run_word};
pub use kernel::{DebianKernel, Kernel};
pub use modules::{Module, ModuleTree};
pub use package::Package;
pub use progress::Progress;
pub use root_disk::RootDisk;
pub use tool::Tool;
