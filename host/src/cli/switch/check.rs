//! `plinth switch check`: whether the kernel has what is stored.

use clap::Args;
use network::name::Name;
use serde_json::json;

use crate::error::Error;
use crate::exit::ExitStatus;
use crate::switch::change;
use crate::switch::directory::Switches;
use crate::switch::service;

use super::super::Outcome;
use super::super::output::{Format, Output, print, print_json};

/// Compare what switches should be with what is in the kernel
///
/// Prints each difference, and fails if there is one; plinth switch up mends them.
///
/// Examples:
///   plinth switch check
///   plinth switch check shop || plinth switch up shop
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Check {
    /// The switch's name; all if not given
    #[arg(value_name = "SWITCH")]
    switch: Option<Name>,

    #[command(flatten)]
    output: Output,
}

impl Check {
    pub(super) fn execute(self) -> Outcome {
        let switches = Switches::of_this_user()?;
        let names = self
            .switch
            .map_or_else(|| switches.names(), |name| Ok(vec![name]))?;
        let mut lines = Vec::new();
        let mut documents = Vec::new();
        for name in names {
            let differences =
                differences(&switches, &name).unwrap_or_else(|error| vec![error.report()]);
            lines.extend(differences.iter().map(|one| format!("{name}: {one}\n")));
            documents.push(json!({"name": name, "differences": differences}));
        }
        let _ = match self.output.format {
            Format::Json => print_json(&documents.into())?,
            Format::Table => print(&lines.concat())?,
        };
        Ok(match lines.is_empty() {
            true => ExitStatus::Success,
            false => ExitStatus::Unexpected,
        })
    }
}

fn differences(switches: &Switches, name: &Name) -> Result<Vec<String>, Error> {
    let mut differences = change::check(switches, name)?;
    if service::is_missing(switches, name)? {
        differences.push("nothing answers DHCP, DNS and metadata: its service has ended".into());
    }
    Ok(differences)
}
