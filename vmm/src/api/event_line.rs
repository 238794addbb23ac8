//! An event as one line of JSON.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::timestamp::rfc3339;

/// What a client hears instead of events that it has missed.
pub(super) const LOST: &str = "lost";

/// What a client reads. Which fields there are depends on the event.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventLine {
    /// What happened.
    event: String,
    /// When, by the host's clock.
    time: String,
    /// Which device came, went, waits or goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// Why the machine stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The same for a person; or why a device waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// How many events this client has missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

impl EventLine {
    fn new(event: &str, time: SystemTime) -> Self {
        Self {
            event: event.into(),
            time: rfc3339(time),
            device: None,
            reason: None,
            message: None,
            count: None,
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(&self).expect("text and numbers");
        bytes.push(b'\n');
        bytes
    }
}

/// `event`, which happened at `time`.
pub(super) fn line(event: &Event, time: SystemTime) -> Vec<u8> {
    let mut line = EventLine::new(event.name(), time);
    match event {
        Event::DeviceAttached(name) | Event::DeviceDetached(name) | Event::DeviceGoesOn(name) => {
            line.device = Some(name.to_string());
        }
        Event::DeviceWaits { device, reason } => {
            line.device = Some(device.to_string());
            line.message = Some(reason.clone());
        }
        Event::Stopped(reason) => {
            line.reason = Some(reason.name().into());
            line.message = Some(reason.to_string());
        }
        _ => {}
    }
    line.into_bytes()
}

/// `count` events could not be told to this client.
pub(super) fn lost(count: u64, time: SystemTime) -> Vec<u8> {
    let line = EventLine {
        count: Some(count),
        ..EventLine::new(LOST, time)
    };
    line.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::StopReason;
    use std::time::UNIX_EPOCH;

    #[test]
    fn each_event_is_one_line_with_its_time() {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert_eq!(
            text(line(&Event::Paused, UNIX_EPOCH)),
            "{\"event\":\"paused\",\"time\":\"1970-01-01T00:00:00.000Z\"}\n"
        );
        assert_eq!(
            text(line(&Event::Stopped(StopReason::PowerOff), UNIX_EPOCH)),
            "{\"event\":\"stopped\",\"time\":\"1970-01-01T00:00:00.000Z\",\
             \"reason\":\"power-off\",\"message\":\"the guest powered off\"}\n"
        );
        assert!(text(lost(7, UNIX_EPOCH)).ends_with("\"count\":7}\n"));
    }
}
