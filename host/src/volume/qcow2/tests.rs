use super::*;
use proptest::prelude::*;
use std::os::unix::fs::MetadataExt;

const LENGTH: u64 = 4 << 20;

fn sparse() -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(LENGTH).unwrap();
    file
}

/// A disk with data here and there.
fn disk() -> File {
    let disk = sparse();
    for (at, byte) in [(0, 1), (1 << 20, 2), (LENGTH - 700, 3)] {
        disk.write_all_at(&[byte; 700], at).unwrap();
    }
    disk
}

fn content(file: &File) -> Vec<u8> {
    let length = file.metadata().unwrap().len();
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn progress() -> Progress {
    Progress::new("testing", LENGTH)
}

/// An image of [`disk`], as a file.
fn image() -> File {
    let file = tempfile::tempfile().unwrap();
    write(
        &Plaintext::new(&disk(), None),
        file.try_clone().unwrap(),
        LENGTH,
        &progress(),
    )
    .unwrap();
    file
}

#[test]
fn an_image_holds_what_was_written_and_no_zeroes() {
    let file = image();
    assert!(file.metadata().unwrap().len() < LENGTH / 4);
    let image = Image::open(file).unwrap();
    assert_eq!(image.size(), LENGTH);
    let copy = sparse();
    image
        .copy_to(&Plaintext::new(&copy, None), &progress())
        .unwrap();
    assert!(content(&copy) == content(&disk()));
    assert!(copy.metadata().unwrap().blocks() * 512 < LENGTH / 4);
}

#[test]
fn what_is_no_image_is_refused() {
    for bytes in [&b""[..], b"QF", b"QFI\xfa and more", b"\x55\xaa"] {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        assert!(matches!(Image::open(file), Err(BadImage::Other)));
    }
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(b"QFI\xfb and no header", 0).unwrap();
    assert!(matches!(Image::open(file), Err(BadImage::Unreadable(_))));
}

#[test]
fn an_image_that_names_another_file_does_not_have_it_opened() {
    // The name lies in the header's cluster, behind its extensions
    // (docs/interop/qcow2.rst: backing_file_offset, backing_file_size).
    let (file, name) = (image(), b"/etc/hostname");
    file.write_all_at(name, 4096).unwrap();
    file.write_all_at(&4096_u64.to_be_bytes(), 8).unwrap();
    file.write_all_at(&13_u32.to_be_bytes(), 16).unwrap();
    let refused = Image::open(file).unwrap_err();
    assert!(
        matches!(&refused, BadImage::Backing(name) if name == "/etc/hostname"),
        "{refused}"
    );

    // Incompatible feature 2: an external data file.
    let file = image();
    file.write_all_at(&4_u64.to_be_bytes(), 72).unwrap();
    let refused = Image::open(file).unwrap_err();
    assert!(matches!(refused, BadImage::DataFile), "{refused}");
}

#[test]
fn an_image_of_any_claimed_size_is_opened_in_little_memory_or_refused() {
    let file = image();
    file.write_all_at(&u64::MAX.to_be_bytes(), 24).unwrap();
    if let Ok(image) = Image::open(file) {
        assert_eq!(image.size(), u64::MAX);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_image_is_read_or_refused(damage in prop::collection::vec((0..300_000_u64, any::<u8>()), 1..8)) {
        let file = image();
        for (at, byte) in damage {
            // The size is checked by who makes the volume.
            if !(24..32).contains(&at) {
                file.write_all_at(&[byte], at).unwrap();
            }
        }
        if let Ok(image) = Image::open(file) {
            let _ = image.copy_to(&Plaintext::new(&sparse(), None), &progress());
        }
    }
}
