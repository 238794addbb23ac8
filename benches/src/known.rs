//! What is known of a boot that the probe watches: its times always, and what else the
//! testbed can tell.

use crate::guest::{FIRST_LINE, IDLE_LINE, LAST_LINE};
use crate::peer::Launch;
use crate::probe::{BootPlan, Memory, Sample, Tally};
use crate::report::Mode;
use crate::testbed::Testbed;

/// What is known besides times.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Where the kernel's tracing is, by which the first entry and the memory of the
    /// idle monitor are known.
    pub(crate) tracing: Option<String>,
    /// Whether what it did is counted.
    pub(crate) counted: bool,
}

impl Known {
    /// In `testbed`. What is not known there is said in `notes`.
    pub(crate) fn of(testbed: &Testbed, notes: &mut Vec<String>) -> Self {
        let tracing = testbed.tracing();
        if let Err(why) = &tracing {
            let note = format!("first instruction and memory were not measured: {why}");
            notes.push(note);
        }
        Self {
            tracing: tracing.ok(),
            counted: testbed.mode == Mode::Deterministic,
        }
    }

    /// Has the probe find it out, with a guest that idles and one that ends.
    pub(crate) fn plan(&self, idle: &Launch, boot: &Launch) -> BootPlan {
        BootPlan {
            idle: idle.argv.clone(),
            idle_line: IDLE_LINE.to_owned(),
            boot: boot.argv.clone(),
            first_line: FIRST_LINE.to_owned(),
            last_line: LAST_LINE.to_owned(),
            counted: self.counted,
            tracing: self.tracing.clone(),
            undisturbed: !self.counted,
            raw_trace: false,
        }
    }

    /// The figures of `sample`, by their names.
    pub(crate) fn figures(&self, sample: &Sample) -> Vec<(&'static str, u64)> {
        let mut figures = vec![("init", sample.init_ns), ("end", sample.end_ns)];
        if self.tracing.is_some() {
            figures.push(("first-entry", sample.first_entry_ns));
            figures.extend(memory(&sample.memory));
        }
        if self.counted {
            figures.extend(tallies(sample).map(|(kind, tally)| (kind, tally.sum())));
        }
        figures
    }
}

/// The figures of an idle monitor's memory, in KiB.
pub(crate) fn memory(memory: &Memory) -> [(&'static str, u64); 3] {
    [
        ("memory-pss", memory.pss_kib),
        ("memory-private", memory.private_kib),
        ("guest-memory", memory.guest_kib),
    ]
}

/// What was counted by name.
pub(crate) fn tallies(sample: &Sample) -> [(&'static str, &Tally); 4] {
    [
        ("exits", &sample.exits),
        ("user-exits", &sample.user_exits),
        ("system-calls", &sample.system_calls),
        ("start-calls", &sample.start_calls),
    ]
}
