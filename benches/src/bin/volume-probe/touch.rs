//! How long a guest waits for a block that is still in a snapshot.

use anyhow::{Context, Result, ensure};
use benches::volume::place::CONTENT;
use benches::volume::{FASTEST, TouchPlan, Touches};

use crate::guest::Guest;
use crate::plinth::{plinth, plinth_json};

pub(crate) fn measure(plan: &TouchPlan) -> Result<Touches> {
    plinth(&format!("volume import source --format raw {CONTENT}"))?;
    let (answer, _) = plinth_json("snapshot create source --wait")?;
    let id = answer["snapshots"][0]["id"].as_str();
    let id = id.context("a snapshot has an id")?;
    plinth(&format!("volume create lazy --from {id} {FASTEST}"))?;
    // Twice in the same order. Next to nothing is loaded but what is asked for.
    let script = format!(
        "t() {{ guest touch /dev/vda {} 512K 1; }}; t; t",
        plan.blocks
    );
    let mut guest = Guest::boot("lazy,load-rate=1", "256M", &script)?;
    let touches = Touches {
        first_ns: guest.wait_for(latencies)?,
        again_ns: guest.wait_for(latencies)?,
    };
    guest.wait_for_end()?;
    let all = usize::try_from(plan.blocks)?;
    let counts = [touches.first_ns.len(), touches.again_ns.len()];
    ensure!(counts == [all; 2], "the guest read {counts:?} blocks");
    Ok(touches)
}

/// What `guest touch` says.
fn latencies(line: &str) -> Option<Vec<u64>> {
    let told = line.trim_end().strip_prefix("touch: /dev/vda ns ")?;
    told.split(' ').map(|one| one.parse().ok()).collect()
}
