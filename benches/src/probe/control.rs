//! Operating a monitor while its guest runs.

use serde::{Deserialize, Serialize};

use super::Request;

/// A monitor to be operated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ControlPlan {
    /// The command whose guest prints `idle_line`, then waits for devices and
    /// prints the line of each as it has it.
    pub command: Vec<String>,
    /// What the guest prints when it is idle.
    pub idle_line: String,
    /// The monitor's socket.
    pub socket: String,
    /// A question that changes nothing.
    pub question: Request,
    /// How often to ask before it counts, and how often then.
    pub times: [u32; 2],
    /// What to attach, in order.
    pub attachments: Vec<Attachment>,
}

/// A device to be attached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// What is asked, one after the other.
    pub requests: Vec<Request>,
    /// What the guest prints when it has the device.
    pub line: String,
}

/// What was measured, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// As `answers` and `connected` are, of the questions before those, which warm up.
    pub warm_up: [Vec<u64>; 2],
    /// From each question to its answer, on one connection.
    pub answers: Vec<u64>,
    /// The same with a connection for each question.
    pub connected: Vec<u64>,
    /// Of each attachment, from the first request: to the last answer, and to the
    /// guest's line.
    pub attached: Vec<[u64; 2]>,
}
