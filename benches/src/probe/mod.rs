//! What the `monitor-probe` binary is asked to measure and what it answers, as
//! JSON between the host and the machine in which monitors run.

mod boot;
mod control;
mod density;
mod request;

use serde::{Deserialize, Serialize};

pub use boot::{BootPlan, Memory, Sample, Tally};
pub use control::{Attachment, ControlPlan, Latencies};
pub use density::{DensityPlan, Started, Starts};
pub use request::{Descriptor, Request};

/// What the probe measures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Plan {
    /// How a guest boots; the answer is a [`Sample`].
    Boot(BootPlan),
    /// How many guests start in a second, and what they take; the answer is
    /// [`Starts`].
    Density(DensityPlan),
    /// How soon a monitor answers, and how soon its guest has a device; the
    /// answer is [`Latencies`].
    Control(ControlPlan),
}
