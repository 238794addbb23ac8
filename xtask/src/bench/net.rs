//! `cargo xtask bench net`: measures plinth's networks beside those of other
//! machine monitors.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use benches::net::{NetBench, Outcome, PATTERNS, Pattern, table};
use benches::peer::Peer;
use clap::Args;
use guest_images::Cache;
use guest_images::emulator::mended;
use serde_json::json;

use super::peers::peers;
use super::report::Report;
use super::{Format, emulator_name};
use crate::guest::outer_config;
use crate::{image, packages};

/// plinth with a tap, the same served by the kernel, and on a virtual network whose security group has one rule
/// and 60.
const OURS: [&str; 4] = ["plinth", "plinth-vhost", "plinth-vpc", "plinth-vpc-60"];

/// Networks: round trips, TCP both ways, small UDP packets both ways.
///
/// Guest, monitor, the host's kernel and the other end share one CPU. With a tap
/// the other end is a program of the host, on a virtual network another guest.
#[derive(Debug, Args)]
pub(super) struct Net {
    /// Monitors to compare with: qemu-q35, qemu (microvm), firecracker,
    /// cloud-hypervisor, kvmtool; and qemu-q35-vhost, qemu-vhost, kvmtool-vhost,
    /// with vhost-net
    #[arg(long, value_delimiter = ',', num_args = 0..,
        default_value = "qemu-q35-vhost,qemu-q35,firecracker,cloud-hypervisor,kvmtool-vhost")]
    vs: Vec<String>,
    /// Which of plinth, plinth-vhost, plinth-mmio, plinth-vpc and plinth-vpc-60 to measure
    #[arg(long, value_delimiter = ',', num_args = 0.., default_values = OURS)]
    ours: Vec<String>,
    /// Measure only these, without plinth
    #[arg(long)]
    alone: bool,
    /// What is measured: round-trips, stream-out, stream-in (TCP), packets-out,
    /// packets-in (UDP), as the guest sees it; all of it unless told otherwise
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    patterns: Vec<String>,
    /// For how long each time, in milliseconds of the guest
    #[arg(long, default_value_t = 500)]
    milliseconds: u32,
    /// More words for the guest's kernel
    #[arg(long, value_name = "WORDS", default_value = "")]
    append: String,
    /// As a table for people, or as JSON
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl Net {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        let bench = self.bench()?;
        let report = Report::of(self.peers()?, |peer, program| bench.measure(peer, program));
        match self.output {
            Format::Text => {
                report.print(&bench.patterns);
                println!("emulator: {}", emulator_name(&bench.emulator));
            }
            Format::Json => {
                let value = json!({ "mode": "deterministic, one CPU",
                    "emulator": emulator_name(&bench.emulator), "kernel": bench.kernel.release,
                    "outer_kernel": bench.outer_kernel.release,
                    "milliseconds": self.milliseconds, "report": report });
                println!("{}", serde_json::to_string_pretty(&value)?);
            }
        }
        Ok(match report.failed.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    fn bench(&self) -> Result<NetBench> {
        ensure!(self.milliseconds > 0, "a measurement takes time");
        packages::ensure(&[&packages::OUTER, &packages::UNIT_TESTS])?;
        let outer = outer_config()?;
        let cache = Cache::open()?;
        let kernel = image::kernel(&cache)?;
        Ok(NetBench {
            emulator: mended::cached(&cache),
            outer_kernel: outer.kernel,
            agent: outer.agent,
            initramfs: image::guest_initramfs(&cache, &kernel)?,
            kernel,
            init: image::init()?,
            busybox: guest_images::busybox(&cache)?,
            ip: tool("ip")?,
            nft: tool("nft")?,
            patterns: self.patterns()?,
            milliseconds: self.milliseconds,
            words: self.append.clone(),
            // The guest is silent while it sends, for minutes on a busy host.
            stall_bound: Duration::from_secs(600),
        })
    }

    fn patterns(&self) -> Result<Vec<Pattern>> {
        if self.patterns.is_empty() {
            return Ok(PATTERNS.into());
        }
        let pattern = |name: &String| {
            Pattern::named(name).with_context(|| {
                format!("no pattern is called {name:?}; see cargo xtask bench net --help")
            })
        };
        self.patterns.iter().map(pattern).collect()
    }

    /// plinth and the others.
    fn peers(&self) -> Result<Vec<(&'static Peer, Option<PathBuf>)>> {
        let ours: &[String] = if self.alone { &[] } else { &self.ours };
        peers("net", ours, &self.vs)
    }
}

/// Where Debian has a program for administrators.
fn tool(name: &str) -> Result<PathBuf> {
    let places = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    let mut places = places
        .map(|place| PathBuf::from(place).join(name))
        .into_iter();
    places
        .find(|path| path.is_file())
        .with_context(|| format!("there is no {name}, of package iproute2 or nftables"))
}

impl Report<Outcome> {
    fn print(&self, patterns: &[Pattern]) {
        println!("{}\n", table(patterns, &self.peers));
        for outcome in &self.peers {
            println!("{}: {}", outcome.peer, outcome.version);
            println!("  {}", outcome.settings);
            println!("  command line: {}", outcome.command_line);
            println!("  {} outer machines stalled", outcome.stalls);
        }
        self.print_unmeasured();
        println!("mode: deterministic, one CPU");
    }
}
