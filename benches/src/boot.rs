//! Measuring how peers boot: times, exits, system calls, memory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::benchmark::Benchmark;
use crate::float::float;
use crate::guest::{END_WORDS, IDLE_WORDS};
use crate::known::{Known, tallies};
use crate::peer::{Aspect, Guest, Peer};
use crate::probe::{BootPlan, Plan, Sample, Tally};
use crate::report::{Figure, Mode, Outcome, Report, Unit};
use crate::testbed::Testbed;
use crate::traces;
use crate::watch::{more_memory, probing};

/// How many of each kind of exits and calls are shown.
const SHOWN: usize = 12;

/// What all peers boot, and where.
#[derive(Clone, Debug)]
pub struct BootBench {
    /// Where.
    pub testbed: Testbed,
    /// What is shown of it.
    pub view: View,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// More words for the guest's kernel.
    pub words: String,
    /// Where to write the trace and the console of each peer's boots.
    pub traces: Option<PathBuf>,
}

/// What is shown of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All in sum.
    Boot,
    /// Exits and system calls, by reason and name.
    Exits,
}

/// The figures of a boot: what they are called, what they are, in what.
const FIGURES: [(&str, &str, Unit); 10] = [
    (
        "first-entry",
        "exec to the first guest instruction",
        Unit::Nanoseconds,
    ),
    ("init", "exec to the first line of init", Unit::Nanoseconds),
    ("end", "exec to the end", Unit::Nanoseconds),
    ("exits", "VM exits", Unit::Count),
    ("user-exits", "  of these to user space", Unit::Count),
    ("system-calls", "system calls", Unit::Count),
    (
        "start-calls",
        "  of these before the guest runs",
        Unit::Count,
    ),
    (
        "memory-pss",
        "memory of the VMM (PSS), guest idle",
        Unit::Kibibytes,
    ),
    (
        "memory-private",
        "  of it not shared with anyone",
        Unit::Kibibytes,
    ),
    ("guest-memory", "guest memory in use", Unit::Kibibytes),
];

impl Benchmark for BootBench {
    fn name(&self) -> &'static str {
        match self.view {
            View::Boot => "boot",
            View::Exits => "exits",
        }
    }

    fn aspect(&self) -> Aspect {
        Aspect::Boot
    }

    fn figures(&self, outcomes: &[Outcome]) -> Vec<Figure> {
        match self.view {
            View::Boot => FIGURES
                .map(|(name, title, unit)| Figure::less(name, title, unit))
                .into(),
            View::Exits => counted(outcomes),
        }
    }

    fn parameters(&self) -> Vec<String> {
        let boots = match self.testbed.mode {
            Mode::Deterministic => {
                "each run boots three times: once to warm up, and for the memory of the idle \
                 monitor; once for the times, next to untraced; once traced, for the counts"
            }
            Mode::WallClock => {
                "each run boots twice: once traced, for the first instruction and the memory of \
                 the idle monitor; once untraced, for the other times. Nothing is counted by \
                 the clock"
            }
        };
        vec![
            format!("a guest with 1 vCPU and {} MiB of memory", self.memory_mib),
            boots.to_owned(),
        ]
    }

    fn measure(&self, peer: &Peer, program: &Path) -> Result<Outcome> {
        let command_line = peer.command_line(&self.words);
        let mut outcome = Outcome::of(peer, program, command_line);
        let scratch = tempfile::tempdir().context("making a scratch directory")?;
        let guest = Guest {
            memory_mib: self.memory_mib,
            ..self.testbed.guest(program, scratch.path())?
        };
        let launch = |words: &str| {
            let command_line = peer.command_line(&format!("{words} {}", self.words));
            peer.launch(&Guest {
                command_line,
                ..guest.clone()
            })
        };
        let (boot, idle) = (launch(END_WORDS)?, launch(IDLE_WORDS)?);
        let known = Known::of(&self.testbed, &mut outcome.notes);
        let plan = BootPlan {
            raw_trace: self.traces.is_some(),
            ..known.plan(&idle, &boot)
        };
        let mut run = probing(&self.testbed, program, &Plan::Boot(plan))?;
        run.files = [boot.files, idle.files].concat();
        run.environment = boot.environment;
        run.memory_mib += more_memory(self.memory_mib);
        let finished = self.testbed.run(run, &mut outcome.stalls)?;
        let sample = traces::sample(&finished, self.traces.as_deref(), peer.name)?;
        add(&mut outcome, &sample, &known);
        outcome.raw.push(serde_json::to_value(&sample)?);
        outcome.notes.extend(breakdown(&sample));
        Ok(outcome)
    }
}

