//! What the probe is asked to measure and what it answers, as JSON between the
//! host and the deterministic machine.

use serde::{Deserialize, Serialize};

/// What the probe measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Plan {
    /// How long a guest that writes is held back while its volume is
    /// snapshotted.
    Pause(PausePlan),
    /// How long a guest waits for a block that is still in a snapshot.
    Touch(TouchPlan),
    /// How long it takes until there is a volume made from a snapshot.
    Creation(CreationPlan),
}

/// A volume that is snapshotted while a guest writes to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PausePlan {
    /// The volume's size in bytes.
    pub size: u64,
    /// The guest writes to this much of it, from its beginning.
    pub written: u64,
    /// How many snapshots are taken.
    pub snapshots: u32,
}

/// A volume made from a snapshot, and read in a guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TouchPlan {
    /// Blocks of the volume. All are read.
    pub blocks: u32,
}

/// Snapshots of volumes of which volumes are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreationPlan {
    /// The volumes' sizes in bytes.
    pub sizes: Vec<u64>,
    /// In how many blocks of a volume that is not empty something is.
    pub blocks: u32,
    /// How many volumes are made of each snapshot.
    pub times: u32,
}

/// What came of a [`PausePlan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pauses {
    /// For how long the guest's requests were held back, in microseconds, as
    /// the machine's process says; one for each snapshot.
    pub pauses_us: Vec<u64>,
    /// How long `plinth snapshot create` took, in microseconds.
    pub commands_us: Vec<u64>,
    /// What the guest saw before the first snapshot.
    pub before: Writes,
    /// What it saw while they were taken and stored.
    pub during: Writes,
}

/// What a guest saw of its writes: 4 KiB anywhere, 32 at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Writes {
    /// Writes in a second.
    pub operations: f64,
    /// From submission to completion, in microseconds, on average.
    pub mean_us: f64,
    /// The longest, in microseconds.
    pub longest_us: f64,
}

/// What came of a [`TouchPlan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Touches {
    /// For each block, in nanoseconds, as the guest saw it: read first.
    pub first_ns: Vec<u64>,
    /// And again, when it was loaded.
    pub again_ns: Vec<u64>,
}

/// Volumes made from one snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Creations {
    /// The volume's size in bytes.
    pub size: u64,
    /// Blocks of it that are in the snapshot.
    pub blocks: u32,
    /// How long `plinth volume create` took, in microseconds.
    pub commands_us: Vec<u64>,
}
