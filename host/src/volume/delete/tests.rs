use super::super::fixture::{Fixture, report};
use super::*;
use crate::boot_id;
use crate::volume::freezing::freeze_at_rest;
use ::volume::freeze::Plan;
use ::volume::id::SnapshotId;

fn delete(f: &Fixture, name: &str) -> Result<(), Error> {
    super::delete(&f.volumes, &name.parse().unwrap())
}

#[test]
fn a_volume_is_deleted_by_name_or_id_and_once() {
    let f = Fixture::new();
    f.make("one");
    let two = f.make("two").record().id.to_string();
    delete(&f, "one").unwrap();
    assert!(report(delete(&f, "one")).contains("try: one of two"));
    delete(&f, &two).unwrap();
    assert!(report(delete(&f, &two)).contains("and no other"));
    assert!(f.entries().is_empty());
}

#[test]
fn a_volume_in_use_stays() {
    let f = Fixture::new();
    for (name, access) in [("a", Access::Exclusive), ("b", Access::Shared)] {
        let mut volume = f.make(name);
        let _used = volume.open(access, false).unwrap();
        assert!(report(delete(&f, name)).contains("is in use by process"));
        assert_eq!(f.find(name).unwrap().record(), volume.record());
    }
}

#[test]
fn a_volume_with_a_snapshot_that_is_only_here_stays() {
    let f = Fixture::new();
    let volume = f.make("root");
    let snapshot: SnapshotId = "snap-0123456789abcdef0".parse().unwrap();
    let plan = Plan {
        purpose: snapshot.into(),
        volume: volume.record().id,
        created: 0,
        boot: boot_id::read().unwrap(),
        parent: None,
    };
    let pending = volume.plan_freeze(snapshot, &plan).unwrap();
    freeze_at_rest(&volume, &pending).unwrap();
    let refused = report(delete(&f, "root"));
    assert!(
        refused.contains("not stored yet, snap-0123456789abcdef0"),
        "{refused}"
    );
    fs::remove_file(pending.freeze()).unwrap();
    fs::write(pending.freeze(), "what a crash left").unwrap();
    delete(&f, "root").unwrap();
}

#[test]
fn a_damaged_volume_harms_no_other_and_can_be_deleted() {
    let f = Fixture::new();
    let damaged = f.make("damaged");
    f.make("good");
    fs::write(damaged.directory().join("volume.json"), "{").unwrap();
    let all = f.volumes.all().unwrap();
    let states: Vec<_> = all
        .iter()
        .map(|(name, v)| (name.as_str(), v.is_ok()))
        .collect();
    assert_eq!(states, [("damaged", false), ("good", true)]);
    let refused = report(f.find("damaged"));
    assert!(
        refused.contains("volume.json is not understood: EOF"),
        "{refused}"
    );
    fs::remove_file(damaged.data()).unwrap();
    delete(&f, "damaged").unwrap();
    assert_eq!(f.entries(), ["good"]);
}
