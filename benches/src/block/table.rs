//! The figures as a table for people, one column a peer.

use std::fmt::Write;

use super::{Job, Outcome, Seen};

/// The table of `outcomes` over `jobs`. Behind it, how the first is beside the
/// best of those that are not called after it.
pub fn table(jobs: &[Job], outcomes: &[Outcome]) -> String {
    let mut text = format!("{:32}", "");
    for outcome in outcomes {
        write!(text, "{:>18}", outcome.peer).expect("a String takes everything");
    }
    let ours = outcomes.first();
    let ours = ours.map_or("", |outcome| outcome.peer.as_str());
    let others = outcomes.iter().any(|outcome| is_other(outcome, ours));
    if others {
        write!(text, "{:>14}", "to the best").expect("a String takes everything");
    }
    for job in jobs {
        let figure = |outcome: &Outcome| {
            let seen = outcome.seen.iter().find(|seen| seen.job == job.name);
            seen.map(|seen| figure(job, seen))
        };
        write!(text, "\n{:32}", job.title()).expect("a String takes everything");
        for outcome in outcomes {
            let figure = figure(outcome).map_or(String::new(), |figure| format!("{figure:.0}"));
            write!(text, "{figure:>18}").expect("a String takes everything");
        }
        let rivals = outcomes.iter().filter(|outcome| is_other(outcome, ours));
        let best = rivals.filter_map(figure).reduce(f64::max);
        if let (Some(ours), Some(best)) = (outcomes.first().and_then(figure), best) {
            let percent = (ours / best - 1.0) * 100.0;
            write!(text, "{percent:>+12.1} %").expect("a String takes everything");
        }
    }
    text
}

/// Whether `outcome` is of something else than what is called `ours`, as
/// `plinth-volume` is not.
fn is_other(outcome: &Outcome, ours: &str) -> bool {
    !outcome.peer.starts_with(ours)
}

/// What a job is judged by: operations, or MiB, in a second.
fn figure(job: &Job, seen: &Seen) -> f64 {
    match job.counts_operations() {
        true => seen.operations,
        false => seen.bytes / f64::from(1 << 20),
    }
}
