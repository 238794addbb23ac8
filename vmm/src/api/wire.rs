//! Bodies of requests, as they are sent.

use serde::{Deserialize, Serialize};

/// No fields.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}
