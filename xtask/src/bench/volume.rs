//! `cargo xtask bench volume`: measures what snapshots cost a guest, and how
//! soon what is in them can be had.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use benches::peer;
use benches::report::Mode;
use benches::volume::content::Content;
use benches::volume::{CreationPlan, Found, NAME, PausePlan, VolumeBench, parameters};
use clap::{Args, ValueEnum};

use super::common::{each_once, with_default};
use super::output::Output;
use super::testbed::{Parts, Plinth};
use crate::workspace;

/// Volumes are this large, in GiB, unless told otherwise.
const SIZES: [u64; 5] = [1, 16, 64, 256, 1024];

/// Snapshots of each; a volume has five under way at most.
const SNAPSHOTS: u32 = 4;

/// Blocks that are read, each of 512 KiB.
const TOUCHED: u32 = 128;

/// Blocks with something in them of the volumes that others are made from.
const STORED: u32 = 256;

/// Volumes made of each snapshot.
const MADE: u32 = 5;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// How long a snapshot holds a guest back that writes
    Pause,
    /// How long a guest waits for a block that is still in a snapshot
    Touch,
    /// How soon a volume made from a snapshot is there
    Creation,
}

/// Volumes: pauses for snapshots, blocks touched first, creation from snapshots.
#[derive(Debug, Args)]
pub(super) struct Volume {
    /// What to measure; all of it unless told otherwise
    #[arg(value_enum)]
    figures: Vec<Figure>,
    #[arg(long, value_name = "GIB", value_delimiter = ',', default_values_t = SIZES,
        hide_default_value = true, help = with_default("The volumes' sizes in GiB", &SIZES))]
    sizes: Vec<u64>,
    #[command(flatten)]
    output: Output,
}

impl Volume {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        let wanted = |figure| self.figures.is_empty() || self.figures.contains(&figure);
        let sizes = self.sizes()?;
        let earlier = self.output.check(Mode::Deterministic)?;
        let parts = Parts::get(Mode::Deterministic, Plinth::Release)?;
        let mut results = self.output.results(earlier, parts.conditions.clone());
        results.accept(&[(NAME, parameters())])?;
        let bench = bench(&parts)?;
        let mut found = Found::default();
        if wanted(Figure::Pause) {
            pauses(&bench, &sizes, &mut found);
        }
        if wanted(Figure::Touch) {
            for content in [Content::Incompressible, Content::Compressible] {
                let what = format!("blocks of {} content", content.name());
                let touches = measured(&what, &mut found, || bench.touches(TOUCHED, content));
                found.touches.extend(touches.map(|one| (content, one)));
            }
        }
        if wanted(Figure::Creation) {
            let plan = CreationPlan {
                sizes,
                blocks: STORED,
                times: MADE,
            };
            found.creations = measured("creation", &mut found, || bench.creations(plan));
        }
        results.add(found.report(peer::version(&bench.plinth))?);
        results.finish()
    }

    /// In bytes.
    fn sizes(&self) -> Result<Vec<u64>> {
        let bytes = |gib: u64| gib.checked_mul(1 << 30).context("that is too large");
        ensure!(!self.sizes.contains(&0), "a volume is not empty");
        let sizes = each_once(self.sizes.iter().copied());
        sizes.into_iter().map(bytes).collect()
    }
}

/// What `measure` finds of `what`. That it failed is added to `found`: what else was
/// measured, for hours, is kept.
fn measured<T>(what: &str, found: &mut Found, measure: impl FnOnce() -> Result<T>) -> Option<T> {
    eprintln!("measuring {what}");
    match measure() {
        Ok(measured) => Some(measured),
        Err(error) => {
            found.failures.push(format!("{what}: {error:#}"));
            None
        }
    }
}

/// Guests write all over volumes of each size, and to as much of the largest as the
/// smallest has: so it can be told what comes of the size and what of the blocks
/// written to.
fn pauses(bench: &VolumeBench, sizes: &[u64], found: &mut Found) {
    let mut plans: Vec<(u64, u64)> = sizes.iter().map(|size| (*size, *size)).collect();
    if let (Some(least), Some(most)) = (sizes.iter().min(), sizes.iter().max())
        && least < most
    {
        plans.push((*most, *least));
    }
    for (size, written) in plans {
        let (gib, written_gib) = (size >> 30, written >> 30);
        let what = format!("pauses of {gib} GiB, {written_gib} GiB written to");
        let plan = PausePlan {
            size,
            written,
            snapshots: SNAPSHOTS,
        };
        let pauses = measured(&what, found, || bench.pauses(plan.clone()));
        found.pauses.extend(pauses.map(|one| (plan, one)));
    }
}

fn bench(parts: &Parts) -> Result<VolumeBench> {
    Ok(VolumeBench {
        emulator: parts.full.emulator.clone(),
        outer_kernel: parts.full.outer_kernel.clone(),
        agent: parts.full.agent.clone(),
        probe: workspace::build_release("benches", "volume-probe")?,
        plinth: parts.plinth.clone().context("plinth was built")?,
        mke2fs: mke2fs()?,
        kernel: parts.full.kernel.clone(),
        initramfs: parts.full.initramfs.clone(),
        fio: guest_images::fio(&parts.cache)?,
        // The guest is silent while it writes, for minutes on a busy host.
        stall_bound: Duration::from_secs(900),
    })
}

/// Where the package e2fsprogs has it, which an outer machine's images need, too.
fn mke2fs() -> Result<PathBuf> {
    let places = ["/usr/sbin/mke2fs", "/sbin/mke2fs"];
    let mut places = places.into_iter().map(PathBuf::from);
    places
        .find(|path| path.is_file())
        .context("there is no mke2fs, of package e2fsprogs")
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn what_fails_is_said_and_does_not_stop_the_rest() {
        let mut found = Found::default();
        assert_eq!(measured("pauses", &mut found, || Ok(3)), Some(3));
        assert_eq!(
            measured::<u32>("touches", &mut found, || bail!("it broke")),
            None
        );
        assert_eq!(found.failures, ["touches: it broke"]);
    }

    #[test]
    fn what_is_announced_is_what_is_reported() {
        let report = Found::default().report(String::new()).unwrap();
        assert_eq!(report.benchmark, NAME);
        assert_eq!(report.parameters, parameters());
    }
}
