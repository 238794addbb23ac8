//! `plinth volume check`: whether a volume is as it should be.

use ::volume::check::Gravity;
use clap::Args;

use crate::exit::ExitStatus;
use crate::volume::check::{Checked, check};
use crate::volume::directory::{Volume, Volumes};
use crate::volume::selector::Selector;

use super::super::Outcome;
use super::super::output::print_on;

/// Check a volume's files against each other
///
/// The exit status is 0 if all is well, or was put right, and 1 if not. The
/// volume must not be attached to a machine that may write to it. A machine
/// that was killed leaves nothing to be repaired.
///
/// Examples:
///   plinth volume check data
///   plinth volume check data --repair
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Check {
    /// The volume's name or id
    #[arg(value_name = "VOLUME")]
    volume: Selector,

    /// Put right what can be without losing anything
    #[arg(long)]
    repair: bool,
}

impl Check {
    pub(super) fn execute(self) -> Outcome {
        let mut volume = Volumes::of_this_user()?.find(&self.volume)?;
        let checked = check(&mut volume, self.repair)?;
        print_on(&text(&volume, &checked))?;
        Ok(match checked.gravity() {
            None => ExitStatus::Success,
            Some(_) => ExitStatus::Unexpected,
        })
    }
}

fn text(volume: &Volume, checked: &Checked) -> String {
    let (name, counts) = (volume.name(), checked.files.counts);
    let mut text = String::new();
    for finding in &checked.files.findings {
        text += &format!("{name}: {finding}\n");
    }
    if let Some(size) = checked.size {
        text += &format!("{name}: {size}\n");
    }
    if let Some(lost) = &checked.lost {
        text += &format!("{name}: {lost}\n");
    }
    let blocks = format!(
        "{} blocks with data, {} of zeroes, {} to be loaded",
        counts.present, counts.zero, counts.absent
    );
    let verdict = match checked.gravity() {
        None if checked.files.repaired > 0 => format!("repaired; {blocks}"),
        None => format!("clean; {blocks}"),
        Some(Gravity::Repairable) => {
            format!("nothing is lost; plinth volume check {name} --repair puts it right")
        }
        Some(Gravity::Damage) => "damaged: some of it is lost".into(),
    };
    text + &format!("{name}: {verdict}\n")
}
