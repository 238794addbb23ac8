//! A report as text for people: a row for each figure, a column for each peer,
//! and beneath it everything that is needed to judge it.

use std::fmt::Write;

use super::harmless::harmless;
use super::{Document, Figure, Mode, Outcome, Report};

/// The width of a peer's column.
const COLUMN: usize = 20;

/// All reports of `document`, and the conditions.
pub fn document(document: &Document) -> String {
    let reports = document.reports.iter();
    let reports = reports.map(|one| report(one, document.conditions.mode));
    let mut text: String = reports.map(|report| report + "\n").collect();
    for line in document.conditions.lines() {
        writeln!(text, "{line}").expect("a String takes everything");
    }
    harmless(&text)
}

fn report(report: &Report, mode: Mode) -> String {
    let mut text = table(report, mode);
    text.push('\n');
    for outcome in &report.outcomes {
        writeln!(text, "{}", described(report, outcome, mode)).expect("a String takes everything");
    }
    for line in undecided(report, mode).into_iter().chain(report.about()) {
        writeln!(text, "{line}").expect("a String takes everything");
    }
    let spread = match mode {
        Mode::Deterministic => report.largest_spread_of_rounds(),
        Mode::WallClock => report.largest_spread(),
    };
    if let Some((spread, peer, figure)) = spread {
        let percent = spread * 100.0;
        writeln!(
            text,
            "rounds differ by {percent:.4} % at most: {peer}, {figure}"
        )
        .expect("a String takes everything");
    }
    text
}

/// The medians, and how the first is beside the best of the others.
fn table(report: &Report, mode: Mode) -> String {
    let rows = report.rows();
    let titles = rows.iter().map(|(figure, at)| title(figure, *at));
    let titles: Vec<String> = titles.collect();
    let lengths = titles.iter().map(|title| title.chars().count());
    let first = lengths.max().unwrap_or(0) + 2;
    let compared = rows
        .iter()
        .any(|(figure, at)| report.ahead(figure, *at).is_some());

    let mut text = format!("{:first$}", report.benchmark);
    for outcome in &report.outcomes {
        write!(text, "{:>COLUMN$}", outcome.peer).expect("a String takes everything");
    }
    if compared {
        write!(text, "{:>14}", "to the best").expect("a String takes everything");
    }
    for ((figure, at), title) in rows.into_iter().zip(titles) {
        write!(text, "\n{title:first$}").expect("a String takes everything");
        for outcome in &report.outcomes {
            let cell = cell(outcome, figure, at);
            write!(text, "{cell:>COLUMN$}").expect("a String takes everything");
        }
        if let Some(beside) = beside(report, figure, at, mode) {
            write!(text, "{beside:>14}").expect("a String takes everything");
        }
    }
    text.push('\n');
    text
}

/// How the first is beside the best of the others; in parentheses where that is not
/// decided.
pub(super) fn beside(
    report: &Report,
    figure: &Figure,
    at: Option<u64>,
    mode: Mode,
) -> Option<String> {
    let percent = report.ahead(figure, at)? * 100.0;
    Some(match report.undecided(figure, at, mode) {
        true => format!("({percent:+.1} %)"),
        false => format!("{percent:+.1} %"),
    })
}

/// What parentheses in the column are, if there are any.
pub(super) fn undecided(report: &Report, mode: Mode) -> Option<String> {
    let mut rows = report.rows().into_iter();
    let any = rows.any(|(figure, at)| report.undecided(figure, at, mode));
    let why = match mode {
        Mode::Deterministic => "for the ranges of both meet",
        Mode::WallClock => "for the intervals of both meet, or there are too few rounds for one",
    };
    any.then(|| format!("in parentheses: not decided, {why}"))
}

/// What a row is called.
pub(super) fn title(figure: &Figure, at: Option<u64>) -> String {
    match (at, &figure.over) {
        (Some(at), Some(over)) => format!("{}, {at} {over}", figure.title),
        _ => figure.title.clone(),
    }
}

/// The median; empty if it was not measured.
pub fn cell(outcome: &Outcome, figure: &Figure, at: Option<u64>) -> String {
    let Some(summary) = outcome.summary(&figure.name, at) else {
        return String::new();
    };
    figure.unit.shown(summary.median)
}

/// What is to be said of how `outcome` came about, a line each.
pub(super) fn settings(outcome: &Outcome, mode: Mode) -> Vec<String> {
    let mut lines = vec![
        outcome.settings.clone(),
        format!("command line: {}", outcome.command_line),
    ];
    // By the clock there is no outer machine.
    if mode == Mode::Deterministic {
        lines.push(format!(
            "{} outer machines stalled and were tried again",
            outcome.stalls
        ));
    }
    lines
}

