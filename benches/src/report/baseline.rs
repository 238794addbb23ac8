//! Comparing with an earlier run: what became worse by more than is tolerated.

use super::{Document, Figure, Mode};

/// A figure of a peer that is worse than it was by more than is tolerated, or
/// that is not there any more.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    /// The benchmark.
    pub benchmark: String,
    /// The peer.
    pub peer: String,
    /// The figure's name, and its size where there are several.
    pub figure: String,
    /// Both medians, and how much is tolerated, for people.
    pub what: String,
}

/// What is tolerated: of each figure by its name, a part of the earlier median.
pub type Tolerance<'a> = &'a dyn Fn(&Figure) -> f64;

/// The regressions in `now` beside `then`. What only one of the two measured is
/// not compared, but for figures of a peer that both measured.
pub fn regressions(then: &Document, now: &Document, tolerance: Tolerance<'_>) -> Vec<Regression> {
    let mut found = Vec::new();
    for old in &then.reports {
        let same = |report: &&super::Report| report.benchmark == old.benchmark;
        let Some(new) = now.reports.iter().find(same) else {
            continue;
        };
        for was in &old.outcomes {
            let Some(is) = new.outcomes.iter().find(|one| one.peer == was.peer) else {
                continue;
            };
            for (figure, at) in old.rows() {
                let Some(before) = was.summary(&figure.name, at) else {
                    continue;
                };
                let tolerated = tolerance(figure);
                let what = match is.summary(&figure.name, at) {
                    None => "it was measured then and is not now".to_owned(),
                    Some(after) => {
                        if -figure.gain(before.median, after.median) <= tolerated {
                            continue;
                        }
                        format!(
                            "{} and was {}: {:+.2} %, of which {:.2} % are tolerated",
                            figure.unit.shown(after.median),
                            figure.unit.shown(before.median),
                            (after.median / before.median - 1.0) * 100.0,
                            tolerated * 100.0
                        )
                    }
                };
                found.push(Regression {
                    benchmark: old.benchmark.clone(),
                    peer: was.peer.clone(),
                    figure: named(figure, at),
                    what,
                });
            }
        }
    }
    found
}

/// What a figure is called by itself: titles may go on from the row above.
fn named(figure: &Figure, at: Option<u64>) -> String {
    match (at, &figure.over) {
        (Some(at), Some(over)) => format!("{} at {at} {over}", figure.name),
        _ => figure.name.clone(),
    }
}

/// Why the two cannot be compared, if they cannot.
pub fn incomparable(then: &Document, now: &Document) -> Option<String> {
    if then.format != now.format {
        return Some(format!(
            "its format is {}, and this is {}",
            then.format, now.format
        ));
    }
    if then.conditions.mode != now.conditions.mode {
        return Some("one counts instructions and the other time".to_owned());
    }
    let same_machine = then.conditions.machine == now.conditions.machine;
    if now.conditions.mode == Mode::WallClock && !same_machine {
        return Some(format!(
            "it was measured on another machine: {}",
            then.conditions.machine
        ));
    }
    let measured = |document: &Document| -> Vec<(String, String)> {
        let reports = document.reports.iter();
        let pairs = reports.flat_map(|report| {
            let peers = report.outcomes.iter();
            peers.map(|one| (report.benchmark.clone(), one.peer.clone()))
        });
        pairs.collect()
    };
    let ours = measured(now);
    if !measured(then).iter().any(|pair| ours.contains(pair)) {
        return Some("no benchmark of a monitor is in both".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::super::{Conditions, FORMAT};
    use super::*;

    fn document(peers: &[(&str, f64, [f64; 2])]) -> Document {
        Document {
            format: FORMAT,
            conditions: Conditions::default(),
            reports: vec![report(peers)],
        }
    }

    #[test]
    fn what_is_worse_by_more_than_is_tolerated_is_found_whichever_way_is_worse() {
        let then = document(&[("plinth", 100.0, [100.0, 100.0])]);
        let now = document(&[("plinth", 102.0, [99.5, 98.0])]);
        let found = regressions(&then, &now, &|_| 0.01);
        let figures: Vec<&str> = found.iter().map(|one| one.figure.as_str()).collect();
        assert_eq!(figures, ["time", "rate at 10 VMs"]);
        assert!(found[0].what.contains("+2.00 %"), "{}", found[0].what);
        assert_eq!(regressions(&then, &now, &|_| 0.021), []);
    }

    #[test]
    fn tolerance_may_differ_by_figure_and_zero_is_exact() {
        let then = document(&[("plinth", 100.0, [100.0, 100.0])]);
        let now = document(&[("plinth", 101.0, [101.0, 100.0])]);
        let exact = |figure: &Figure| if figure.name == "time" { 0.0 } else { 1.0 };
        assert_eq!(regressions(&then, &now, &exact).len(), 1);
        assert_eq!(regressions(&then, &then, &|_| 0.0), []);
    }

    #[test]
    fn what_is_better_or_of_another_peer_is_none_and_what_is_missing_is_one() {
        let then = document(&[("plinth", 100.0, [1.0, 1.0]), ("qemu", 100.0, [1.0, 1.0])]);
        let mut now = document(&[("plinth", 50.0, [2.0, 2.0])]);
        assert_eq!(regressions(&then, &now, &|_| 0.01), []);
        now.reports[0].outcomes[0].measured.remove(0);
        let found = regressions(&then, &now, &|_| 0.01);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("is not now"));
    }

    #[test]
    fn a_run_is_not_compared_with_what_is_different() {
        let then = document(&[("plinth", 1.0, [1.0, 1.0])]);
        assert_eq!(incomparable(&then, &then), None);
        let other_format = Document {
            format: FORMAT + 1,
            ..then.clone()
        };
        let mut other_mode = then.clone();
        other_mode.conditions.mode = Mode::WallClock;
        let other_peer = document(&[("qemu", 1.0, [1.0, 1.0])]);
        for other in [&other_format, &other_mode, &other_peer] {
            assert!(incomparable(other, &then).is_some());
        }
        let mut elsewhere = other_mode.clone();
        elsewhere.conditions.machine = "another".to_owned();
        assert!(incomparable(&elsewhere, &other_mode).is_some());
    }
}
