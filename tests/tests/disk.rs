//! Disks, looked at from both sides: what the guest wrote is in the file, and
//! what is in the file is what the guest reads.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use guest_tests::{DiskFile, Guest, Stream};

const MIB: u64 = 1 << 20;

/// The stream of `seed`, all of it.
fn stream(seed: u64, bytes: usize) -> Vec<u8> {
    let mut stream = Vec::with_capacity(bytes);
    Stream::new(seed, bytes).read_to_end(&mut stream).unwrap();
    stream
}

/// Fills the disk in the guest and reads it back there, then reads the file
/// here.
fn holds_what_was_written(options: &str, disk: &DiskFile) {
    let bytes = fs::metadata(disk.path()).unwrap().len();
    let outcome = Guest::new()
        .cpus(2)
        .disk(format!("{disk}{options}"))
        .command(&format!(
            "guest disk write /dev/vda {bytes} 7 && guest disk hash /dev/vda {bytes}"
        ))
        .run()
        .succeeds();
    let written = outcome.after("disk: wrote /dev/vda ");
    assert_eq!(outcome.after("disk: holds /dev/vda "), written);
    assert_eq!(disk.tally().to_string(), written);
}

#[test]
fn what_is_written_through_io_uring_is_on_the_disk() {
    holds_what_was_written(",engine=io-uring", &DiskFile::empty(256 * MIB));
}

#[test]
fn what_is_written_by_system_calls_is_on_the_disk() {
    holds_what_was_written(",engine=sync", &DiskFile::empty(64 * MIB));
}

/// An ext4 file system of this test's own: temporary directories are often in
/// memory, where files cannot be opened for direct access.
struct Ext4 {
    _image: DiskFile,
    directory: tempfile::TempDir,
}

impl Ext4 {
    fn new(bytes: u64) -> Self {
        let image = DiskFile::empty(bytes);
        let directory = tempfile::tempdir().unwrap();
        let made = Command::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4"])
            .arg(image.path())
            .status();
        assert!(made.unwrap().success());
        let mounted = Command::new("mount")
            .args(["-o", "loop"])
            .args([image.path(), directory.path()])
            .status();
        assert!(mounted.unwrap().success());
        Self {
            _image: image,
            directory,
        }
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.directory.path()).status();
    }
}

#[test]
fn what_is_written_past_the_page_cache_is_on_the_disk() {
    let ext4 = Ext4::new(96 * MIB);
    let disk = DiskFile::empty_in(ext4.directory.path(), 64 * MIB);
    holds_what_was_written(",direct", &disk);
}

#[test]
fn a_read_only_disk_refuses_writes_and_stays_as_it_is() {
    let disk = DiskFile::holding(3, 16 << 20);
    let before = disk.tally().to_string();
    let outcome = Guest::new()
        .disk(format!("{disk},readonly"))
        .command(
            "guest report; guest disk hash /dev/vda 16M; \
             guest disk write /dev/vda 1M 1 || echo refused",
        )
        .run()
        .succeeds();
    outcome.says("report: disk vda bytes 16777216 sector 512 readonly 1 serial disk0\n");
    outcome.says("refused\n");
    assert_eq!(outcome.after("disk: holds /dev/vda "), before);
    assert_eq!(disk.tally().to_string(), before);
}

#[test]
fn disks_are_found_in_order_with_their_sizes_and_serial_numbers() {
    let (first, second) = (DiskFile::holding(1, 4 << 20), DiskFile::holding(2, 8 << 20));
    let outcome = Guest::new()
        .disk(format!("{first},id=a-serial-of-20-chars"))
        .disk(format!("{second},id=second"))
        .command("guest report; guest disk verify /dev/vda 4M 1; guest disk verify /dev/vdb 8M 2")
        .run()
        .succeeds();
    outcome.says("disk vda bytes 4194304 sector 512 readonly 0 serial a-serial-of-20-chars\n");
    outcome.says("disk vdb bytes 8388608 sector 512 readonly 0 serial second\n");
    outcome.says("disk: verified /dev/vda bytes 4194304 seed 1\n");
    outcome.says("disk: verified /dev/vdb bytes 8388608 seed 2\n");
}

