//! `cargo xtask bench limits`: how exact rate limits are, as fio in a guest
//! sees it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use benches::benchmark::{Benchmark, Rounds, carry_out};
use benches::limits::{Allowed, LimitBench, Seen};
use benches::peer::Peer;
use benches::report::Mode;
use clap::{Args, value_parser};

use super::output::Output;
use super::testbed::{Parts, Plinth};

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
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..))]
    seconds: u32,
    /// Measure only this many operations in a second
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    iops: Option<u64>,
    #[command(flatten)]
    output: Output,
}

impl Limits {
    /// Measures and prints; fails if a limit is missed.
    pub(super) fn run(self) -> Result<ExitCode> {
        let earlier = self.output.check(Mode::Deterministic)?;
        let parts = Parts::get(Mode::Deterministic, Plinth::Release)?;
        let mut results = self.output.results(earlier, parts.conditions.clone());
        let only = self.iops.map(|iops| vec![Allowed::Operations(iops)]);
        let limits = only.unwrap_or_else(|| CASES.into());
        let bench = bench(&parts, self.seconds, limits)?;
        results.accept(&[(bench.name(), bench.parameters())])?;
        let subject = (ours()?, parts.plinth.clone());
        let once = Rounds {
            warm_up: 0,
            counted: 1,
        };
        let report = carry_out(&bench, &[subject], once, &mut |line| eprintln!("{line}"));
        let measured = report.outcomes.iter().flat_map(|one| &one.measured);
        let missed = measured
            .filter(|one| one.figure.ends_with("/error"))
            .any(|one| one.samples.iter().any(|error| error.abs() > TOLERANCE));
        results.add(report);
        let code = results.finish()?;
        Ok(if missed { ExitCode::FAILURE } else { code })
    }
}

/// A short look for `cargo xtask test`, with the programs that it built. In so
/// short a time the burst that a limit begins with shows, and is expected.
pub(crate) fn are_exact(programs: &Path) -> Result<()> {
    let parts = Parts::get(Mode::Deterministic, Plinth::Development(programs))?;
    let mut bench = bench(&parts, 1, Vec::new())?;
    // Silent for 15 s where nothing else runs.
    bench.stall_bound = Duration::from_secs(90);
    let plinth: PathBuf = programs.join("plinth");
    for allowed in [Allowed::Operations(1000), Allowed::Bytes(50_000_000)] {
        let seen = bench.seen(ours()?, &plinth, allowed)?;
        let described = described(&seen);
        println!("{described} ({} outer machines stalled)", seen.stalls);
        let excused = seen.stalls == 0 || bench.testbed.emulator.is_none();
        ensure!(excused, "it hung in an emulator that does not: {described}");
        let missed_by = (seen.error() - BURST).abs();
        ensure!(missed_by <= TOLERANCE, "beyond 1 %: {described}");
    }
    Ok(())
}

fn ours() -> Result<&'static Peer> {
    Peer::named("plinth").context("plinth is a peer")
}

fn bench(parts: &Parts, seconds: u32, limits: Vec<Allowed>) -> Result<LimitBench> {
    Ok(LimitBench {
        testbed: parts.full.clone(),
        fio: guest_images::fio(&parts.cache)?,
        limits,
        seconds,
        // fio is silent while it reads, for minutes on a busy host.
        stall_bound: Duration::from_secs(900),
    })
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
