//! What comes of measuring several monitors, whatever is measured.

use std::path::{Path, PathBuf};

use anyhow::Result;
use benches::peer::Peer;
use serde::Serialize;

/// What all monitors did.
#[derive(Debug, Serialize)]
pub(super) struct Report<O> {
    pub(super) peers: Vec<O>,
    pub(super) not_found: Vec<&'static str>,
    pub(super) failed: Vec<String>,
}

impl<O> Report<O> {
    /// Has all `peers` measured that are there. A monitor that fails is said and
    /// does not stop the others.
    pub(super) fn of(
        peers: Vec<(&'static Peer, Option<PathBuf>)>,
        measure: impl Fn(&'static Peer, &Path) -> Result<O>,
    ) -> Self {
        let mut report = Self {
            peers: Vec::new(),
            not_found: Vec::new(),
            failed: Vec::new(),
        };
        for (peer, program) in peers {
            let Some(program) = program else {
                report.not_found.push(peer.name);
                continue;
            };
            eprintln!("measuring {}", peer.name);
            match measure(peer, &program) {
                Ok(outcome) => report.peers.push(outcome),
                Err(error) => report.failed.push(format!("{}: {error:#}", peer.name)),
            }
        }
        report
    }

    /// Says which monitors were not measured, and why.
    pub(super) fn print_unmeasured(&self) {
        for name in &self.not_found {
            println!("{name}: not on PATH");
        }
        for failure in &self.failed {
            println!("failed: {failure}");
        }
    }
}
