use super::super::export::export;
use super::super::fixture::{Fixture, MIB, report};
use super::super::speed::Asked;
use super::*;
use std::fs;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use devices::block::lock::{Access, lock};

/// An image of 3 MiB with a few bytes in it.
fn raw(f: &Fixture) -> PathBuf {
    let path = f.directory.path().join("disk.img");
    let file = File::create(&path).unwrap();
    file.set_len(3 * MIB).unwrap();
    file.write_all_at(b"guest", 2 * MIB).unwrap();
    path
}

fn import_as(
    f: &Fixture,
    name: &str,
    image: &Path,
    format: Format,
    size: Option<u64>,
) -> Result<Volume, Error> {
    let import = Import {
        name: name.parse().unwrap(),
        size: size.map(|size| VolumeSize::new(size).unwrap()),
        speed: Speed::new(Asked::default()).unwrap(),
        image,
        encryption: None,
        format,
    };
    super::import(&f.volumes, import)
}

#[test]
fn what_is_imported_is_exported_alike_in_either_format() {
    let f = Fixture::new();
    let image = raw(&f);
    let mut volume = import_as(&f, "first", &image, Format::Raw, None).unwrap();
    let qcow2 = f.directory.path().join("disk.qcow2");
    export(&mut volume, &qcow2, Format::Qcow2, None).unwrap();
    let mut again = import_as(&f, "again", &qcow2, Format::Qcow2, None).unwrap();
    let back = f.directory.path().join("back.img");
    export(&mut again, &back, Format::Raw, None).unwrap();
    assert!(fs::read(back).unwrap() == fs::read(image).unwrap());
    let entries = fs::read_dir(f.directory.path()).unwrap();
    assert_eq!(entries.count(), 4, "an unfinished image was left");
}

#[test]
fn a_volume_may_be_larger_than_its_image_and_not_smaller() {
    let f = Fixture::new();
    let image = raw(&f);
    let volume = import_as(&f, "large", &image, Format::Raw, Some(8 * MIB)).unwrap();
    let data = fs::read(volume.data()).unwrap();
    assert_eq!(data.len() as u64, 8 * MIB);
    assert_eq!(&data[2 << 20..(2 << 20) + 5], b"guest");
    let refused = report(import_as(&f, "small", &image, Format::Raw, Some(2 * MIB)));
    assert!(
        refused.contains("has 3145728 bytes, and does not fit into 2 MiB"),
        "{refused}"
    );
}

#[test]
fn an_image_of_no_volume_s_size_needs_one_named() {
    let f = Fixture::new();
    let image = f.directory.path().join("odd.img");
    fs::write(&image, "x").unwrap();
    let refused = report(import_as(&f, "odd", &image, Format::Raw, None));
    assert!(
        refused.contains("1 bytes are too few") && refused.contains("--size"),
        "{refused}"
    );
    let volume = import_as(&f, "odd", &image, Format::Raw, Some(MIB)).unwrap();
    assert_eq!(fs::read(volume.data()).unwrap()[..2], *b"x\0");
}

#[test]
fn a_format_is_never_guessed() {
    let f = Fixture::new();
    let refused = report(import_as(&f, "a", &raw(&f), Format::Qcow2, None));
    assert!(
        refused.contains("does not begin as a qcow2 image does"),
        "{refused}"
    );
    assert!(refused.contains("try: --format raw"), "{refused}");
    let qcow2 = f.directory.path().join("disk.qcow2");
    export(&mut f.make("b"), &qcow2, Format::Qcow2, None).unwrap();
    let size = Some(2 * MIB);
    let volume = import_as(&f, "c", &qcow2, Format::Raw, size).unwrap();
    assert!(fs::read(volume.data()).unwrap().starts_with(b"QFI\xfb"));
}

#[test]
fn an_image_that_cannot_be_read_leaves_no_volume() {
    let f = Fixture::new();
    let image = raw(&f);
    let missing = import_as(&f, "a", Path::new("/nonexistent"), Format::Raw, None);
    assert!(report(missing).contains("image '/nonexistent' cannot be opened: No such file"));
    let directory = import_as(&f, "a", f.directory.path(), Format::Raw, None);
    assert!(report(directory).contains("is not a regular file"));
    let file = File::options().read(true).write(true).open(&image).unwrap();
    lock(&file, Access::Exclusive).unwrap();
    let used = report(import_as(&f, "a", &image, Format::Raw, None));
    assert!(used.contains("is in use by process"), "{used}");
    assert!(f.volumes.all().unwrap().is_empty());
}
