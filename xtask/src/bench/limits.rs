//! `cargo xtask bench limits`: how exact rate limits are, as fio in a guest
//! sees it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use benches::limits::{Allowed, LimitBench, Seen};
use clap::Args;
use guest_images::Cache;
use guest_images::emulator::mended;
use serde_json::json;

use super::{Format, emulator_name, plinth};
use crate::guest::outer_config;
use crate::image;

/// How far a guest may see a limit missed, as a part of it.
const TOLERANCE: f64 = 0.01;

/// What a limit lets through beyond itself in the first second: the burst of
/// 10 ms that a disk has unless told otherwise.
const BURST: f64 = 0.01;

/// The limits to measure; without one last, to show that it was they.
const CASES: [Allowed; 5] = [
    Allowed::Operations(100),
    Allowed::Operations(3000),
    Allowed::Operations(10_000),
    Allowed::Bytes(50_000_000),
    Allowed::Unlimited,
];

/// Rate limits of disks: how exactly fio in a guest is held to them.
#[derive(Debug, Args)]
pub(super) struct Limits {
    /// For how long fio reads each time, in seconds of the guest
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Measure only this many operations in a second
    #[arg(long, value_name = "N")]
    iops: Option<u64>,
    /// As a table for people, or as JSON
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl Limits {
    pub(super) fn run(self) -> Result<ExitCode> {
        let bench = bench(self.seconds, plinth()?)?;
        let only = self.iops.map(|iops| vec![Allowed::Operations(iops)]);
        let mut all = Vec::new();
        for allowed in only.unwrap_or_else(|| CASES.into()) {
            eprintln!("measuring {allowed:?}");
            all.push(bench.measure(allowed)?);
        }
        match self.output {
            Format::Text => {
                print(&all);
                println!("emulator: {}", emulator_name(bench.emulator.as_ref()));
            }
            Format::Json => {
                let value = json!({ "mode": "deterministic",
                    "emulator": emulator_name(bench.emulator.as_ref()), "seconds": self.seconds,
                    "kernel": bench.kernel.release, "limits": all });
                println!("{}", serde_json::to_string_pretty(&value)?);
            }
        }
        Ok(match all.iter().all(is_exact) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// A short look for `cargo xtask test`, with the programs that it built. In so
/// short a time the burst that a limit begins with shows, and is expected.
pub(crate) fn are_exact(plinth: PathBuf) -> Result<()> {
    let mut bench = bench(1, plinth)?;
    // Silent for 15 s where nothing else runs.
    bench.stall_bound = Duration::from_secs(90);
    for allowed in [Allowed::Operations(1000), Allowed::Bytes(50_000_000)] {
        let seen = bench.measure(allowed)?;
        let described = described(&seen);
        println!("{described} ({} outer machines stalled)", seen.stalls);
        let excused = seen.stalls == 0 || bench.emulator.is_none();
        ensure!(excused, "it hung in an emulator that does not: {described}");
        let missed_by = (seen.error() - BURST).abs();
        ensure!(missed_by <= TOLERANCE, "beyond 1 %: {described}");
    }
    Ok(())
}

fn bench(seconds: u32, plinth: PathBuf) -> Result<LimitBench> {
    ensure!(seconds > 0, "a measurement takes a second at least");
    let outer = outer_config()?;
    let cache = Cache::open()?;
    let kernel = image::kernel(&cache)?;
    Ok(LimitBench {
        emulator: mended::cached(&cache),
        outer_kernel: outer.kernel,
        agent: outer.agent,
        plinth,
        initramfs: image::guest_initramfs(&cache, &kernel)?,
        kernel,
        fio: guest_images::fio(&cache)?,
        seconds,
        // fio is silent while it reads, for minutes on a busy host.
        stall_bound: Duration::from_secs(900),
    })
}

fn is_exact(seen: &Seen) -> bool {
    seen.error().abs() <= TOLERANCE
}

fn print(all: &[Seen]) {
    println!(
        "{:>24} {:>12} {:>14} {:>9}",
        "limit", "operations/s", "bytes/s", "error"
    );
    for seen in all {
        println!("{}", described(seen));
    }
    let stalls: u32 = all.iter().map(|seen| seen.stalls).sum();
    println!("{stalls} outer machines stalled");
}

fn described(seen: &Seen) -> String {
    let limit = match seen.allowed {
        Allowed::Operations(limit) => format!("{limit} operations/s"),
        Allowed::Bytes(limit) => format!("{limit} bytes/s"),
        Allowed::Unlimited => "none".to_owned(),
    };
    let (operations, bytes) = (seen.operations, seen.bytes);
    let error = seen.error() * 100.0;
    format!("{limit:>24} {operations:>12.2} {bytes:>14.0} {error:>+7.3} %")
}
