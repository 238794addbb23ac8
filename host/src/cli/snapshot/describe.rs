//! A snapshot as JSON: what is recorded of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use volume::id::SnapshotId;

use crate::error::Error;
use crate::option::duration::for_a_person;
use crate::snapshot::manifest::Header;
use crate::snapshot::record::Record;

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
        }),
        Err(error) => json!({
            "id": id.to_string(),
            "state": "damaged",
            "reason": error.report(),
        }),
    }
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

/// How long ago it was taken.
pub(super) fn age(document: &Value) -> Option<String> {
    let created = Duration::from_secs(document["created"].as_u64()?);
    let created = UNIX_EPOCH.checked_add(created)?;
    let age = SystemTime::now().duration_since(created).ok()?;
    Some(for_a_person(age))
}
