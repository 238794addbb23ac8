//! How long a guest that writes is held back while its volume is snapshotted.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::volume::{FASTEST, PausePlan, Pauses, Writes};

use crate::guest::Guest;
use crate::plinth::{micros, plinth, plinth_json};

/// For how long the guest writes before the first snapshot, and from then on.
const BEFORE: Duration = Duration::from_secs(1);
const DURING: Duration = Duration::from_secs(3);

/// From one snapshot to the next, and until the guest writes again.
const REST: Duration = Duration::from_millis(300);

/// The fields of fio's terse output that are wanted (fio(1), version 3): name,
/// error; of writes operations/s, the longest and the mean latency in
/// microseconds, from submission on.
const FIELDS: &str = "3,5,49,80,81";

pub(crate) fn measure(plan: &PausePlan) -> Result<Pauses> {
    plinth(&format!(
        "volume create data --size {} {FASTEST}",
        plan.size
    ))?;
    // Half of its memory is for files, and fio's are 100 MiB, twice at first.
    let mut guest = Guest::boot("data", "512M", &script(plan))?;
    let before = guest.wait_for(|line| writes("before", line))?;
    let start = Instant::now();
    thread::sleep(REST);
    let mut pauses = Pauses {
        pauses_us: Vec::new(),
        commands_us: Vec::new(),
        before,
        during: before,
    };
    for _ in 0..plan.snapshots {
        let (answer, took) = plinth_json("snapshot create data")?;
        let pause = answer["pause_us"].as_object();
        let pause = pause.and_then(|all| all.values().next()?.as_u64());
        pauses
            .pauses_us
            .push(pause.context("no machine was paused")?);
        pauses.commands_us.push(micros(took));
        thread::sleep(REST);
    }
    ensure!(
        start.elapsed() < DURING,
        "the guest may have ceased to write before the last snapshot"
    );
    pauses.during = guest.wait_for(|line| writes("during", line))?;
    guest.wait_for_end()?;
    Ok(pauses)
}

fn script(plan: &PausePlan) -> String {
    format!(
        "w() {{ fio --name=$1 --filename=/dev/vda --size={} --rw=randwrite --bs=4k --direct=1 \
         --ioengine=libaio --iodepth=32 --norandommap --random_generator=tausworthe64 \
         --time_based --runtime=$2 --output-format=terse --terse-version=3 --eta=never | \
         cut -d\\; -f{FIELDS}; }}; w before {}; w during {}",
        plan.written,
        BEFORE.as_secs(),
        DURING.as_secs()
    )
}

/// What fio says of `job`, if it did not fail.
fn writes(job: &str, line: &str) -> Option<Writes> {
    let fields: Vec<&str> = line.trim_end().split(';').collect();
    let [name, "0", operations, longest, mean] = fields[..] else {
        return None;
    };
    let number = |text: &str| text.parse::<f64>().ok();
    let writes = Writes {
        operations: number(operations)?,
        mean_us: number(mean)?,
        longest_us: number(longest)?,
    };
    (name == job).then_some(writes)
}