/// What failed of `outcome`, and what else is to be said, a line each.
pub(super) fn remarks(outcome: &Outcome) -> impl Iterator<Item = String> {
    let failures = outcome.failures.iter();
    let failures = failures.map(|failure| format!("failed: {failure}"));
    failures.chain(outcome.notes.iter().cloned())
}

fn described(report: &Report, outcome: &Outcome, mode: Mode) -> String {
    let mut text = format!("{}: {}", outcome.peer, outcome.version);
    for line in settings(outcome, mode) {
        write!(text, "\n  {line}").expect("a String takes everything");
    }
    for (figure, at) in report.rows() {
        let summary = outcome.summary(&figure.name, at);
        let Some(summary) = summary.filter(|summary| summary.spread() > 0.0) else {
            continue;
        };
        let shown = |value| figure.unit.shown(value);
        let title = title(figure, at);
        let (min, max) = (shown(summary.min), shown(summary.max));
        let count = summary.count;
        write!(
            text,
            "\n  {}: {count} samples from {min} to {max}",
            title.trim()
        )
        .expect("a String takes everything");
        if let Some((low, high)) = summary.interval {
            let (low, high) = (shown(low), shown(high));
            write!(text, ", the median within {low} and {high} (95 %)")
                .expect("a String takes everything");
        }
    }
    for line in remarks(outcome) {
        write!(text, "\n  {line}").expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::report as example;
    use super::super::{Conditions, FORMAT, Failed, Rounds, Unit};
    use super::*;

    #[test]
    fn a_row_is_a_figure_at_a_size() {
        let report = example(&[
            ("plinth", 40e6, [100.0, 3000.0]),
            ("kvmtool", 50e6, [80.0, 4000.0]),
        ]);
        let text = table(&report, Mode::Deterministic);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[0][..3], ["test", "plinth", "kvmtool"]);
        let expected = ["a", "time", "40.00", "ms", "50.00", "ms", "+25.0", "%"];
        assert_eq!(rows[1], expected);
        let expected = [
            "a", "rate,", "10", "VMs", "3000.0/s", "4000.0/s", "-25.0", "%",
        ];
        assert_eq!(rows[3], expected);
    }

    #[test]
    fn who_is_alone_is_not_compared_and_who_is_missing_is_named() {
        let mut report = example(&[("plinth", 40e6, [1.0, 1.0])]);
        report.not_found.push("crosvm".to_owned());
        report.failed.push(Failed {
            peer: "kvmtool".to_owned(),
            why: "it ended early".to_owned(),
        });
        report.rounds = Some(Rounds {
            warm_up: 0,
            counted: 2,
        });
        report.outcomes[0].stalls = 2;
        report.outcomes[0].notes.push("a note".to_owned());
        let text = document(&Document {
            format: FORMAT,
            conditions: Conditions::default(),
            reports: vec![report],
        });
        for part in [
            "crosvm: not on PATH",
            "failed: kvmtool: it ended early",
            "2 outer machines stalled",
            "a note",
            "mode: deterministic",
            "rounds differ by 0.0000 %",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("to the best"), "{text}");
    }

    #[test]
    fn by_the_clock_no_outer_machine_is_spoken_of() {
        let mut measured = Document {
            format: FORMAT,
            conditions: Conditions::default(),
            reports: vec![example(&[("plinth", 40e6, [1.0, 1.0])])],
        };
        assert!(document(&measured).contains("outer machines"));
        measured.conditions.mode = Mode::WallClock;
        assert!(!document(&measured).contains("outer machines"));
    }

    #[test]
    fn what_is_not_decided_is_in_parentheses() {
        let mut report = example(&[("plinth", 40e6, [1.0, 1.0]), ("kvmtool", 50e6, [1.0, 1.0])]);
        assert_eq!(undecided(&report, Mode::Deterministic), None);
        report.outcomes[1].add("time", None, 30e6);
        assert!(
            table(&report, Mode::Deterministic).contains("(+25.0 %)"),
            "{}",
            table(&report, Mode::Deterministic)
        );
        assert!(undecided(&report, Mode::Deterministic).is_some());
    }

    #[test]
    fn samples_that_differ_are_shown_with_their_interval() {
        let mut report = example(&[("plinth", 1.0, [1.0, 1.0])]);
        report
            .figures
            .push(Figure::less("wall", "a while", Unit::Count));
        let outcome = &mut report.outcomes[0];
        for sample in 1..=20 {
            outcome.add("wall", None, f64::from(sample));
        }
        let text = described(&report, &report.outcomes[0], Mode::Deterministic);
        let expected = "a while: 20 samples from 1 to 20, the median within 6 and 15 (95 %)";
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("a time:"), "{text}");
    }
}
