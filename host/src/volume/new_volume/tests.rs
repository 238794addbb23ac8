use super::super::fixture::{Fixture, MIB, report};
use super::*;
use std::os::unix::fs::MetadataExt;
use std::thread;

#[test]
fn a_new_volume_is_sparse_private_and_as_large_as_it_says() {
    let f = Fixture::new();
    let volume = f.make("root");
    let data = fs::metadata(volume.data()).unwrap();
    assert_eq!((data.len(), data.blocks()), (2 * MIB, 0));
    assert_eq!(data.mode() & 0o777, 0o600);
    assert_eq!(f.find("root").unwrap().record(), volume.record());
    let id = volume.record().id.to_string();
    assert_eq!(f.find(&id).unwrap().name(), volume.name());
}

#[test]
fn a_name_is_given_once() {
    let f = Fixture::new();
    let slower = f.begin("root").unwrap();
    let first = f.make("root");
    for refused in [report(slower.finish()), report(f.begin("root"))] {
        assert!(
            refused.contains("there is a volume 'root' already"),
            "{refused}"
        );
    }
    assert_eq!(f.find("root").unwrap().record(), first.record());
    assert_eq!(f.entries(), ["root"]);
}

#[test]
fn of_many_who_want_a_name_at_once_one_gets_it() {
    let f = Fixture::new();
    let made = thread::scope(|scope| {
        let one = || f.begin("root").and_then(NewVolume::finish).is_ok();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        let made = threads.into_iter().map(|thread| thread.join().unwrap());
        made.filter(|made| *made).count()
    });
    assert_eq!(made, 1);
    assert_eq!(f.entries(), ["root"]);
}

#[test]
fn what_a_crash_left_is_swept_and_what_is_being_made_is_not() {
    let f = Fixture::new();
    let being_made = f.begin("slow").unwrap();
    for left in [".new-crashed", ".gone-half"] {
        let directory = f.directory.path().join("volumes").join(left);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("data"), "x").unwrap();
    }
    f.make("root");
    assert_eq!(f.entries().len(), 2);
    being_made.finish().unwrap();
    assert_eq!(f.entries(), ["root", "slow"]);
}

#[test]
fn a_volume_that_is_given_up_leaves_nothing() {
    let f = Fixture::new();
    drop(f.begin("root").unwrap());
    assert!(f.entries().is_empty());
    assert!(report(f.find("root")).contains("there is no volume 'root', and no other"));
}
