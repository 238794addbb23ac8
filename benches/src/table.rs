//! The figures as a table for people, one column a peer.

use std::fmt::Write;

use crate::boot::Outcome;
use crate::sample::Sample;

/// How many of each breakdown's lines are shown.
const SHOWN: usize = 12;

/// A row: what it says, and how the figure is had from a sample.
type Row = (&'static str, fn(&Sample) -> String);

const ROWS: [Row; 10] = [
    ("to first guest instruction", |s| ms(s.first_entry_ns)),
    ("to first line of init", |s| ms(s.init_ns)),
    ("to end", |s| ms(s.end_ns)),
    ("VM exits", |s| s.exits.sum().to_string()),
    ("  to user space", |s| s.user_exits.sum().to_string()),
    ("system calls", |s| s.system_calls.sum().to_string()),
    ("  before the guest runs", |s| {
        s.start_calls.sum().to_string()
    }),
    ("memory, PSS", |s| mib(s.memory.pss_kib)),
    ("memory, private", |s| mib(s.memory.private_kib)),
    ("guest memory in use", |s| mib(s.memory.guest_kib)),
];

/// The table of `outcomes`, each peer's last run.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!("{:28}", "");
    for outcome in outcomes {
        write!(text, "{:>18}", outcome.peer).expect("a String takes everything");
    }
    for (name, figure) in ROWS {
        write!(text, "\n{name:28}").expect("a String takes everything");
        for outcome in outcomes {
            let figure = outcome.samples.last().map_or(String::new(), figure);
            write!(text, "{figure:>18}").expect("a String takes everything");
        }
    }
    text
}

/// What a peer's counts consist of.
pub fn breakdown(outcome: &Outcome) -> String {
    let Some(sample) = outcome.samples.last() else {
        return String::new();
    };
    let mut text = String::new();
    for (what, tally) in [
        ("exits", &sample.exits),
        ("exits to user space", &sample.user_exits),
        ("system calls", &sample.system_calls),
        ("system calls before the guest runs", &sample.start_calls),
    ] {
        let ranked = tally.ranked();
        let line: Vec<_> = ranked
            .iter()
            .take(SHOWN)
            .map(|(what, count)| format!("{what} {count}"))
            .collect();
        let more = ranked.len().saturating_sub(SHOWN);
        let rest = if more > 0 {
            format!(", {more} more")
        } else {
            String::new()
        };
        writeln!(text, "{} {what}: {}{rest}", outcome.peer, line.join(", "))
            .expect("a String takes everything");
    }
    text
}

/// How far the times of a peer's runs are apart, as a part of the whole.
pub fn spread(outcome: &Outcome) -> f64 {
    let times: [fn(&Sample) -> u64; 3] = [|s| s.first_entry_ns, |s| s.init_ns, |s| s.end_ns];
    let apart = |of: fn(&Sample) -> u64| {
        let of_all = || outcome.samples.iter().map(of);
        let (low, high) = (of_all().min()?, of_all().max()?);
        #[allow(clippy::cast_precision_loss)] // A share is rough by nature.
        (high > 0).then(|| (high - low) as f64 / high as f64)
    };
    times.into_iter().filter_map(apart).fold(0.0, f64::max)
}

fn ms(ns: u64) -> String {
    format!("{}.{:02} ms", ns / 1_000_000, ns % 1_000_000 / 10_000)
}

fn mib(kib: u64) -> String {
    format!("{}.{:02} MiB", kib / 1024, kib % 1024 * 100 / 1024)
}
