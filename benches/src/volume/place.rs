//! Where things are in the deterministic machine.

/// The `plinth` program.
pub const PLINTH: &str = "/bench/plinth";
/// The VM process's, which `plinth` looks for beside itself.
pub const VMM: &str = "/bench/plinth-vmm";
/// What measures.
pub const PROBE: &str = "/bench/volume-probe";
/// The kernel's module for disks in memory.
pub const RAM_DISK: &str = "/bench/brd.ko";
/// What makes a file system.
pub const MKE2FS: &str = "/bench/mke2fs";
/// The guest's kernel.
pub const KERNEL: &str = "/guest/vmlinux";
/// The guest's initial file system.
pub const INITRD: &str = "/guest/initrd";
/// What a volume is to hold that is read.
pub const CONTENT: &str = "/guest/content";
/// Where volumes and snapshots are.
pub const DATA: &str = "/data";
