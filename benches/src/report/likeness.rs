//! Whether two runs can be compared, and what else is not alike in them.

use super::{Conditions, Document, Figure, Mode, Outcome, Report};

/// A benchmark that both runs did, then and now, and a peer that both measured by it.
pub(super) struct Pair<'a> {
    pub(super) reports: [&'a Report; 2],
    pub(super) outcomes: [&'a Outcome; 2],
}

/// What both runs measured.
pub(super) fn pairs<'a>(then: &'a Document, now: &'a Document) -> Vec<Pair<'a>> {
    let mut pairs = Vec::new();
    for [old, new] in common(then, now) {
        for was in &old.outcomes {
            let is = new.outcomes.iter().find(|one| one.peer == was.peer);
            pairs.extend(is.map(|is| Pair {
                reports: [old, new],
                outcomes: [was, is],
            }));
        }
    }
    pairs
}

fn common<'a>(then: &'a Document, now: &'a Document) -> Vec<[&'a Report; 2]> {
    let both = then.reports.iter().filter_map(|old| {
        let mut reports = now.reports.iter();
        let new = reports.find(|new| new.benchmark == old.benchmark)?;
        Some([old, new])
    });
    both.collect()
}

/// Why nothing that is measured under the conditions `now` can be compared with
/// `then`, if that is so.
pub fn unsuitable(then: &Document, now: &Conditions) -> Option<String> {
    if then.conditions.mode != now.mode {
        return Some(
            "one counts instructions and the other time: both with --wall-clock, or both without"
                .to_owned(),
        );
    }
    if now.mode == Mode::WallClock && then.conditions.machine != now.machine {
        return Some(format!(
            "it was measured on another machine, {}, and time is compared on one only",
            then.conditions.machine
        ));
    }
    None
}

/// Why `benchmark`, told these `parameters`, cannot be compared with `then`, which
/// was told others, if it was.
pub fn told_otherwise(then: &Document, benchmark: &str, parameters: &[String]) -> Option<String> {
    let mut reports = then.reports.iter();
    let old = reports.find(|old| old.benchmark == benchmark)?;
    let only = |these: &[String], those: &[String]| {
        let lines = these.iter().filter(|line| !those.contains(line));
        match lines.map(String::as_str).collect::<Vec<_>>().join("; ") {
            none if none.is_empty() => "nothing of it".to_owned(),
            some => format!("{some:?}"),
        }
    };
    (old.parameters != parameters).then(|| {
        format!(
            "{benchmark} was measured otherwise: {} then, {} now; give it the options of then, \
             or measure again what it is to be compared with",
            only(&old.parameters, parameters),
            only(parameters, &old.parameters)
        )
    })
}

/// Why the two cannot be compared, if they cannot.
pub fn incomparable(then: &Document, now: &Document) -> Option<String> {
    if let Some(why) = unsuitable(then, &now.conditions) {
        return Some(why);
    }
    let pairs = pairs(then, now);
    if pairs.is_empty() {
        return Some("no benchmark of a monitor is in both".to_owned());
    }
    let mut reports = common(then, now).into_iter();
    let told = |[_, new]: [&Report; 2]| told_otherwise(then, &new.benchmark, &new.parameters);
    reports.find_map(told).or_else(|| {
        pairs.iter().find_map(|pair| {
            let [was, is] = pair.outcomes;
            (was.command_line != is.command_line).then(|| {
                format!(
                    "guests of {} booted with other words in {}: {:?} then, {:?} now; give the \
                     same --append, or measure again what it is to be compared with",
                    is.peer, pair.reports[0].benchmark, was.command_line, is.command_line
                )
            })
        })
    })
}

/// What else is not alike, a line each: it is compared all the same, and whoever
/// reads of a change is to know that it may come from this.
pub fn differences(then: &Document, now: &Document) -> Vec<String> {
    let (old, new) = (&then.conditions, &now.conditions);
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let mut lines = vec![
        differs("guest kernel", &old.guest_kernel, &new.guest_kernel),
        differs(
            "outer kernel",
            &text(&old.outer_kernel),
            &text(&new.outer_kernel),
        ),
        differs("emulator", &text(&old.emulator), &text(&new.emulator)),
    ];
    if new.mode == Mode::WallClock {
        lines.push(differs("host kernel", &old.host_kernel, &new.host_kernel));
    }
    for [old, new] in common(then, now) {
        lines.extend(old.figures.iter().map(|was| {
            let is = new.figures.iter().find(|is| is.name == was.name)?;
            let what = format!("{}, {}, which is not compared", old.benchmark, was.name);
            differs(&what, &measure(was), &measure(is))
        }));
    }
    for [old, new] in common(then, now) {
        let rows = old.rows().into_iter();
        let left_out = rows.filter(|(figure, at)| !is_asked_for(new, figure, *at));
        let names: Vec<String> = left_out.map(|(figure, at)| figure.named(at)).collect();
        let line = format!("{}, not measured now: {}", old.benchmark, names.join(", "));
        lines.push((!names.is_empty()).then_some(line));
    }
    for pair in pairs(then, now) {
        let [was, is] = pair.outcomes;
        lines.push(differs(&is.peer, &was.version, &is.version));
        let what = format!("settings of {}", is.peer);
        lines.push(differs(&what, &was.settings, &is.settings));
    }
    // A monitor is the same in each of its benchmarks.
    let mut told: Vec<String> = Vec::new();
    for line in lines.into_iter().flatten() {
        if !told.contains(&line) {
            told.push(line);
        }
    }
    told
}

