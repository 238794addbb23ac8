use super::super::fixture::{Fixture, MIB, report};
use std::fs;
use std::os::unix::fs::symlink;
use std::thread;

use devices::block::lock::{Access, is_locked};

#[test]
fn a_writer_has_a_volume_alone_and_readers_share_it() {
    let f = Fixture::new();
    let mut volume = f.make("root");
    let _writer = volume.open(Access::Exclusive, false).unwrap();
    for access in [Access::Exclusive, Access::Shared] {
        let refused = report(volume.open(access, false));
        let me = format!("volume 'root' is in use by process {}", std::process::id());
        assert!(refused.contains(&me), "{refused}");
    }
    let mut volume = f.make("shared");
    let _reader = volume.open(Access::Shared, false).unwrap();
    let another = volume.open(Access::Shared, false).unwrap();
    assert!(is_locked(&another).unwrap());
    report(volume.open(Access::Exclusive, false));
}

#[test]
fn of_many_who_want_a_volume_at_once_one_gets_it() {
    let f = Fixture::new();
    let volume = f.make("root");
    let open = || volume.clone().open(Access::Exclusive, false).ok();
    let held: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        let held = threads.into_iter().map(|thread| thread.join().unwrap());
        held.collect()
    });
    assert_eq!(held.iter().flatten().count(), 1);
}

#[test]
fn a_volume_that_was_cut_is_refused_with_what_is_lost() {
    let f = Fixture::new();
    let mut volume = f.make("root");
    let data = fs::OpenOptions::new()
        .write(true)
        .open(volume.data())
        .unwrap();
    data.set_len(MIB).unwrap();
    let refused = report(volume.open(Access::Exclusive, false));
    assert!(refused.contains("of 2 MiB, 1 MiB are left"), "{refused}");
    assert!(refused.contains("truncate -s 2097152 "), "{refused}");
}

#[test]
fn a_volume_that_was_lengthened_to_no_size_is_refused() {
    let f = Fixture::new();
    let mut volume = f.make("root");
    let data = fs::OpenOptions::new()
        .write(true)
        .open(volume.data())
        .unwrap();
    data.set_len(2 * MIB + 7).unwrap();
    let refused = report(volume.open(Access::Exclusive, false));
    assert!(
        refused.contains("lengthened behind plinth's back"),
        "{refused}"
    );
    assert!(refused.contains("truncate -s 2097152"), "{refused}");
}

#[test]
fn a_map_of_another_volume_or_none_is_refused() {
    let f = Fixture::new();
    let (mut volume, other) = (f.make("root"), f.make("other"));
    fs::copy(other.map(), volume.map()).unwrap();
    let refused = report(volume.open(Access::Shared, false));
    assert!(
        refused.contains(&format!("is {}'s", other.record().id)),
        "{refused}"
    );
    fs::write(volume.map(), "").unwrap();
    let refused = report(volume.open(Access::Shared, false));
    assert!(
        refused.contains("map of its blocks cannot be read"),
        "{refused}"
    );
}

#[test]
fn data_that_is_no_file_of_the_volume_s_is_refused() {
    let f = Fixture::new();
    let mut volume = f.make("root");
    fs::remove_file(volume.data()).unwrap();
    let refused = report(volume.open(Access::Shared, false));
    assert!(refused.contains("its data is missing"), "{refused}");
    symlink("/dev/zero", volume.data()).unwrap();
    let refused = report(volume.open(Access::Shared, false));
    assert!(refused.contains("not a regular file"), "{refused}");
}

#[test]
fn a_volume_that_was_deleted_meanwhile_is_not_opened() {
    let f = Fixture::new();
    let mut volume = f.make("root");
    fs::remove_dir_all(volume.directory()).unwrap();
    let refused = report(volume.open(Access::Shared, false));
    assert!(refused.contains("was deleted meanwhile"), "{refused}");
}
