//! OpenMetrics text (OpenMetrics 1.0.0), written family by family.

use std::fmt::{Display, Write};
use std::time::Duration;

use devices::histogram::{BOUNDS, Snapshot};

/// What the text is, for HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The labels of a sample.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// Text that is being written.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        self.0 += "# EOF\n";
        self.0
    }

    /// Numbers that only grow. `name` is without `_total`, and ends with
    /// `unit` if there is one.
    pub(super) fn counter(&mut self, name: &str, unit: &str, help: &str) -> Family<'_> {
        self.family(name, "counter", unit, help, "_total")
    }

    /// Numbers that come and go.
    pub(super) fn gauge(&mut self, name: &str, unit: &str, help: &str) -> Family<'_> {
        self.family(name, "gauge", unit, help, "")
    }

    /// What does not change: labels.
    pub(super) fn info(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, "info", "", help, "_info")
    }

    /// Durations by size.
    pub(super) fn histogram(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, "histogram", "seconds", help, "")
    }

    fn family<'a>(
        &'a mut self,
        name: &str,
        kind: &str,
        unit: &str,
        help: &str,
        suffix: &'static str,
    ) -> Family<'a> {
        let text = &mut self.0;
        *text += &format!("# TYPE {name} {kind}\n");
        if !unit.is_empty() {
            *text += &format!("# UNIT {name} {unit}\n");
        }
        *text += &format!("# HELP {name} {}\n", escaped(help));
        Family {
            text,
            name: name.to_owned(),
            suffix,
        }
    }
}

/// Samples that belong together.
#[derive(Debug)]
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: String,
    suffix: &'static str,
}

impl Family<'_> {
    /// One sample.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line(self.suffix, labels, None, value);
    }

    /// One sample, in seconds.
    pub(super) fn duration(&mut self, labels: Labels<'_>, value: Duration) {
        self.sample(labels, seconds(value));
    }

    /// All samples of one histogram: buckets count what is as long or shorter.
    pub(super) fn snapshot(&mut self, labels: Labels<'_>, snapshot: &Snapshot) {
        let bounds = BOUNDS
            .iter()
            .map(|bound| seconds(Duration::from_nanos(*bound)));
        let mut count = 0;
        for (bound, inside) in bounds.chain(["+Inf".into()]).zip(snapshot.buckets) {
            count += inside;
            self.line("_bucket", labels, Some(&bound), count);
        }
        self.line("_count", labels, None, count);
        self.line("_sum", labels, None, seconds(snapshot.sum));
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, le: Option<&str>, value: impl Display) {
        *self.text += &self.name;
        *self.text += suffix;
        let labels = labels.iter().copied().chain(le.map(|le| ("le", le)));
        let labels: Vec<_> = labels
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        if !labels.is_empty() {
            *self.text += &format!("{{{}}}", labels.join(","));
        }
        writeln!(self.text, " {value}").expect("text takes what is written to it");
    }
}

/// Exact, without the zeros at the end.
fn seconds(duration: Duration) -> String {
    let text = format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos());
    let text = text.trim_end_matches('0');
    // A whole number has one digit behind its point.
    match text.ends_with('.') {
        true => format!("{text}0"),
        false => text.to_owned(),
    }
}

/// A label's value or a help text may hold anything.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact() {
        for (nanoseconds, text) in [
            (0, "0.0"),
            (1_000, "0.000001"),
            (1_500_000_000, "1.5"),
            (10_000_000_000, "10.0"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(seconds(Duration::from_nanos(nanoseconds)), text);
        }
    }

    #[test]
    fn labels_are_escaped() {
        let mut text = Exposition::default();
        let mut family = text.gauge("a", "", "all \"of\"\nit");
        family.sample(&[("name", "x\"\\\n")], 1);
        let expected = "# TYPE a gauge\n# HELP a all \\\"of\\\"\\nit\n\
                        a{name=\"x\\\"\\\\\\n\"} 1\n# EOF\n";
        assert_eq!(text.finish(), expected);
    }
}