/// Whether `report` is about such a figure, or anybody there was measured by it:
/// otherwise it was told to do less.
pub(super) fn is_asked_for(report: &Report, figure: &Figure, at: Option<u64>) -> bool {
    let mut outcomes = report.outcomes.iter();
    let listed = report.figures.iter().any(|one| one.name == figure.name);
    (listed && at.is_none()) || outcomes.any(|one| one.summary(&figure.name, at).is_some())
}

fn differs(what: &str, then: &str, now: &str) -> Option<String> {
    (then != now).then(|| format!("{what}: {then} then, {now} now"))
}

/// How a figure is to be read.
pub(super) fn measure(figure: &Figure) -> String {
    let read = format!("{:?}, {:?} is better", figure.unit, figure.better);
    match &figure.over {
        Some(over) => format!("{read}, over {over}"),
        None => read,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::document;
    use super::super::{Better, Unit};
    use super::*;

    #[test]
    fn runs_of_another_mode_or_of_other_monitors_are_not_compared() {
        let then = document(&[("plinth", 1.0, [1.0, 1.0])]);
        assert_eq!(incomparable(&then, &then), None);
        let mut by_the_clock = then.clone();
        by_the_clock.conditions.mode = Mode::WallClock;
        let other_peer = document(&[("qemu", 1.0, [1.0, 1.0])]);
        for other in [&by_the_clock, &other_peer] {
            assert!(incomparable(other, &then).is_some());
        }
        let mut elsewhere = by_the_clock.clone();
        elsewhere.conditions.machine = "another".to_owned();
        assert!(incomparable(&elsewhere, &by_the_clock).is_some());
        let (mut elsewhere, mut here) = (then.clone(), then);
        elsewhere.conditions.machine = "another".to_owned();
        here.conditions.machine = "one".to_owned();
        assert_eq!(incomparable(&elsewhere, &here), None, "instructions are");
    }

    #[test]
    fn what_was_told_otherwise_is_not_compared_and_both_are_shown() {
        let mut then = document(&[("plinth", 1.0, [1.0, 1.0])]);
        let mut now = then.clone();
        then.reports[0].parameters = vec!["256 MiB".to_owned(), "the same".to_owned()];
        now.reports[0].parameters = vec!["512 MiB".to_owned(), "the same".to_owned()];
        let why = incomparable(&then, &now).unwrap();
        assert!(why.contains("\"256 MiB\" then, \"512 MiB\" now"), "{why}");
        now.reports[0].parameters = then.reports[0].parameters.clone();
        now.reports[0].outcomes[0].command_line = "quiet cryptomgr.notests".to_owned();
        let why = incomparable(&then, &now).unwrap();
        let shown = "\"\" then, \"quiet cryptomgr.notests\" now";
        assert!(why.contains(shown), "{why}");
    }

    #[test]
    fn more_or_fewer_rounds_are_compared() {
        let then = document(&[("plinth", 1.0, [1.0, 1.0])]);
        let mut now = then.clone();
        now.reports[0].rounds = Some(super::super::Rounds {
            warm_up: 0,
            counted: 7,
        });
        assert_eq!(incomparable(&then, &now), None);
    }

    #[test]
    fn what_was_left_out_is_said() {
        let then = document(&[("plinth", 1.0, [1.0, 1.0])]);
        let mut now = then.clone();
        let report = &mut now.reports[0];
        report.figures.remove(0);
        let measured = &mut report.outcomes[0].measured;
        measured.retain(|one| one.at == Some(1));
        let expected = ["test, not measured now: time, rate at 10 VMs"];
        assert_eq!(differences(&then, &now), expected);
    }

    #[test]
    fn what_is_not_alike_is_said_once() {
        let mut then = document(&[("plinth", 1.0, [1.0, 1.0])]);
        let again = then.reports[0].clone();
        then.reports.push(again);
        then.reports[1].benchmark = "another".to_owned();
        assert_eq!(differences(&then, &then), [""; 0]);
        let mut now = then.clone();
        now.conditions.guest_kernel = "6.12".to_owned();
        now.conditions.emulator = Some("QEMU 10".to_owned());
        for report in &mut now.reports {
            report.outcomes[0].version = "plinth 2".to_owned();
            report.outcomes[0].settings = "other ones".to_owned();
        }
        now.reports[0].figures[1].better = Better::Less;
        now.reports[0].figures[0].unit = Unit::Count;
        let expected = [
            "guest kernel:  then, 6.12 now",
            "emulator: none then, QEMU 10 now",
            "test, time, which is not compared: Nanoseconds, Less is better then, Count, Less is \
             better now",
            "test, rate, which is not compared: PerSecond, More is better, over VMs then, \
             PerSecond, Less is better, over VMs now",
            "plinth:  then, plinth 2 now",
            "settings of plinth:  then, other ones now",
        ];
        assert_eq!(differences(&then, &now), expected);
    }
}
