//! Disks that come and go while an unmodified guest runs, without a rescan.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use guest_images::run_word;
use guest_tests::write_log::{acknowledgement, assert_holds_records, last_acknowledged};
use guest_tests::{DiskFile, Transcript, block, embedded, images};
use vmm::config::{BlockConfig, DeviceConfig, TransportKind};
use vmm::{Backing, DeviceName, DiskOptions, ErrorKind, Event, MemoryConfig, MemoryLayout, Vm};

/// How long the guest has to give a disk up.
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
/// Disks that come and go where nobody asks for more.
const SHORT_STORM: u32 = 6;

/// A machine that runs `command`, and its console.
fn start(command: &str) -> (Vm, Transcript) {
    let (builder, console) = embedded(&run_word(command));
    let vm = builder.build().and_then(vmm::PausedVm::start).unwrap();
    (vm, console)
}

fn name(text: &str) -> DeviceName {
    text.parse().unwrap()
}

fn attach(vm: &Vm, disk: &DiskFile, id: &str) {
    let attached = vm.attach(block(disk, id)).unwrap();
    assert_eq!(attached.name, name(id));
}

/// How many descriptors of this process are open on `disk`.
fn descriptors_of(disk: &DiskFile) -> usize {
    let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    let wanted = identity(disk.path()).unwrap();
    let open = fs::read_dir("/proc/self/fd").unwrap();
    open.filter(|entry| identity(&entry.as_ref().unwrap().path()).is_ok_and(|it| it == wanted))
        .count()
}

/// Has fio write all of the disk that stays and read it back, over and over.
const VERIFY_ONE: &str = "r=0; while :; do r=$((r+1)); \
     fio --name=verify --filename=/dev/vda --size=2M --rw=randwrite --bs=4k --direct=1 \
     --ioengine=libaio --iodepth=8 --randseed=$r --verify=crc32c --verify_fatal=1 >/dev/null \
     && echo fio: round $r is right || echo fio: round $r FAILED; done";

/// Goes on to the next disk as soon as the one before is gone.
const LOG_ON_EACH: &str = "n=0; while :; do n=$((n+1)); \
     while ! [ -b /dev/vdb ]; do sleep 0.05; done; \
     echo disk $n is $(cat /sys/block/vdb/serial); guest disk log /dev/vdb; \
     while [ -b /dev/vdb ]; do sleep 0.05; done; echo disk $n is gone; done";

/// How many records the guest has written before its disk is taken away: of one
/// cycle more than of another, so that it goes at any point of the journey.
fn before_it_goes(cycle: u32) -> u64 {
    1 + u64::from(cycle * 7 % 20)
}

/// Attaches disks and takes them away again in the middle of a log, `cycles`
/// times, by turns with and without asking the guest, beside a disk that stays
/// and is verified. Returns how many records were checked.
fn storm(cycles: u32) -> u64 {
    let steady = DiskFile::empty(2 * MIB);
    let command = format!("({VERIFY_ONE}) & {LOG_ON_EACH}");
    let (builder, console) = embedded(&run_word(&command));
    let vm = builder
        .initrd(images::initramfs_with_fio().into_file())
        .memory(MemoryConfig {
            layout: MemoryLayout::new(512 * MIB).unwrap(),
            backing: Backing::Anonymous,
            transparent_huge_pages: Some(true),
            prefault: false,
        })
        .device(block(&steady, "steady"))
        .build()
        .and_then(vmm::PausedVm::start)
        .unwrap();
    let events = vm.events();
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let mut checked = 0;
    let mut before = 0;
    for cycle in 1..=cycles {
        let disk = DiskFile::empty(8 * MIB);
        let id = format!("disk-{cycle}");
        let ours = descriptors_of(&disk);
        attach(&vm, &disk, &id);
        let began = format!("disk {cycle} is {id}");
        assert!(console.shows(&began), "{}", console.text());
        let busy = acknowledgement(before_it_goes(cycle));
        assert!(console.shows_after(&began, &busy), "{}", console.text());
        match cycle % 2 {
            0 => vm.force_detach(name(&id)).unwrap(),
            _ => vm.detach(name(&id), PATIENCE).unwrap(),
        }
        assert_eq!(descriptors_of(&disk), ours, "another machine may have it");
        let gone = format!("disk {cycle} is gone");
        assert!(console.shows(&gone), "{}", console.text());
        let said = console.text();
        let acknowledged = last_acknowledged(said.rsplit_once(&began).unwrap().1);
        assert!(acknowledged >= before_it_goes(cycle));
        assert_holds_records(disk.path(), acknowledged);
        checked += acknowledged;
        for expected in [
            Event::DeviceAttached(name(&id)),
            Event::DeviceDetached(name(&id)),
        ] {
            assert_eq!(events.recv().unwrap(), expected);
        }
        // The guest's shell of a disk that was taken by force goes a little
        // later, and takes its eventfd with it.
        if cycle == 2 {
            before = descriptors();
        }
    }
    if cycles > 2 {
        assert!(descriptors() <= before + 4, "descriptors are leaked");
    }
    assert!(
        console.shows("fio: round 1 is right\n"),
        "{}",
        console.text()
    );
    assert!(!console.text().contains("FAILED"), "{}", console.text());
    checked
}

