//! The figures as a table for people, one column a peer.

use std::fmt::Write;

use super::pattern::Figure;
use super::{Outcome, Pattern};

/// The table of `outcomes` over `patterns`. Behind it, how the first is beside the
/// best of those that are not called after it: what is positive is better.
pub fn table(patterns: &[Pattern], outcomes: &[Outcome]) -> String {
    let mut text = format!("{:30}", "");
    for outcome in outcomes {
        write!(text, "{:>18}", outcome.peer).expect("a String takes everything");
    }
    let ours = outcomes.first();
    let ours = ours.map_or("", |outcome| outcome.peer.as_str());
    let is_other = |outcome: &&Outcome| !outcome.peer.starts_with(ours);
    if outcomes.iter().any(|outcome| is_other(&outcome)) {
        write!(text, "{:>14}", "to the best").expect("a String takes everything");
    }
    for pattern in patterns {
        let figure = |outcome: &Outcome| {
            let mut seen = outcome.seen.iter();
            Some(seen.find(|seen| seen.pattern == pattern.name)?.figure)
        };
        write!(text, "\n{:30}", pattern.title).expect("a String takes everything");
        for outcome in outcomes {
            let figure = figure(outcome).map_or(String::new(), |figure| shown(*pattern, figure));
            write!(text, "{figure:>18}").expect("a String takes everything");
        }
        let rivals = outcomes.iter().filter(is_other).filter_map(figure);
        let best = rivals.reduce(|one, other| match pattern.figure {
            Figure::Time => one.min(other),
            Figure::Gigabits | Figure::Rate => one.max(other),
        });
        if let (Some(ours), Some(best)) = (outcomes.first().and_then(figure), best) {
            let ratio = match pattern.figure {
                Figure::Time => best / ours,
                Figure::Gigabits | Figure::Rate => ours / best,
            };
            let percent = (ratio - 1.0) * 100.0;
            write!(text, "{percent:>+12.1} %").expect("a String takes everything");
        }
    }
    text
}

fn shown(pattern: Pattern, figure: f64) -> String {
    match pattern.figure {
        Figure::Time => format!("{figure:.1}"),
        Figure::Gigabits => format!("{figure:.2}"),
        Figure::Rate => format!("{figure:.0}"),
    }
}