/// The exits and calls of the boots in `report`, by reason and by name.
pub fn exits(report: &Report) -> Report {
    Report {
        benchmark: "exits".to_owned(),
        figures: counted(&report.outcomes),
        ..report.clone()
    }
}

/// The sample in figures.
fn add(outcome: &mut Outcome, sample: &Sample, known: &Known) {
    for (name, value) in known.figures(sample) {
        outcome.add(name, None, float(value));
    }
    if known.counted {
        for (kind, tally) in tallies(sample) {
            for (what, count) in &tally.0 {
                outcome.add(&format!("{kind}/{what}"), None, float(*count));
            }
        }
    }
}

/// The figures of exits and calls in sum, and beneath each sum what it consists
/// of: what any peer has most of first.
fn counted(outcomes: &[Outcome]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (kind, title, _) in FIGURES {
        let prefix = format!("{kind}/");
        let all = outcomes.iter().flat_map(|outcome| &outcome.measured);
        let mut parts: Vec<(&str, f64)> = Vec::new();
        for one in all {
            let Some(what) = one.figure.strip_prefix(&prefix) else {
                continue;
            };
            let most = one.samples.iter().copied().fold(0.0, f64::max);
            match parts.iter_mut().find(|(name, _)| *name == what) {
                Some((_, count)) => *count = count.max(most),
                None => parts.push((what, most)),
            }
        }
        if parts.is_empty() {
            continue;
        }
        parts.sort_by(|one, other| other.1.total_cmp(&one.1));
        figures.push(Figure::less(kind, title.trim(), Unit::Count));
        let parts = parts.into_iter().take(SHOWN);
        figures.extend(parts.map(|(what, _)| {
            Figure::less(
                &format!("{prefix}{what}"),
                &format!("  {what}"),
                Unit::Count,
            )
        }));
    }
    figures
}

/// What a boot's counts consist of, a line for each kind.
fn breakdown(sample: &Sample) -> Vec<String> {
    let line = |(kind, tally): (&str, &Tally)| {
        let ranked = tally.ranked();
        if ranked.is_empty() {
            return None;
        }
        let shown = ranked.iter().take(SHOWN);
        let shown: Vec<_> = shown
            .map(|(what, count)| format!("{what} {count}"))
            .collect();
        let more = ranked.len().saturating_sub(SHOWN);
        let rest = if more > 0 {
            format!(", {more} more")
        } else {
            String::new()
        };
        Some(format!("{kind}: {}{rest}", shown.join(", ")))
    };
    tallies(sample).into_iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(io: u64) -> Sample {
        let mut sample = Sample {
            init_ns: 5,
            ..Sample::default()
        };
        for _ in 0..io {
            sample.exits.add("io");
        }
        sample.exits.add("npf");
        sample.system_calls.add("ioctl");
        sample
    }

    #[test]
    fn exits_are_shown_by_reason_those_first_of_which_anyone_has_most() {
        let outcomes = [0, 3].map(|io| {
            let mut outcome = Outcome::default();
            add(&mut outcome, &sample(io), &known(true));
            outcome
        });
        let figures = counted(&outcomes);
        let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
        let expected = [
            "exits",
            "exits/io",
            "exits/npf",
            "system-calls",
            "system-calls/ioctl",
        ];
        assert_eq!(names, expected);
        let exits = outcomes[1].summary("exits", None).unwrap();
        assert!((exits.median - 4.0).abs() < 1e-9);
    }

    fn known(counted: bool) -> Known {
        Known {
            tracing: None,
            counted,
        }
    }

    #[test]
    fn what_was_not_traced_or_counted_is_no_figure() {
        let names = |known: Known| {
            let mut outcome = Outcome::default();
            add(&mut outcome, &sample(1), &known);
            let names = outcome.measured.into_iter().map(|one| one.figure);
            names.collect::<Vec<_>>()
        };
        assert_eq!(names(known(false)), ["init", "end"]);
        let by_the_clock = Known {
            tracing: Some("/tracing".to_owned()),
            ..known(false)
        };
        let expected = [
            "init",
            "end",
            "first-entry",
            "memory-pss",
            "memory-private",
            "guest-memory",
        ];
        assert_eq!(names(by_the_clock), expected);
    }
}
