use super::*;
use crate::error::Error;
use crate::snapshot::digest::Digest;
use crate::snapshot::store::{Trouble, contract};
use std::thread;

fn name() -> Name {
    Name::Chunk(Digest::of(b"abc"))
}

#[test]
fn a_directory_keeps_objects() {
    let directory = tempfile::tempdir().unwrap();
    contract::keeps_objects(&Directory::new(directory.path().join("a/b")));
}

#[test]
fn a_directory_can_be_emptied_while_it_is_listed() {
    let directory = tempfile::tempdir().unwrap();
    contract::can_be_emptied_while_it_is_listed(&Directory::new(directory.path().into()));
}

#[test]
fn what_a_killed_writer_left_is_swept_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let store = Directory::new(directory.path().into());
    store.put(&name(), Object::Bytes(b"abc")).unwrap();
    fs::write(directory.path().join("tmp/.tmpABC"), "half a chu").unwrap();
    let swept = store.sweep().unwrap();
    assert_eq!((swept.objects, swept.bytes), (1, 10));
    assert_eq!(store.sweep().unwrap(), Freed::default());
    assert_eq!(store.read(&name(), 10).unwrap(), b"abc");
}

#[test]
fn files_of_others_are_no_objects() {
    let directory = tempfile::tempdir().unwrap();
    let store = Directory::new(directory.path().into());
    store.put(&name(), Object::Bytes(b"abc")).unwrap();
    for file in ["chunks/README", "chunks/ba/README", "chunks/ba/x.json"] {
        fs::write(directory.path().join(file), "").unwrap();
    }
    let mut count = 0;
    let mut each = |_, _| {
        count += 1;
        Ok(())
    };
    store.list(Kind::Chunk, &mut each).unwrap();
    assert_eq!(count, 1);
}

#[test]
fn of_many_who_write_one_name_one_does() {
    let directory = tempfile::tempdir().unwrap();
    let store = Directory::new(directory.path().into());
    let stored = thread::scope(|scope| {
        let write = || store.put(&name(), Object::Bytes(b"abc")).unwrap();
        let writers: Vec<_> = (0..8).map(|_| scope.spawn(write)).collect();
        let puts = writers.into_iter().map(|writer| writer.join().unwrap());
        puts.filter(|put| *put == Put::Stored).count()
    });
    assert_eq!(stored, 1);
    assert_eq!(
        fs::read_dir(directory.path().join("tmp")).unwrap().count(),
        0
    );
}

#[test]
fn a_store_that_is_a_file_is_a_clear_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = Directory::new(file.path().into());
    let error = Error::from(store.put(&name(), Object::Bytes(b"abc")).unwrap_err());
    let report = error.report();
    assert!(
        report.contains(&format!("snapshot store '{}'", file.path().display())),
        "{report}"
    );
    assert!(report.contains("cannot write chunks/ba/ba7816"), "{report}");
    assert!(report.contains("Not a directory"), "{report}");
}

#[test]
fn a_full_store_is_told_as_such() {
    let full = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
    let error = StoreError::new("'/s'", "cannot write x".into(), full);
    assert_eq!(error.trouble, Trouble::Full);
    let report = Error::from(error).report();
    assert!(report.contains("No space left on device"), "{report}");
    assert!(report.contains("plinth snapshot collect"), "{report}");
}
