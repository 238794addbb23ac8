//! A report as text for people: a row for each figure, a column for each peer,
//! and beneath it everything that is needed to judge it.

use std::fmt::Write;

use super::{Document, Figure, Outcome, Report};

/// The width of a peer's column.
const COLUMN: usize = 18;

/// All reports of `document`, and the conditions.
pub fn document(document: &Document) -> String {
    let reports = document.reports.iter().map(report);
    let mut text: String = reports.map(|report| report + "\n").collect();
    for line in document.conditions.lines() {
        writeln!(text, "{line}").expect("a String takes everything");
    }
    text
}

/// One report.
pub fn report(report: &Report) -> String {
    let mut text = table(report);
    text.push('\n');
    for outcome in &report.outcomes {
        writeln!(text, "{}", described(report, outcome)).expect("a String takes everything");
    }
    for line in unmeasured(report).iter().chain(&report.parameters) {
        writeln!(text, "{line}").expect("a String takes everything");
    }
    if let Some((spread, peer, figure)) = report.largest_spread() {
        let percent = spread * 100.0;
        writeln!(
            text,
            "runs differ by {percent:.4} % at most: {peer}, {figure}"
        )
        .expect("a String takes everything");
    }
    text
}

/// The medians, and how the first is beside the best of the others.
pub fn table(report: &Report) -> String {
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
        if let Some(ahead) = report.ahead(figure, at) {
            let percent = ahead * 100.0;
            write!(text, "{percent:>+12.1} %").expect("a String takes everything");
        }
    }
    text.push('\n');
    text
}

/// What a row is called.
pub fn title(figure: &Figure, at: Option<u64>) -> String {
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

/// Who was not measured, and why, a line each.
pub(super) fn unmeasured(report: &Report) -> Vec<String> {
    let absent = report.not_found.iter();
    let absent =
        absent.map(|name| format!("{name}: not on PATH; name it with --program {name}=FILE"));
    let failed = report.failed.iter();
    let failed = failed.map(|failed| format!("failed: {}: {}", failed.peer, failed.why));
    absent.chain(failed).collect()
}

fn described(report: &Report, outcome: &Outcome) -> String {
    let mut text = format!(
        "{}: {}\n  {}\n  command line: {}\n  {} outer machines stalled and were tried again",
        outcome.peer, outcome.version, outcome.settings, outcome.command_line, outcome.stalls
    );
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
    for failure in &outcome.failures {
        write!(text, "\n  failed: {failure}").expect("a String takes everything");
    }
    for note in &outcome.notes {
        write!(text, "\n  {note}").expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::report as example;
    use super::super::{Conditions, FORMAT, Failed, Unit};
    use super::*;

    #[test]
    fn a_row_is_a_figure_at_a_size() {
        let report = example(&[
            ("plinth", 40e6, [100.0, 3000.0]),
            ("kvmtool", 50e6, [80.0, 4000.0]),
        ]);
        let text = table(&report);
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
            "runs differ by 0.0000 %",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("to the best"), "{text}");
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
        let text = described(&report, &report.outcomes[0]);
        let expected = "a while: 20 samples from 1 to 20, the median within 6 and 15 (95 %)";
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("a time:"), "{text}");
    }
}
