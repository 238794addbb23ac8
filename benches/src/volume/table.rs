//! The figures as tables for people.

use std::fmt::Write;

use super::{Creations, Figures, PausePlan, Pauses, Touches};

/// What a table's columns are called, for those of [`Figures`].
const COLUMNS: [&str; 5] = ["min", "median", "mean", "p99", "max"];

/// Pauses of guests, one after the other: from the second on, earlier snapshots
/// are still being stored. And what the guests' writes did.
pub fn pauses(all: &[(&PausePlan, &Pauses)]) -> String {
    let most = all.iter().map(|(_, pauses)| pauses.pauses_us.len()).max();
    let most = most.unwrap_or_default();
    let mut text = format!("{:36}", "snapshot pause, ms");
    for number in 1..=most {
        put(&mut text, format_args!("{number:>10}"));
    }
    text.push_str("   writes/s: before    during   longest, ms: before    during");
    for (plan, pauses) in all {
        let what = format!("{}, {} written to", amount(plan.size), amount(plan.written));
        put(&mut text, format_args!("\n{what:36}"));
        for number in 0..most {
            let pause = pauses.pauses_us.get(number);
            let pause = pause.map(|pause| format!("{:.3}", millis(*pause)));
            put(&mut text, format_args!("{:>10}", pause.unwrap_or_default()));
        }
        let (before, during) = (pauses.before, pauses.during);
        let rates = [before, during].map(|seen| seen.operations);
        let longest = [before, during].map(|seen| seen.longest_us / 1000.0);
        put(
            &mut text,
            format_args!("{:19.0}{:10.0}", rates[0], rates[1]),
        );
        put(
            &mut text,
            format_args!("{:22.2}{:10.2}", longest[0], longest[1]),
        );
    }
    text
}

/// Reads of blocks, in milliseconds, by what they hold.
pub fn touches(all: &[(&str, &Touches)]) -> String {
    let mut text = heading("4 KiB read, ms");
    for (content, touches) in all {
        let micros = |ns: &[u64]| ns.iter().map(|ns| ns.div_ceil(1000)).collect::<Vec<_>>();
        row(
            &mut text,
            &format!("{content}, from the snapshot"),
            &micros(&touches.first_ns),
        );
        row(
            &mut text,
            &format!("{content}, once loaded"),
            &micros(&touches.again_ns),
        );
    }
    text
}

/// Commands that make a volume, in milliseconds.
pub fn creations(all: &[Creations]) -> String {
    let mut text = heading("volume create --from, ms");
    for one in all {
        let (size, blocks) = (amount(one.size), one.blocks);
        row(
            &mut text,
            &format!("{size}, {blocks} blocks stored"),
            &one.commands_us,
        );
    }
    text
}

fn heading(title: &str) -> String {
    let mut text = format!("{title:36}");
    for column in COLUMNS {
        put(&mut text, format_args!("{column:>10}"));
    }
    text
}

/// A line of figures of `micros`, in milliseconds.
fn row(text: &mut String, what: &str, micros: &[u64]) {
    put(text, format_args!("\n{what:36}"));
    let Some(figures) = Figures::of_thousandths(micros) else {
        return;
    };
    let Figures {
        min,
        median,
        mean,
        p99,
        max,
    } = figures;
    for figure in [min, median, mean, p99, max] {
        put(text, format_args!("{figure:10.3}"));
    }
}

#[allow(clippy::cast_precision_loss)] // They are far below 2⁵².
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// `bytes`, in the largest unit that divides it.
fn amount(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB")];
    let fits = |(shift, _): &(u32, _)| bytes > 0 && bytes.is_multiple_of(1 << shift);
    match units.into_iter().find(fits) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::Writes;

    fn rows(text: &str) -> Vec<Vec<&str>> {
        text.lines()
            .map(|line| line.split_whitespace().collect())
            .collect()
    }

    #[test]
    fn pauses_are_shown_in_order_with_the_writes() {
        let plan = PausePlan {
            size: 1 << 40,
            written: 1 << 30,
            snapshots: 3,
        };
        let writes = |longest_us| Writes {
            operations: 20_000.0,
            mean_us: 1500.0,
            longest_us,
        };
        let pauses_seen = Pauses {
            pauses_us: vec![300, 100, 200],
            commands_us: vec![],
            before: writes(2000.0),
            during: writes(4500.0),
        };
        let text = pauses(&[(&plan, &pauses_seen)]);
        let expected = "1 TiB, 1 GiB written to 0.300 0.100 0.200 20000 20000 2.00 4.50";
        assert_eq!(rows(&text)[1].join(" "), expected);
    }

    #[test]
    fn touches_and_creations_are_shown_in_milliseconds() {
        let seen = Touches {
            first_ns: vec![9_000_000, 8_000_000],
            again_ns: vec![50_000, 40_000],
        };
        let text = touches(&[("noise", &seen)]);
        let text = rows(&text);
        assert!(text[1].ends_with(&["8.000", "8.000", "8.500", "9.000", "9.000"]));
        assert!(text[2].ends_with(&["0.040", "0.040", "0.045", "0.050", "0.050"]));
        let made = Creations {
            size: 3 << 20,
            blocks: 7,
            commands_us: vec![4000],
        };
        let text = creations(&[made]);
        assert!(rows(&text)[1].starts_with(&["3", "MiB,", "7", "blocks", "stored", "4.000"]));
    }
}
