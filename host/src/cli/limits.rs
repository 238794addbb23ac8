//! Limits as the control socket has them.

use serde_json::{Map, Value};
use vmm::Limits;

/// `limits` as a JSON object; what is not limited has no field.
pub(super) fn document(limits: Limits) -> Value {
    let mut document = Map::new();
    if let Some(operations) = limits.operations() {
        document.insert("operations_per_second".into(), operations.rate().into());
        document.insert("operations_burst".into(), operations.burst().into());
    }
    if let Some(bytes) = limits.bytes() {
        document.insert("bytes_per_second".into(), bytes.rate().into());
        document.insert("bytes_burst".into(), bytes.burst().into());
    }
    Value::Object(document)
}
