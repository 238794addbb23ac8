//! `cargo xtask bench boot`: measures plinth beside other machine monitors.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use benches::boot::{BootBench, Outcome};
use benches::peer::Peer;
use benches::table;
use clap::Args;
use guest_images::Cache;
use guest_images::emulator::mended;
use serde_json::json;

use super::report::Report;
use super::{Format, emulator_name, plinth};
use crate::guest::outer_config;
use crate::{image, workspace};

/// Runs of one peer may differ by this part of the whole.
const TOLERANCE: f64 = 0.001;

/// Booting a stock kernel: times, exits, system calls, memory.
#[derive(Debug, Args)]
pub(super) struct Boot {
    /// Monitors to compare with: qemu, firecracker, cloud-hypervisor, kvmtool.
    #[arg(long, value_delimiter = ',', num_args = 0..,
        default_value = "qemu,firecracker,cloud-hypervisor,kvmtool")]
    vs: Vec<String>,
    /// Measure only these, without plinth.
    #[arg(long)]
    alone: bool,
    /// How many times to run each; they must agree.
    #[arg(long, default_value_t = 2)]
    runs: u32,
    /// Memory of the guest in MiB.
    #[arg(long, default_value_t = 256)]
    memory: u32,
    /// More words for the guest's kernel.
    #[arg(long, value_name = "WORDS", default_value = "")]
    append: String,
    /// Write the trace and the console of each monitor's boots to DIR.
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
    /// As a table for people, or as JSON.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl Boot {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        let bench = self.bench()?;
        let report = Report::of(self.peers()?, |peer, program| bench.measure(peer, program));
        match self.output {
            Format::Text => {
                report.print();
                println!("emulator: {}", emulator_name(&bench.emulator));
            }
            Format::Json => {
                let value = json!({ "mode": "deterministic",
                    "emulator": emulator_name(&bench.emulator), "kernel": bench.kernel.release,
                    "memory_mib": self.memory, "report": report });
                println!("{}", serde_json::to_string_pretty(&value)?);
            }
        }
        Ok(match report.is_sound() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    fn bench(&self) -> Result<BootBench> {
        let outer = outer_config()?;
        let cache = Cache::open()?;
        Ok(BootBench {
            emulator: mended::cached(&cache),
            outer_kernel: outer.kernel,
            agent: outer.agent,
            probe: workspace::build_release("benches", "boot-probe")?,
            kernel: image::kernel(&cache)?,
            // No devices, no modules.
            initramfs: image::fast_initramfs(&cache)?,
            memory_mib: self.memory,
            runs: self.runs,
            words: self.append.clone(),
            traces: self.traces.clone(),
        })
    }

    /// plinth, built now, and the others if they are found.
    fn peers(&self) -> Result<Vec<(&'static Peer, Option<PathBuf>)>> {
        let mut peers = Vec::new();
        if !self.alone {
            let program = plinth()?;
            for name in ["plinth", "plinth-mmio"] {
                let peer = Peer::named(name).expect("plinth is a peer");
                peers.push((peer, Some(program.clone())));
            }
        }
        for name in &self.vs {
            let Some(peer) = Peer::named(name) else {
                bail!("no monitor is called {name:?}; see cargo xtask bench boot --help");
            };
            peers.push((peer, peer.find()));
        }
        Ok(peers)
    }
}

impl Report<Outcome> {
    /// Whether every monitor that was found was measured, and repeatably.
    fn is_sound(&self) -> bool {
        let repeats = |peer: &Outcome| table::spread(peer) <= TOLERANCE;
        self.failed.is_empty() && self.peers.iter().all(repeats)
    }

    fn print(&self) {
        println!("{}\n", table::table(&self.peers));
        for outcome in &self.peers {
            println!("{}", table::breakdown(outcome));
        }
        for outcome in &self.peers {
            println!("{}: {}", outcome.peer, outcome.version);
            println!("  {}", outcome.settings);
            println!("  command line: {}", outcome.command_line);
            println!(
                "  runs differ by {:.4} %; {} outer machines stalled",
                table::spread(outcome) * 100.0,
                outcome.stalls
            );
        }
        self.print_unmeasured();
    }
}
