//! Running a deterministic machine until it does not stall. Every benchmark
//! comes here.

use anyhow::{Context, Result, bail};
use outer::{Deterministic, ErrorKind, Finished};

/// A machine that stalled is tried again this often at most.
const RETRIES: u32 = 3;

/// Runs `machine` to its end, and adds to `stalls`. A stall repeats unless
/// something about the machine changes: here its memory and its seed.
pub(crate) fn run(machine: &Deterministic, stalls: &mut u32) -> Result<Finished> {
    for attempt in 0..=RETRIES {
        let machine = Deterministic {
            memory_mib: machine.memory_mib + 64 * attempt,
            seed: machine.seed + u64::from(attempt),
            ..machine.clone()
        };
        match machine.run() {
            Err(error) if error.kind() == ErrorKind::Stuck => *stalls += 1,
            Err(error) if attempt > 0 => {
                return Err(error).with_context(|| format!("after {attempt} that stalled"));
            }
            finished => return Ok(finished?),
        }
    }
    bail!("the deterministic machine stalled {} times", RETRIES + 1)
}
