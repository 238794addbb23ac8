//! Bodies of requests, as they are sent.

use std::time::Duration;

use boot::CpuCount;
use serde::{Deserialize, Serialize};

use crate::device_name::DeviceName;

/// No fields.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// How a device is to go.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Detach {
    /// How long the guest has to let go of it.
    #[serde(default)]
    pub(super) deadline_ms: Deadline,
}

/// How the machine is to stop.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stop {
    /// How long the guest has to shut down.
    #[serde(default)]
    pub(super) deadline_ms: Deadline,
}

/// Which volumes are to keep what they hold. The files of their freezes come
/// with the request, in this order: of each `freeze`, then `kept`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Freeze {
    pub(super) devices: Vec<DeviceName>,
}

/// That they do.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Frozen {
    /// For how long their requests were held back.
    pub(super) pause_us: u64,
}

/// How many vCPUs the guest is to have.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cpus {
    pub(super) count: Count,
}

/// What the balloon should hold.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Balloon {
    pub(super) target_bytes: u64,
}

/// How much memory the guest is to have in all.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    pub(super) bytes: u64,
}

/// How long a disk is to be, or how long it is.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Size {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
}

/// A number of vCPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub(super) struct Count(CpuCount);

/// How long something may take, in milliseconds: an hour at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub(super) struct Deadline(u64);

impl Deadline {
    const MAX: u64 = 3_600_000;
}

impl Default for Deadline {
    /// What a guest needs to shut down, and some more.
    fn default() -> Self {
        Self(30_000)
    }
}

/// More than an hour.
#[derive(Debug, thiserror::Error)]
#[error("{0} ms are more than an hour ({max} ms); give less", max = Deadline::MAX)]
pub(super) struct TooLong(u64);

impl TryFrom<u64> for Deadline {
    type Error = TooLong;

    fn try_from(milliseconds: u64) -> Result<Self, TooLong> {
        match milliseconds {
            0..=Self::MAX => Ok(Self(milliseconds)),
            _ => Err(TooLong(milliseconds)),
        }
    }
}

impl From<Deadline> for u64 {
    fn from(deadline: Deadline) -> Self {
        deadline.0
    }
}

impl From<Deadline> for Duration {
    fn from(deadline: Deadline) -> Self {
        Self::from_millis(deadline.0)
    }
}

impl TryFrom<u64> for Count {
    type Error = boot::Error;

    fn try_from(count: u64) -> Result<Self, boot::Error> {
        CpuCount::new(count).map(Self)
    }
}

impl From<Count> for u64 {
    fn from(count: Count) -> Self {
        count.0.get().into()
    }
}

impl From<Count> for CpuCount {
    fn from(count: Count) -> Self {
        count.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::body::Body;
    use serde::de::DeserializeOwned;

    fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        let body = Body::parse(text.as_bytes()).unwrap();
        body.read().map_err(|failure| {
            let document = serde_json::to_value(failure.document()).unwrap();
            document["error"]["field"].as_str().unwrap().to_owned()
        })
    }

    #[test]
    fn a_deadline_has_a_default_and_an_end() {
        let stop = |milliseconds| Stop {
            deadline_ms: Deadline(milliseconds),
        };
        assert_eq!(read(""), Ok(stop(30_000)));
        assert_eq!(read(r#"{"deadline_ms":0}"#), Ok(stop(0)));
        for bad in [
            "-1",
            "3600001",
            "18446744073709551616",
            "1.5",
            "\"1\"",
            "null",
        ] {
            let text = format!("{{\"deadline_ms\":{bad}}}");
            assert_eq!(read::<Stop>(&text), Err("deadline_ms".into()), "{bad}");
        }
    }

    #[test]
    fn vcpus_are_one_at_least_and_not_too_many() {
        let four = Count(CpuCount::new(4).unwrap());
        assert_eq!(read(r#"{"count":4}"#), Ok(Cpus { count: four }));
        for bad in ["0", "-1", "65", "1e3"] {
            let text = format!("{{\"count\":{bad}}}");
            assert_eq!(read::<Cpus>(&text), Err("count".into()), "{bad}");
        }
        assert_eq!(read::<Cpus>("{}"), Err("count".into()));
    }
}