#[test]
fn disks_come_and_go_under_writes_and_lose_none_that_was_acknowledged() {
    // `cargo xtask storm` asks for more.
    let cycles = std::env::var("PLINTH_STORM_CYCLES");
    let cycles = cycles.map_or(SHORT_STORM, |cycles| cycles.parse().unwrap());
    let checked = storm(cycles);
    println!("{cycles} disks came and went, {checked} acknowledged records were there");
}

#[test]
fn a_disk_that_is_attached_twice_or_unknown_changes_nothing() {
    let (vm, console) =
        start("while ! [ -b /dev/vda ]; do sleep 0.05; done; echo there; sleep 1000");
    let disk = DiskFile::empty(MIB);
    attach(&vm, &disk, "data");
    let other = File::open(disk.path()).unwrap();
    let twice = vm.attach(DeviceConfig::Block(BlockConfig {
        file: other,
        id: "data".parse().unwrap(),
        options: DiskOptions {
            read_only: true,
            ..DiskOptions::default()
        },
        key: None,
        limits: None,
        volume: None,
    }));
    let twice = twice.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Configuration);
    assert!(twice.to_string().contains("'data'"), "{twice}");
    let unknown = vm.detach(name("dta"), PATIENCE).unwrap_err();
    assert!(unknown.to_string().contains("there are data"), "{unknown}");
    assert!(console.shows("there"), "{}", console.text());
    assert_eq!(vm.describe().unwrap().devices.len(), 1);
}

/// What a guest says of its disks whenever there is one more or one less, and of how
/// many BARs it found no place for.
const COUNT_DISKS: &str = "have=-1; while :; do \
     n=$(ls /sys/block | grep -c ^vd); \
     [ $n = $have ] || echo disks: $n, $(dmesg | grep -c 'failed to assign') nowhere; \
     have=$n; sleep 0.05; done";

#[test]
fn every_slot_can_be_given_a_device_while_the_guest_runs() {
    let (vm, console) = start(COUNT_DISKS);
    assert!(console.shows("disks: 0, 0 nowhere\n"), "{}", console.text());
    let room = TransportKind::Pci.room() - vm.describe().unwrap().devices.len();
    let disks: Vec<DiskFile> = (0..room).map(|_| DiskFile::empty(MIB)).collect();
    for (number, disk) in disks.iter().enumerate() {
        attach(&vm, disk, &format!("disk-{number}"));
    }
    // The guest has them, and not only the machine; with their ports, or they would be
    // slow.
    let all = format!("disks: {room}, 0 nowhere\n");
    assert!(console.shows(&all), "{}", console.text());
    let error = vm.attach(block(&DiskFile::empty(MIB), "more")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    for number in 0..room {
        vm.detach(name(&format!("disk-{number}")), PATIENCE)
            .unwrap();
    }
    assert!(
        console.shows_after(&all, "disks: 0, 0 nowhere\n"),
        "{}",
        console.text()
    );
}
