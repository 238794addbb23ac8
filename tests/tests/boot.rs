//! Guests boot: every format of kernel, every number of vCPUs, with a root
//! file system in an initramfs or on a disk.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use guest_tests::{DiskFile, Guest, Outcome, images};

/// The kernel that was given is the one that ran.
#[track_caller]
fn reports_its_kernel(outcome: &Outcome) {
    assert_eq!(outcome.after("report: kernel "), images::kernel().release);
}

#[test]
fn an_elf_kernel_boots_by_the_linux_protocol_with_one_vcpu() {
    let guest = Guest::new().boot("linux").cpus(1).memory("256M");
    let outcome = guest.command("guest report").run().succeeds();
    reports_its_kernel(&outcome);
    assert_eq!(outcome.after("report: cpus "), "1");
}

#[test]
fn an_elf_kernel_boots_by_pvh_with_two_vcpus() {
    let guest = Guest::new().boot("pvh").cpus(2);
    let outcome = guest.command("guest report").run().succeeds();
    reports_its_kernel(&outcome);
    assert_eq!(outcome.after("report: cpus "), "2");
}

#[test]
fn a_compressed_kernel_boots_with_four_vcpus() {
    let guest = Guest::compressed().cpus(4);
    let outcome = guest.command("guest report").run().succeeds();
    reports_its_kernel(&outcome);
    assert_eq!(outcome.after("report: cpus "), "4");
}

#[test]
fn a_root_disk_takes_over_from_the_initramfs() {
    let tree = tempfile::tempdir().unwrap();
    let path = |name: &str| tree.path().join(name);
    for directory in ["sbin", "bin", "dev", "proc", "sys", "run", "tmp"] {
        std::fs::create_dir(path(directory)).unwrap();
    }
    let init = "#!/bin/sh\necho here is $(cat /etc-of-disk)\nsync\npoweroff -f\n";
    std::fs::write(path("etc-of-disk"), "the root disk\n").unwrap();
    std::fs::write(path("sbin/init"), init).unwrap();
    std::fs::set_permissions(path("sbin/init"), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::copy("/bin/busybox", path("bin/sh")).unwrap();
    let disk = DiskFile::empty(64 << 20);
    let made = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-d"])
        .args([tree.path(), disk.path()])
        .status();
    assert!(made.unwrap().success());

    let outcome = Guest::new().disk(&disk).run().ends_with(0);
    outcome.says("plinth-init: root /dev/vda\n");
    outcome.says("here is the root disk\n");
}

#[test]
fn a_debian_system_boots_to_a_login_and_powers_off() {
    let disk = DiskFile::empty(0);
    images::root_disk().copy_to(disk.path()).unwrap();
    let mut guest = Guest::new().cpus(2).disk(&disk).start();
    guest.wait_for("plinth login: ");
    guest.type_in("root\n");
    guest.wait_for("Password: ");
    guest.type_in("plinth\n");
    guest.wait_for("root@plinth:~# ");
    guest.type_in("systemctl is-active ssh && echo ssh is up; systemctl poweroff\n");
    let outcome = guest.end().ends_with(0);
    outcome.says("\nssh is up\n");
}
