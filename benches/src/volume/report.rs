//! What was found of volumes, as a report.

use serde::Serialize;

use super::content::Content;
use super::{Creations, Measured, PausePlan, Pauses, Touches};
use crate::float::float;
use crate::report::{Figure, Outcome, Report, Unit};

const OVER: &str = "GiB";

/// All that was measured of volumes.
#[derive(Debug, Default)]
pub struct Found {
    /// Guests that wrote while their volumes were snapshotted.
    pub pauses: Vec<(PausePlan, Measured<Pauses>)>,
    /// Blocks that were read first and again, by what they hold.
    pub touches: Vec<(Content, Measured<Touches>)>,
    /// Volumes made from snapshots.
    pub creations: Option<Measured<Vec<Creations>>>,
    /// What could not be measured, and why.
    pub failures: Vec<String>,
}

/// What the benchmark is called.
pub const NAME: &str = "volume";

/// What it is told, a line each, which is the same for all of it.
pub fn parameters() -> Vec<String> {
    vec![
        "guests write 4 KiB anywhere, 32 at a time, and have written for a while when the \
         first snapshot is taken, alone; the later ones while earlier ones are stored"
            .to_owned(),
        "blocks are of 512 KiB, each read once before it is read again; there is no \
         warm-up else"
            .to_owned(),
    ]
}

impl Found {
    /// As a report of plinth, which says `version`.
    ///
    /// # Errors
    /// None but those of turning it into JSON, which has none.
    pub fn report(&self, version: String) -> serde_json::Result<Report> {
        let mut figures = Vec::new();
        let mut outcome = Outcome {
            peer: "plinth".to_owned(),
            version,
            settings: "plinth snapshot create, plinth volume create --from; ext4 on a disk in \
                       memory"
                .to_owned(),
            failures: self.failures.clone(),
            ..Outcome::default()
        };
        for (plan, measured) in &self.pauses {
            add_pauses(&mut figures, &mut outcome, plan, &measured.sample);
            keep(&mut outcome, measured)?;
        }
        for (content, measured) in &self.touches {
            add_touches(&mut figures, &mut outcome, *content, &measured.sample);
            keep(&mut outcome, measured)?;
        }
        if let Some(measured) = &self.creations {
            for creations in &measured.sample {
                add_creations(&mut figures, &mut outcome, creations);
            }
            keep(&mut outcome, measured)?;
        }
        Ok(Report {
            benchmark: NAME.to_owned(),
            parameters: parameters(),
            figures,
            outcomes: vec![outcome],
            ..Report::default()
        })
    }
}

fn keep<S: Serialize>(outcome: &mut Outcome, measured: &Measured<S>) -> serde_json::Result<()> {
    outcome.stalls += measured.stalls;
    outcome.raw.push(serde_json::to_value(&measured.sample)?);
    Ok(())
}

fn add_pauses(figures: &mut Vec<Figure>, outcome: &mut Outcome, plan: &PausePlan, pauses: &Pauses) {
    let gib = plan.written >> 30;
    let (prefix, which) = match plan.written == plan.size {
        true => (String::new(), String::new()),
        false => (format!("few-{gib}/"), format!(", {gib} GiB written to, of")),
    };
    let at = Some(plan.size >> 30);
    let mut add = |figure: Figure, samples: Vec<f64>| {
        for sample in samples {
            outcome.add(&figure.name, at, sample);
        }
        once(figures, figure);
    };
    let time = |name: &str, title: &str| {
        let (name, title) = (format!("{prefix}{name}"), format!("{title}{which}"));
        Figure::less(&name, &title, Unit::Nanoseconds).over(OVER)
    };
    let micros = |us: &[u64]| us.iter().map(|us| float(*us) * 1e3).collect::<Vec<_>>();
    let (alone, later) = pauses.pauses_us.split_at(1.min(pauses.pauses_us.len()));
    add(
        time("pause", "held back by a snapshot alone"),
        micros(alone),
    );
    let title = "held back while others are stored";
    add(time("pause-later", title), micros(later));
    let title = "plinth snapshot create";
    add(time("command", title), micros(&pauses.commands_us));
    for (when, seen) in [("before", pauses.before), ("during", pauses.during)] {
        let (name, title) = (
            format!("{prefix}writes-{when}"),
            format!("writes {when}{which}"),
        );
        let rate = Figure::more(&name, &title, Unit::PerSecond).over(OVER);
        add(rate, vec![seen.operations]);
        let (name, title) = (
            format!("longest-{when}"),
            format!("  the longest of them {when}"),
        );
        add(time(&name, &title), vec![seen.longest_us * 1e3]);
    }
}

