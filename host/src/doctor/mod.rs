//! What this host can do: one probe for each thing a virtual machine may need.
//!
//! A probe looks at the host and a pure function beside it judges what was
//! seen, so that every verdict can be tested on any machine. Probes change
//! nothing.

use serde::Serialize;

pub mod cgroup;
pub mod finding;
pub mod huge_pages;
pub mod io_uring;
pub mod kvm;
pub mod landlock;
pub mod memory;
pub mod tap;
pub mod userfaultfd;

use finding::{Finding, Level};

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether a guest can be run at all.
    pub can_run: bool,
    /// One for each probe.
    pub findings: Vec<Finding>,
}

/// Runs every probe.
pub fn examine() -> Report {
    let kvm = kvm::probe();
    Report {
        can_run: kvm.level != Level::Missing,
        findings: vec![
            kvm,
            memory::probe(),
            tap::probe(),
            io_uring::probe(),
            huge_pages::probe(),
            userfaultfd::probe(),
            cgroup::probe(),
            landlock::probe(),
        ],
    }
}
