use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::error::Error as _;
use std::fs;

/// As another command has written it.
fn encryption() -> Encryption {
    let saved = json!({
        "cipher": "aes-256-xts",
        "wrapping": "aes-256-key-wrap",
        "wrapped_key": "0f".repeat(72),
        "wrapping_key": { "file": "/etc/plinth.key" },
        "wrapping_key_check": "f0".repeat(8),
    });
    serde_json::from_value(saved).unwrap()
}

fn record() -> Record {
    let size = VolumeSize::new(20 << 30).unwrap();
    let speed = Speed::new(Asked::default()).unwrap();
    let taken = |number| Taken {
        snapshot: SnapshotId::random().unwrap(),
        generation: Generation::new(number).unwrap(),
    };
    Record {
        origin: Some(SnapshotId::random().unwrap()),
        store: Some("s3://bucket/prefix".into()),
        copy_of: Some(VolumeId::random().unwrap()),
        snapshots: vec![taken(1), taken(2)],
        encryption: Some(encryption()),
        ..Record::new("root".parse().unwrap(), size, speed).unwrap()
    }
}

/// The record's JSON with `field` changed, and why it is refused.
fn refused(field: &str, value: Value) -> String {
    let mut json = json!(Saved::from(&record()));
    json[field] = value;
    let error = Record::parse(json.to_string().as_bytes()).unwrap_err();
    let source = error.source().map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut record = record();
    record.write(directory.path()).unwrap();
    assert_eq!(Record::read(directory.path()).unwrap(), record);
    record.origin = None;
    record.write(directory.path()).unwrap();
    assert_eq!(Record::read(directory.path()).unwrap(), record);
}

#[test]
fn a_record_of_the_first_format_is_no_copy_s() {
    let mut json = json!(Saved::from(&record()));
    json["format"] = json!(1);
    let fields = json.as_object_mut().unwrap();
    fields.remove("copy_of");
    fields.remove("store");
    let read = Record::parse(json.to_string().as_bytes()).unwrap();
    assert_eq!((read.copy_of, read.store), (None, None));
}

#[test]
fn a_record_that_is_none_is_refused_with_the_reason() {
    for (field, value, why) in [
        ("format", json!(3), "has format 3, and this plinth knows"),
        ("id", json!("vol-1"), "'vol-1' is no id"),
        ("name", json!("../x"), "the name does not do: a volume's"),
        (
            "size",
            json!(0),
            "the size does not do: 0 bytes are too few",
        ),
        ("size", json!(-1), "not understood: invalid value"),
        ("speed", json!({"iops": 1}), "the speed does not do: 1 IOPS"),
        ("speed", json!({"color": 1}), "unknown field `color`"),
        ("origin", json!("vol-0123456789abcdef0"), "is no id"),
        ("copy_of", json!("snap-0123456789abcdef0"), "is no id"),
        ("color", json!("red"), "unknown field `color`"),
        (
            "snapshots",
            json!([{"snapshot": "snap-0123456789abcdef0"}]),
            "missing field",
        ),
    ] {
        let reason = refused(field, value);
        assert!(reason.contains(why), "{field}: {reason}");
    }
}

#[test]
fn snapshots_out_of_order_are_refused() {
    let taken =
        |generation: u64| json!({"snapshot": "snap-0123456789abcdef0", "generation": generation});
    for generations in [[1, 1], [2, 1], [1, 1 << 30]] {
        let reason = refused("snapshots", json!(generations.map(taken)));
        assert!(reason.contains("is out of order"), "{reason}");
    }
}

#[test]
fn a_file_of_any_length_is_read_in_part_only() {
    let directory = tempfile::tempdir().unwrap();
    let missing = Record::read(directory.path()).unwrap_err();
    assert!(matches!(missing, BadRecord::Unreadable(_)));
    let file = File::create(directory.path().join(FILE)).unwrap();
    file.set_len(1 << 40).unwrap();
    let long = Record::read(directory.path()).unwrap_err();
    assert!(matches!(long, BadRecord::Long), "{long}");
    fs::write(directory.path().join(FILE), "[".repeat(1 << 20)).unwrap();
    let deep = Record::read(directory.path()).unwrap_err();
    assert!(matches!(deep, BadRecord::Json(_)), "{deep}");
}

proptest! {
    #[test]
    fn a_record_that_was_cut_or_changed_is_refused_or_valid(at: usize, byte: u8, cut: bool) {
        let mut text = serde_json::to_vec(&Saved::from(&record())).unwrap();
        let at = at % text.len();
        if cut {
            text.truncate(at);
            prop_assert!(Record::parse(&text).is_err());
        } else {
            text[at] = byte;
            if let Ok(read) = Record::parse(&text) {
                let again = serde_json::to_vec(&Saved::from(&read)).unwrap();
                prop_assert_eq!(Record::parse(&again).unwrap(), read);
            }
        }
    }
}
