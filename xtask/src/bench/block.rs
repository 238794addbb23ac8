//! `cargo xtask bench block`: measures plinth's disks beside those of other
//! machine monitors.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use benches::block::{BlockBench, JOBS, Job, Outcome, table};
use benches::peer::Peer;
use clap::Args;
use guest_images::Cache;
use guest_images::emulator::mended;
use serde_json::json;

use super::peers::peers;
use super::report::Report;
use super::{Format, emulator_name};
use crate::guest::outer_config;
use crate::image;

/// plinth with a raw file, a volume, and an encrypted volume.
const OURS: [&str; 3] = ["plinth", "plinth-volume", "plinth-encrypted"];

/// Disks: fio in a guest, on a raw file of 64 MiB, with libaio and O_DIRECT.
#[derive(Debug, Args)]
pub(super) struct Block {
    /// Monitors to compare with: qemu-q35, qemu (microvm), firecracker,
    /// cloud-hypervisor, kvmtool
    #[arg(long, value_delimiter = ',', num_args = 0..,
        default_value = "qemu-q35,qemu,firecracker,cloud-hypervisor,kvmtool")]
    vs: Vec<String>,
    /// Which of plinth, plinth-volume, plinth-encrypted and plinth-mmio to
    /// measure
    #[arg(long, value_delimiter = ',', num_args = 0.., default_values = OURS)]
    ours: Vec<String>,
    /// Measure only these, without plinth
    #[arg(long)]
    alone: bool,
    /// What fio does: randread-N and randwrite-N with N of 1, 4 and 32, read,
    /// write; all of it unless told otherwise
    #[arg(long, value_name = "JOB", value_delimiter = ',')]
    jobs: Vec<String>,
    /// For how long each time, in seconds of the guest
    #[arg(long, default_value_t = 1)]
    seconds: u32,
    /// More words for the guest's kernel
    #[arg(long, value_name = "WORDS", default_value = "")]
    append: String,
    /// As a table for people, or as JSON
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl Block {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        let bench = self.bench()?;
        let report = Report::of(self.peers()?, |peer, program| bench.measure(peer, program));
        match self.output {
            Format::Text => {
                report.print(&bench.jobs);
                println!("emulator: {}", emulator_name(&bench.emulator));
            }
            Format::Json => {
                let value = json!({ "mode": "deterministic",
                    "emulator": emulator_name(&bench.emulator), "kernel": bench.kernel.release,
                    "seconds": self.seconds, "report": report });
                println!("{}", serde_json::to_string_pretty(&value)?);
            }
        }
        Ok(match report.failed.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    fn bench(&self) -> Result<BlockBench> {
        ensure!(self.seconds > 0, "a measurement takes a second at least");
        let jobs = self.jobs()?;
        let outer = outer_config()?;
        let cache = Cache::open()?;
        let kernel = image::kernel(&cache)?;
        Ok(BlockBench {
            emulator: mended::cached(&cache),
            outer_kernel: outer.kernel,
            agent: outer.agent,
            initramfs: image::guest_initramfs(&cache, &kernel)?,
            kernel,
            fio: guest_images::fio(&cache)?,
            busybox: guest_images::busybox(&cache)?,
            jobs,
            seconds: self.seconds,
            words: self.append.clone(),
            // fio is silent while it works, for minutes on a busy host.
            stall_bound: Duration::from_secs(900),
        })
    }

    fn jobs(&self) -> Result<Vec<Job>> {
        if self.jobs.is_empty() {
            return Ok(JOBS.into());
        }
        let job = |name: &String| {
            Job::named(name).with_context(|| {
                format!("no job is called {name:?}; see cargo xtask bench block --help")
            })
        };
        self.jobs.iter().map(job).collect()
    }

    /// plinth and the others.
    fn peers(&self) -> Result<Vec<(&'static Peer, Option<PathBuf>)>> {
        let ours: &[String] = if self.alone { &[] } else { &self.ours };
        peers("block", ours, &self.vs)
    }
}

impl Report<Outcome> {
    fn print(&self, jobs: &[Job]) {
        println!("{}\n", table(jobs, &self.peers));
        for outcome in &self.peers {
            println!("{}: {}", outcome.peer, outcome.version);
            println!("  {}", outcome.settings);
            println!("  command line: {}", outcome.command_line);
            let latencies = outcome.seen.iter();
            let latencies: Vec<String> = latencies
                .map(|seen| format!("{} {:.1}", seen.job, seen.latency_us))
                .collect();
            println!("  mean latency in µs: {}", latencies.join(", "));
            println!("  {} outer machines stalled", outcome.stalls);
        }
        self.print_unmeasured();
    }
}
