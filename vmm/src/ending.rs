//! How a machine ended, as its process leaves it for whoever looks later.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::event::StopReason;
use crate::timestamp::rfc3339;

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// A [`StopReason`]'s name, or `failed` if the machine never ran.
    pub reason: String,
    /// The same for a person: one or more lines.
    pub message: String,
    /// The process's exit status.
    pub status: u8,
    /// When, as RFC 3339 has it.
    pub time: String,
}

impl Ending {
    /// A machine that ran and stopped just now.
    pub fn stopped(reason: &StopReason, status: u8) -> Self {
        Self {
            reason: reason.name().into(),
            message: reason.to_string(),
            status,
            time: rfc3339(SystemTime::now()),
        }
    }

    /// A machine that could not be run.
    pub fn failed(message: String, status: u8) -> Self {
        Self {
            reason: "failed".into(),
            message,
            status,
            time: rfc3339(SystemTime::now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_can_be_read_back() {
        let ending = Ending::stopped(&StopReason::PowerOff, 0);
        assert_eq!(ending.reason, "power-off");
        let text = serde_json::to_string(&ending).unwrap();
        assert_eq!(serde_json::from_str::<Ending>(&text).unwrap(), ending);
        assert_eq!(Ending::failed("no KVM".into(), 3).reason, "failed");
    }
}
