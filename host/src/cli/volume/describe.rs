//! A volume as JSON: what is recorded of it, and who uses it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::error::Error;
use crate::volume::blocks::Loaded;
use crate::volume::copies;
use crate::volume::directory::Volume;
use crate::volume::name::VolumeName;
use crate::volume::usage::{Usage, User};

/// `volume`, which is called `name`, or why it cannot be used.
pub(super) fn describe(name: &VolumeName, volume: &Result<Volume, Error>) -> Value {
    match volume {
        Ok(volume) => whole(volume),
        Err(error) => json!({"name": name, "state": "damaged", "reason": error.report()}),
    }
}

fn whole(volume: &Volume) -> Value {
    let record = volume.record();
    let snapshots = record.snapshots.iter().map(|taken| {
        json!({
            "snapshot": taken.snapshot.to_string(),
            "generation": taken.generation.number(),
        })
    });
    let mut document = json!({
        "name": record.name,
        "id": record.id.to_string(),
        "serial": record.id.serial(),
        "size_bytes": record.size.bytes(),
        "used_bytes": used(volume),
        "created": record.created,
        "type": record.speed.kind(),
        "iops": record.speed.iops(),
        "throughput_mib": record.speed.throughput(),
        "origin": record.origin.map(|origin| origin.to_string()),
        "store": record.store,
        "copy_of": record.copy_of.map(|source| source.to_string()),
        "snapshots": snapshots.collect::<Value>(),
        "encrypted": record.encryption.is_some(),
        "encryption": record.encryption.as_ref().map(ToString::to_string),
        "directory": volume.directory(),
    });
    match Usage::of(volume) {
        Ok(Usage::Available) => document["state"] = "available".into(),
        // Who only loads it makes way for others.
        Ok(usage) if usage.is_loading() => {
            document["state"] = "available".into();
        }
        Ok(Usage::InUse(users)) => {
            document["state"] = "in-use".into();
            document["users"] = users.iter().map(user).collect();
        }
        Err(error) => {
            document["state"] = "damaged".into();
            document["reason"] = format!("its data cannot be looked at: {error}").into();
        }
    }
    add_copying(&mut document, volume);
    document
}

/// How much of it is there, and which volumes are copied from it.
fn add_copying(document: &mut Value, volume: &Volume) {
    if let Ok(false) = volume.is_loaded() {
        // Somebody may be writing to the map.
        document["loaded_percent"] = json!(volume.loaded().ok().map(Loaded::percent));
    }
    if let Ok(copies) = volume.needed_copies() {
        document["copies"] = json!(copies::names(&copies));
    }
}

fn user(user: &User) -> Value {
    match user {
        User::Machine(name) => json!({"vm": name}),
        User::Loader(holder) | User::Process(holder) => {
            json!({"pid": holder.pid(), "process": holder.to_string()})
        }
    }
}

/// Bytes of the host's disk that its data take.
fn used(volume: &Volume) -> Option<u64> {
    // What a block of stat(2) has, whatever the file system's have.
    const UNIT: u64 = 512;
    Some(fs::metadata(volume.data()).ok()?.blocks() * UNIT)
}

/// Its state in a word, with who uses it.
pub(super) fn state(document: &Value) -> String {
    let mut state = document["state"].as_str().unwrap_or_default().to_owned();
    if let Some(percent) = document["loaded_percent"].as_u64() {
        state += &format!(" ({percent} % loaded)");
    }
    let users = document["users"].as_array().into_iter().flatten();
    let names = users.filter_map(|user| user["vm"].as_str().or(user["process"].as_str()));
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        state
    } else {
        format!("{state}: {}", names.join(", "))
    }
}