#[test]
fn discarded_and_zeroed_ranges_are_zero_and_the_rest_stays() {
    let disk = DiskFile::holding(5, 16 << 20);
    Guest::new()
        .disk(&disk)
        .command("guest discard /dev/vda 4M 4M && guest zero /dev/vda 12M 1M")
        .run()
        .succeeds();
    let mut expected = stream(5, 16 << 20);
    expected[4 << 20..8 << 20].fill(0);
    expected[12 << 20..13 << 20].fill(0);
    assert!(fs::read(disk.path()).unwrap() == expected);
}

/// Each vCPU has a queue of its own, and what goes through both at once is all
/// there.
#[test]
fn two_vcpus_use_two_queues_at_once() {
    let disk = DiskFile::holding(5, 64 << 20);
    let outcome = Guest::new()
        .cpus(2)
        .disk(format!("{disk},queues=2"))
        .command(
            "echo queues /sys/block/vda/mq/*; \
             taskset 1 guest disk write /dev/vda 32M 7 & \
             taskset 2 guest zero /dev/vda 48M 8M; wait; grep -e -req. /proc/interrupts",
        )
        .run()
        .succeeds();
    let queues = "/sys/block/vda/mq/0 /sys/block/vda/mq/1";
    assert_eq!(outcome.after("queues "), queues);
    outcome.says("disk: wrote /dev/vda ");
    let mut expected = stream(5, 64 << 20);
    expected[..32 << 20].copy_from_slice(&stream(7, 32 << 20));
    expected[48 << 20..56 << 20].fill(0);
    assert!(fs::read(disk.path()).unwrap() == expected);
    for queue in ["-req.0", "-req.1"] {
        let mut lines = outcome.console.lines();
        let line = lines.find(|line| line.trim_end().ends_with(queue)).unwrap();
        // The vector's number, and how often it came to either vCPU.
        let counts = line.split_whitespace().skip(1).take(2);
        let count: u64 = counts.map(|count| count.parse::<u64>().unwrap()).sum();
        assert!(count > 0, "{line}");
    }
}

/// A guest has no more queues than it may have CPUs, and leaves the rest.
#[test]
fn queues_beyond_the_vcpus_are_left_alone() {
    let disk = DiskFile::empty(16 * MIB);
    let outcome = Guest::new()
        .disk(format!("{disk},queues=16,engine=sync"))
        .command(
            "echo queues /sys/block/vda/mq/*; \
             guest disk write /dev/vda 16M 7 && guest disk hash /dev/vda 16M",
        )
        .run()
        .succeeds();
    assert_eq!(outcome.after("queues "), "/sys/block/vda/mq/0");
    assert_eq!(
        disk.tally().to_string(),
        outcome.after("disk: holds /dev/vda ")
    );
}

/// Runs a guest that writes and flushes, with the system calls of its VM
/// process traced; gives those that make data durable.
fn flushes(command: &str) -> usize {
    let disk = DiskFile::empty(8 * MIB);
    let directory = tempfile::tempdir().unwrap();
    let trace: PathBuf = directory.path().join("trace");
    let trace_arguments = ["strace", "-f", "-qq", "-e", "trace=fdatasync,fsync", "-o"];
    Guest::new()
        .disk(format!("{disk},engine=sync"))
        .command(command)
        .under(
            trace_arguments
                .iter()
                .copied()
                .chain([trace.to_str().unwrap()]),
        )
        .run()
        .succeeds();
    let trace = fs::read_to_string(trace).unwrap();
    trace.matches("fdatasync(").count()
}

#[test]
fn a_flush_in_the_guest_is_an_fdatasync_of_its_vm_process() {
    let without = flushes("guest disk hash /dev/vda 1M");
    let with = flushes("for i in 1 2 3; do guest disk write /dev/vda 64K $i; done");
    assert_eq!((without, with), (0, 3));
}

#[test]
fn a_disk_in_use_is_refused_with_the_name_of_its_user() {
    let disk = DiskFile::empty(MIB);
    let first = Guest::new()
        .disk(&disk)
        .command("echo here; read line")
        .start();
    first.wait_for("here");
    let outcome = Guest::new().disk(&disk).command("true").run().ends_with(2);
    outcome.complains(&format!(
        "disk '{disk}' is in use by process {} (plinth-vmm)",
        first.pid()
    ));
    let readonly = format!("{disk},readonly");
    let outcome = Guest::new().disk(readonly).command("true").run();
    outcome.ends_with(2).complains("is in use by process");
}
