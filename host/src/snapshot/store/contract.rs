//! What every store does, whatever it is made of.

use std::io::{Read, Seek, Write};

use volume::id::SnapshotId;

use super::{Kind, Name, Object, Put, Store, Trouble};
use crate::snapshot::digest::Digest;

fn chunk(seed: u8) -> Name {
    Name::Chunk(Digest::of(&[seed]))
}

fn listed(store: &dyn Store, kind: Kind) -> Vec<(Name, u64)> {
    let mut found = Vec::new();
    let mut each = |name, bytes| {
        found.push((name, bytes));
        Ok(())
    };
    store.list(kind, &mut each).unwrap();
    found.sort();
    found
}

/// Goes through all of it with an empty store.
pub(super) fn keeps_objects(store: &dyn Store) {
    let id: SnapshotId = "snap-00000000000000abc".parse().unwrap();
    nothing_is_in_an_empty_store(store);

    let stored = store.put(&chunk(1), Object::Bytes(b"first")).unwrap();
    assert_eq!(stored, Put::Stored);
    let again = store.put(&chunk(1), Object::Bytes(b"second")).unwrap();
    assert_eq!(again, Put::AlreadyThere);
    assert_eq!(store.read(&chunk(1), 100).unwrap(), b"first");
    assert_eq!(store.read(&chunk(1), 5).unwrap(), b"first");
    assert_eq!(store.read(&chunk(1), 3).unwrap(), b"firs");
    assert!(store.exists(&chunk(1)).unwrap());

    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[7; 300_000]).unwrap();
    file.rewind().unwrap();
    store.put(&Name::Manifest(id), Object::File(&file)).unwrap();
    store.put(&Name::Record(id), Object::Bytes(b"{}")).unwrap();
    let mut bytes = Vec::new();
    let mut reader = store.open(&Name::Manifest(id)).unwrap();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(bytes == [7; 300_000]);
    drop(reader);
    store.settle().unwrap();

    let manifests = listed(store, Kind::Manifest);
    assert_eq!(manifests, [(Name::Manifest(id), 300_000)]);
    assert_eq!(listed(store, Kind::Record), [(Name::Record(id), 2)]);
    assert_eq!(listed(store, Kind::Chunk), [(chunk(1), 5)]);

    assert!(store.delete(&chunk(1)).unwrap());
    assert!(!store.delete(&chunk(1)).unwrap());
    assert!(!store.exists(&chunk(1)).unwrap());
    store.settle().unwrap();
    store.sweep().unwrap();
    assert_eq!(listed(store, Kind::Record).len(), 1);
}

fn nothing_is_in_an_empty_store(store: &dyn Store) {
    assert!(!store.exists(&chunk(1)).unwrap());
    assert_eq!(listed(store, Kind::Chunk), []);
    let error = store.read(&chunk(1), 100).unwrap_err();
    assert_eq!(error.trouble, Trouble::Missing, "{error}");
    let error = store.open(&chunk(1)).err().unwrap();
    assert_eq!(error.trouble, Trouble::Missing, "{error}");
    store.settle().unwrap();
    store.sweep().unwrap();
}

/// What is removed while it is listed.
pub(super) fn can_be_emptied_while_it_is_listed(store: &dyn Store) {
    let names: Vec<Name> = (0..25u32)
        .map(|number| Name::Chunk(Digest::of(&number.to_le_bytes())))
        .collect();
    for name in &names {
        store.put(name, Object::Bytes(b"x")).unwrap();
    }
    assert_eq!(listed(store, Kind::Chunk).len(), names.len());
    let mut each = |name, _| store.delete(&name).map(|_| ());
    store.list(Kind::Chunk, &mut each).unwrap();
    assert_eq!(listed(store, Kind::Chunk), []);
}
