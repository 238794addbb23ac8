use super::super::fixture::{Fixture, report};
use super::*;
use ::volume::entry::State;

use super::super::new_volume::NewVolume;
use super::super::record::Record;

#[test]
fn an_image_never_takes_the_place_of_a_file() {
    let f = Fixture::new();
    let path = f.directory.path().join("precious");
    fs::write(&path, "precious").unwrap();
    let refused = report(export(&mut f.make("root"), &path, Format::Raw, None));
    assert!(refused.contains("is there already"), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let nowhere = f.directory.path().join("missing/disk.img");
    let refused = report(export(
        &mut f.find("root").unwrap(),
        &nowhere,
        Format::Raw,
        None,
    ));
    assert!(
        refused.contains("cannot be written: No such file"),
        "{refused}"
    );
}

#[test]
fn what_a_guest_may_write_to_is_not_exported() {
    let f = Fixture::new();
    let mut volume = f.make("root");
    let _writer = volume.open(Access::Exclusive, false).unwrap();
    let path = f.directory.path().join("disk.img");
    let refused = report(export(&mut volume, &path, Format::Raw, None));
    assert!(refused.contains("is in use by process"), "{refused}");
    assert!(!path.exists());
}

#[test]
fn a_volume_that_is_not_loaded_yet_is_not_exported() {
    let f = Fixture::new();
    let like = f.make("like").record().clone();
    let record = Record::new("lazy".parse().unwrap(), like.size, like.speed).unwrap();
    let new = NewVolume::begin(&f.volumes, record, State::Absent).unwrap();
    let path = f.directory.path().join("disk.img");
    let refused = report(export(&mut new.finish().unwrap(), &path, Format::Raw, None));
    assert!(
        refused.contains("is not loaded from its snapshot yet"),
        "{refused}"
    );
    assert!(!path.exists());
}
