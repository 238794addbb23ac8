//! A snapshot as JSON: what is recorded of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use volume::id::SnapshotId;

use crate::error::Error;
use crate::option::duration::for_a_person;
use crate::snapshot::manifest::Header;
use crate::snapshot::record::Record;
use crate::snapshot::under_way::UnderWay;
use crate::volume::encryption::Encryption;

/// Snapshot `id`, or why it is damaged.
pub(super) fn describe(id: SnapshotId, record: &Result<Record, Error>) -> Value {
    match record {
        Ok(record) => json!({
            "id": id.to_string(),
            "state": record.state,
            "volume": record.volume.to_string(),
            "volume_name": record.volume_name,
            "size_bytes": record.size,
            "data_bytes": record.data_bytes,
            "stored_bytes": record.stored_bytes,
            "created": record.created,
            "description": record.description,
            "encrypted": record.encryption.is_some(),
            "encryption": encryption(record),
        }),
        Err(error) => json!({
            "id": id.to_string(),
            "state": "damaged",
            "reason": error.report(),
        }),
    }
}

/// With what it is encrypted, and where the key was.
fn encryption(record: &Record) -> Option<String> {
    let encryption = serde_json::from_value::<Encryption>(record.encryption.clone()?);
    Some(encryption.map_or_else(
        |_| "in a way that this plinth does not know".to_owned(),
        |encryption| encryption.to_string(),
    ))
}

/// The same, with what its manifest says.
pub(super) fn describe_whole(record: Record, header: &Header) -> Value {
    let mut document = describe(record.id, &Ok(record));
    document["generation"] = header.generation.number().into();
    document["parent"] = match header.parent {
        Some((parent, _)) => parent.to_string().into(),
        None => Value::Null,
    };
    document
}

/// One that is not stored yet.
pub(super) fn describe_under_way(snapshot: &UnderWay) -> Value {
    let record = snapshot.volume.record();
    let plan = snapshot.pending.header.as_ref().map(|header| &header.plan);
    let mut document = json!({
        "id": snapshot.id().to_string(),
        "state": if snapshot.is_whole { "pending" } else { "failed" },
        "volume": record.id.to_string(),
        "volume_name": record.name,
        "created": plan.map(|plan| plan.created),
        "encrypted": record.encryption.is_some(),
        "encryption": record.encryption.as_ref().map(ToString::to_string),
    });
    if let Ok(progress) = snapshot.progress() {
        document["blocks"] = progress.blocks.into();
        document["stored_blocks"] = progress.stored.into();
    }
    let trouble = snapshot.trouble();
    if !trouble.is_empty() {
        document["reason"] = trouble.into();
    }
    document
}

/// In which state it is, for a person.
pub(super) fn state(document: &Value) -> String {
    let state = document["state"].as_str().unwrap_or_default();
    let number = |field: &str| document[field].as_u64();
    match (number("blocks"), number("stored_blocks")) {
        (Some(blocks), Some(stored)) => {
            let percent = (stored * 100).checked_div(blocks).unwrap_or(100);
            format!("{state}, {percent} %")
        }
        _ => state.into(),
    }
}

/// How long ago it was taken.
pub(super) fn age(document: &Value) -> Option<String> {
    let created = Duration::from_secs(document["created"].as_u64()?);
    let created = UNIX_EPOCH.checked_add(created)?;
    let age = SystemTime::now().duration_since(created).ok()?;
    Some(for_a_person(age))
}
