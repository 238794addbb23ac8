use super::*;
use crate::error::Error;
use crate::memory::ram::{Backing, MemoryConfig, allocate};
use boot::MemoryLayout;
use boot::layout::{GIB, HIGH_RAM, MIB};
use std::io::Write;
use std::os::unix::fs::FileExt;

const PAGE: u64 = 4096;
const BASE: u64 = 16 * MIB;
const PAGES: u64 = 3;
/// Not whole pages, as no kernel is.
const LEN: u64 = PAGES * PAGE + 123;

fn memory(bytes: u64, backing: Backing, prefault: bool) -> MemoryConfig {
    MemoryConfig {
        layout: MemoryLayout::new(bytes).unwrap(),
        backing,
        transparent_huge_pages: None,
        prefault,
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap()
}

fn contents() -> Vec<u8> {
    (1..=250).cycle().take(size(LEN)).collect()
}

fn file() -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&contents()).unwrap();
    file
}

fn kernel(address: u64, offset: u64, length: u64) -> Segment {
    Segment {
        name: "kernel",
        address,
        length: length.saturating_add(2 * PAGE),
        content: Content::Kernel { offset, length },
    }
}

fn files(kernel: &File) -> Files<'_> {
    Files {
        kernel,
        initrd: None,
    }
}

fn bytes(ram: &Ram, address: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; size(len)];
    ram.read_slice(&mut bytes, GuestAddress(address)).unwrap();
    bytes
}

/// Every way in which bytes get into memory.
fn ways() -> [MemoryConfig; 3] {
    [
        memory(64 * MIB, Backing::Anonymous, false),
        memory(64 * MIB, Backing::Anonymous, true),
        memory(64 * MIB, Backing::Shared, false),
    ]
}

#[test]
fn a_file_s_bytes_are_in_place_and_zeros_before_and_after_them() {
    let file = file();
    for memory in ways() {
        for (address, offset) in [(BASE, 0), (BASE, PAGE), (BASE + 7, 0), (BASE, 9)] {
            let ram = allocate(&memory).unwrap();
            let length = LEN - offset;
            let segments = [kernel(address, offset, length)];
            load(&segments, &files(&file), &ram).unwrap();
            let expected = &contents()[size(offset)..];
            assert_eq!(bytes(&ram, address, length), expected);
            assert_eq!(bytes(&ram, address - PAGE, PAGE), vec![0; size(PAGE)]);
            let after = bytes(&ram, address + length, 2 * PAGE);
            assert_eq!(after, vec![0; 2 * size(PAGE)], "{memory:?} {offset}");
        }
    }
}

#[test]
fn an_initrd_and_made_bytes_are_put_where_they_belong() {
    let initrd = file();
    for memory in ways() {
        let ram = allocate(&memory).unwrap();
        let segments = [
            Segment {
                name: "command line",
                address: 0x2_0000,
                length: 5,
                content: Content::Bytes(b"quiet".to_vec()),
            },
            Segment {
                name: "initrd",
                address: 32 * MIB,
                length: LEN,
                content: Content::Initrd { length: LEN },
            },
        ];
        let files = Files {
            kernel: &initrd,
            initrd: Some(&initrd),
        };
        load(&segments, &files, &ram).unwrap();
        assert_eq!(bytes(&ram, 0x2_0000, 6), b"quiet\0");
        assert_eq!(bytes(&ram, 32 * MIB, LEN), contents());
    }
}

#[test]
fn content_may_lie_above_4_gib() {
    let file = file();
    let memory = memory(4 * GIB, Backing::Anonymous, false);
    let ram = allocate(&memory).unwrap();
    let segments = [kernel(HIGH_RAM + MIB, 0, LEN)];
    load(&segments, &files(&file), &ram).unwrap();
    assert_eq!(bytes(&ram, HIGH_RAM + MIB, LEN), contents());
}

#[test]
fn what_a_guest_writes_never_reaches_the_file_nor_another_guest() {
    let file = file();
    let memory = memory(64 * MIB, Backing::Anonymous, false);
    let segments = [kernel(BASE, 0, LEN)];
    let guests = [allocate(&memory).unwrap(), allocate(&memory).unwrap()];
    for ram in &guests {
        load(&segments, &files(&file), ram).unwrap();
    }
    let scribble = vec![0xee; size(LEN)];
    guests[0]
        .write_slice(&scribble, GuestAddress(BASE))
        .unwrap();
    assert_eq!(bytes(&guests[0], BASE, LEN), scribble);
    assert_eq!(bytes(&guests[1], BASE, LEN), contents());
    let mut kept = vec![0; size(LEN)];
    file.read_exact_at(&mut kept, 0).unwrap();
    assert_eq!(kept, contents());
}

#[test]
fn a_file_that_shrank_after_it_was_planned_is_refused() {
    let file = file();
    for len in [LEN - 1, PAGE, 0] {
        file.set_len(len).unwrap();
        for memory in ways() {
            let ram = allocate(&memory).unwrap();
            let segments = [kernel(BASE, 0, LEN)];
            let error = load(&segments, &files(&file), &ram).unwrap_err();
            let Error::Load { what, source } = error else {
                panic!("{error}");
            };
            assert_eq!(what, "kernel");
            assert_eq!(source.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}

#[test]
fn prefaulted_memory_stays_anonymous() {
    // Otherwise the pages that were allocated are given back, and others
    // have to be found while the guest runs.
    let file = file();
    let memory = memory(64 * MIB, Backing::Anonymous, true);
    let ram = allocate(&memory).unwrap();
    load(&[kernel(BASE, 0, LEN)], &files(&file), &ram).unwrap();
    file.set_len(0).unwrap();
    assert_eq!(bytes(&ram, BASE, LEN), contents());
}

#[test]
fn content_outside_memory_or_beyond_any_file_is_refused() {
    let file = file();
    for memory in ways() {
        let ram = allocate(&memory).unwrap();
        for segment in [
            kernel(64 * MIB - PAGE, 0, LEN),
            kernel(u64::MAX - PAGE + 1, 0, LEN),
            kernel(BASE, u64::MAX - PAGE + 1, PAGE),
            kernel(BASE, PAGE, u64::MAX - 1),
        ] {
            let result = load(&[segment], &files(&file), &ram);
            assert!(matches!(result, Err(Error::Load { .. })));
        }
    }
}
