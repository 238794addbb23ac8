//! Comparing with an earlier run: what became worse or better by more than is
//! tolerated.

use super::likeness::{is_asked_for, measure, pairs};
use super::{Document, Figure};

/// What comparing gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// How many figures were compared.
    pub compared: usize,
    /// What is worse by more than is tolerated, or not measured any more.
    pub worse: Vec<Change>,
    /// What is better by more than is tolerated.
    pub better: Vec<Change>,
}

/// A figure of a peer that is not what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The benchmark.
    pub benchmark: String,
    /// The peer.
    pub peer: String,
    /// The figure's name, and its size where there are several.
    pub figure: String,
    /// What it is and what it was, for people.
    pub what: String,
}

/// What is tolerated: of each figure by its name, a part of the earlier median.
pub type Tolerance<'a> = &'a dyn Fn(&Figure) -> f64;

/// What became of the figures of `then`. What only one of the two measured is not
/// compared, but for figures of a peer that both measured; nor is a figure that was not
/// asked for now, or is read otherwise. What changed has samples that tell it from what
/// it was.
pub fn compare(then: &Document, now: &Document, tolerance: Tolerance<'_>) -> Comparison {
    let mut found = Comparison::default();
    for pair in pairs(then, now) {
        let ([old, new], [was, is]) = (pair.reports, pair.outcomes);
        for (figure, at) in old.rows() {
            let mut figures = new.figures.iter();
            let other = figures.find(|one| one.name == figure.name);
            if other.is_some_and(|other| measure(other) != measure(figure)) {
                continue;
            }
            let Some(before) = was.summary(&figure.name, at) else {
                continue;
            };
            if !is_asked_for(new, figure, at) {
                continue;
            }
            found.compared += 1;
            let change = |what: String| Change {
                benchmark: old.benchmark.clone(),
                peer: was.peer.clone(),
                figure: figure.named(at),
                what,
            };
            let Some(after) = is.summary(&figure.name, at) else {
                found.worse.push(change("not measured any more".to_owned()));
                continue;
            };
            if !after.is_told_from(&before, now.conditions.mode) {
                continue;
            }
            let tolerated = tolerance(figure);
            let gain = figure.gain(before.median, after.median);
            let what = figure.change(before.median, after.median);
            if gain > tolerated {
                found.better.push(change(what));
            } else if -gain > tolerated {
                let percent = tolerated * 100.0;
                found
                    .worse
                    .push(change(format!("{what}, and {percent:.2} % are tolerated")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::document;
    use super::super::{Mode, Outcome, Unit};
    use super::*;

    fn worse(then: &Document, now: &Document, tolerance: Tolerance<'_>) -> Vec<Change> {
        compare(then, now, tolerance).worse
    }

    #[test]
    fn what_changed_by_more_than_is_tolerated_is_found_whichever_way_is_worse() {
        let then = document(&[("plinth", 100.0, [100.0, 100.0])]);
        let now = document(&[("plinth", 102.0, [99.5, 98.0])]);
        let found = worse(&then, &now, &|_| 0.01);
        let figures: Vec<&str> = found.iter().map(|one| one.figure.as_str()).collect();
        assert_eq!(figures, ["time", "rate at 10 VMs"]);
        assert!(found[0].what.contains("+2.00 %"), "{}", found[0].what);
        assert_eq!(worse(&then, &now, &|_| 0.021), []);
        let back = compare(&now, &then, &|_| 0.01);
        assert_eq!((back.compared, back.worse.len()), (3, 0));
        let figures: Vec<&str> = back.better.iter().map(|one| one.figure.as_str()).collect();
        assert_eq!(figures, ["time", "rate at 10 VMs"]);
    }

    #[test]
    fn tolerance_may_differ_by_figure_and_zero_is_exact() {
        let then = document(&[("plinth", 100.0, [100.0, 100.0])]);
        let now = document(&[("plinth", 101.0, [101.0, 100.0])]);
        let exact = |figure: &Figure| if figure.name == "time" { 0.0 } else { 1.0 };
        assert_eq!(worse(&then, &now, &exact).len(), 1);
        assert_eq!(worse(&then, &then, &|_| 0.0), []);
    }

    #[test]
    fn what_is_better_or_of_another_peer_is_not_worse_and_what_is_missing_is() {
        let then = document(&[("plinth", 100.0, [1.0, 1.0]), ("qemu", 100.0, [1.0, 1.0])]);
        let mut now = document(&[("plinth", 50.0, [2.0, 2.0])]);
        assert_eq!(worse(&then, &now, &|_| 0.01), []);
        now.reports[0].outcomes[0].measured.remove(0);
        let found = worse(&then, &now, &|_| 0.01);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, "not measured any more");
    }

    #[test]
    fn what_is_counted_by_name_and_not_there_any_more_is_an_improvement() {
        let counted = |names: &[(&str, f64)]| {
            let mut document = document(&[("plinth", 1.0, [1.0, 1.0])]);
            let report = &mut document.reports[0];
            report.outcomes[0] = Outcome {
                peer: "plinth".to_owned(),
                ..Outcome::default()
            };
            for (name, count) in names {
                report.figures.push(Figure::less(name, name, Unit::Count));
                report.outcomes[0].add(name, None, *count);
            }
            document
        };
        let then = counted(&[("calls", 22.0), ("calls/pread64", 22.0)]);
        let now = counted(&[("calls", 22.0), ("calls/preadv", 22.0)]);
        let found = compare(&then, &now, &|_| 0.01);
        assert_eq!(found.worse, []);
        assert_eq!(found.better[0].what, "0, and was 22: -100.00 %");
        // Its sum was not measured: nothing is known of it.
        let mut now = counted(&[("init", 1.0)]);
        now.reports[0].figures = then.reports[0].figures.clone();
        assert_eq!(worse(&then, &now, &|_| 0.01).len(), 2);
    }

    #[test]
    fn what_is_worse_has_an_interval_of_its_own() {
        let clock = |times: [f64; 6]| {
            let mut document = document(&[("plinth", 1.0, [1.0, 1.0])]);
            document.conditions.mode = Mode::WallClock;
            document.reports[0].outcomes[0].measured[0].samples = times.into();
            document
        };
        let then = clock([10.0, 11.0, 12.0, 12.0, 13.0, 14.0]);
        let near = clock([13.0, 14.0, 15.0, 15.0, 16.0, 17.0]);
        let far = clock([15.0, 15.0, 15.0, 15.0, 16.0, 17.0]);
        assert_eq!(worse(&then, &near, &|_| 0.01), []);
        assert_eq!(worse(&then, &far, &|_| 0.01).len(), 1);
        // Where instructions are counted, too: such samples are of boots that differ.
        let counted = |mut document: Document| {
            document.conditions.mode = Mode::Deterministic;
            document
        };
        let [then, near, far] = [then, near, far].map(counted);
        assert_eq!(worse(&then, &near, &|_| 0.01), []);
        assert_eq!(worse(&then, &far, &|_| 0.01).len(), 1);
    }

    #[test]
    fn what_was_not_asked_for_is_not_compared() {
        let then = document(&[("plinth", 1.0, [1.0, 1.0])]);
        let mut now = then.clone();
        let report = &mut now.reports[0];
        report.figures.remove(0);
        report.outcomes[0].measured.retain(|one| one.at == Some(1));
        let found = compare(&then, &now, &|_| 0.01);
        assert_eq!((found.compared, found.worse.len()), (1, 0));
    }

    #[test]
    fn a_figure_that_is_read_otherwise_now_is_not_compared() {
        let then = document(&[("plinth", 100.0, [1.0, 1.0])]);
        let mut now = document(&[("plinth", 200.0, [1.0, 1.0])]);
        now.reports[0].figures[0].unit = Unit::Count;
        let found = compare(&then, &now, &|_| 0.01);
        assert_eq!((found.compared, found.worse.len()), (2, 0));
    }
}