fn add_touches(
    figures: &mut Vec<Figure>,
    outcome: &mut Outcome,
    content: Content,
    touches: &Touches,
) {
    let what = content.name();
    for (when, title, samples) in [
        ("first", "read from a snapshot", &touches.first_ns),
        ("again", "read once it is loaded", &touches.again_ns),
    ] {
        let name = format!("touch-{what}/{when}");
        let title = format!("a block {title}, {what}");
        for ns in samples {
            outcome.add(&name, None, float(*ns));
        }
        once(figures, Figure::less(&name, &title, Unit::Nanoseconds));
    }
}

fn add_creations(figures: &mut Vec<Figure>, outcome: &mut Outcome, creations: &Creations) {
    let (name, what) = match creations.blocks {
        0 => ("create-empty", "an empty snapshot"),
        _ => ("create", "a snapshot"),
    };
    for us in &creations.commands_us {
        outcome.add(name, Some(creations.size >> 30), float(*us) * 1e3);
    }
    let title = format!("plinth volume create --from {what}");
    once(
        figures,
        Figure::less(name, &title, Unit::Nanoseconds).over(OVER),
    );
}

fn once(figures: &mut Vec<Figure>, figure: Figure) {
    if figures.iter().all(|one| one.name != figure.name) {
        figures.push(figure);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Writes;
    use super::*;

    fn pauses(size: u64, written: u64) -> (PausePlan, Measured<Pauses>) {
        let writes = |operations| Writes {
            operations,
            mean_us: 1.0,
            longest_us: 72.0,
        };
        let plan = PausePlan {
            size: size << 30,
            written: written << 30,
            snapshots: 3,
        };
        let sample = Pauses {
            pauses_us: vec![130, 4000, 6000],
            commands_us: vec![10, 20, 30],
            before: writes(30_000.0),
            during: writes(3000.0),
        };
        (plan, Measured { sample, stalls: 1 })
    }

    #[test]
    fn a_pause_alone_is_told_from_those_that_others_share_and_few_writes_from_many() {
        let found = Found {
            pauses: vec![pauses(1, 1), pauses(1024, 1024), pauses(1024, 1)],
            ..Found::default()
        };
        let report = found.report("plinth".to_owned()).unwrap();
        let outcome = &report.outcomes[0];
        let median = |name, at| outcome.summary(name, Some(at)).unwrap().median;
        assert!((median("pause", 1) - 130e3).abs() < 1e-6);
        assert!((median("pause-later", 1024) - 5e6).abs() < 1e-6);
        assert!((median("few-1/pause", 1024) - 130e3).abs() < 1e-6);
        assert!((median("writes-during", 1) - 3000.0).abs() < 1e-6);
        assert!((median("longest-during", 1) - 72e3).abs() < 1e-6);
        assert_eq!(outcome.summary("few-1/pause", Some(1)), None);
        assert_eq!((outcome.stalls, outcome.raw.len()), (3, 3));
        let mut names: Vec<_> = report.figures.iter().map(|one| &one.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn what_was_measured_is_kept_beside_what_failed() {
        let found = Found {
            pauses: vec![pauses(1, 1)],
            failures: vec!["creation: the machine died".to_owned()],
            ..Found::default()
        };
        let report = found.report(String::new()).unwrap();
        assert_eq!(report.outcomes[0].failures, found.failures);
        assert!(report.outcomes[0].summary("pause", Some(1)).is_some());
    }

    #[test]
    fn every_block_and_every_volume_is_a_sample() {
        let touches = Touches {
            first_ns: vec![30, 10, 20],
            again_ns: vec![1, 2, 3],
        };
        let creations = |blocks| Creations {
            size: 16 << 30,
            blocks,
            commands_us: vec![4, 5],
        };
        let found = Found {
            touches: vec![(
                Content::Compressible,
                Measured {
                    sample: touches,
                    stalls: 0,
                },
            )],
            creations: Some(Measured {
                sample: vec![creations(0), creations(256)],
                stalls: 0,
            }),
            ..Found::default()
        };
        let report = found.report(String::new()).unwrap();
        let outcome = &report.outcomes[0];
        let first = outcome.summary("touch-compressible/first", None).unwrap();
        assert_eq!((first.count, first.min, first.max), (3, 10.0, 30.0));
        for name in ["create", "create-empty"] {
            let created = outcome.summary(name, Some(16)).unwrap();
            assert!((created.median - 4500.0).abs() < 1e-9);
        }
    }
}
