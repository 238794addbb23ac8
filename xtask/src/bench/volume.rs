//! `cargo xtask bench volume`: measures what snapshots cost a guest, and how
//! soon what is in them can be had.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use benches::volume::content::Content;
use benches::volume::table;
use benches::volume::{CreationPlan, Creations, Measured, PausePlan, Pauses, Touches, VolumeBench};
use clap::{Args, ValueEnum};
use guest_images::Cache;
use guest_images::emulator::mended;
use serde::Serialize;
use serde_json::json;

use super::output::Format;
use super::{emulator_name, plinth};
use crate::guest::outer_config;
use crate::{image, workspace};

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
    /// The volumes' sizes in GiB
    #[arg(long, value_name = "GIB", value_delimiter = ',', default_values_t = SIZES)]
    sizes: Vec<u64>,
    /// As tables for people, or as JSON
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// All that was measured.
#[derive(Debug, Default, Serialize)]
struct Figures {
    pauses: Vec<(PausePlan, Measured<Pauses>)>,
    touches: Vec<(Content, Measured<Touches>)>,
    creations: Option<Measured<Vec<Creations>>>,
}

impl Volume {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        let wanted = |figure| self.figures.is_empty() || self.figures.contains(&figure);
        let bench = bench()?;
        let mut figures = Figures::default();
        if wanted(Figure::Pause) {
            figures.pauses = self.pauses(&bench)?;
        }
        if wanted(Figure::Touch) {
            for content in [Content::Incompressible, Content::Compressible] {
                eprintln!("measuring blocks of {} content", name(content));
                let touches = bench.touches(TOUCHED, content)?;
                figures.touches.push((content, touches));
            }
        }
        if wanted(Figure::Creation) {
            eprintln!("measuring creation");
            figures.creations = Some(bench.creations(CreationPlan {
                sizes: self.sizes()?,
                blocks: STORED,
                times: MADE,
            })?);
        }
        self.print(&bench, &figures)?;
        Ok(ExitCode::SUCCESS)
    }

    /// In bytes.
    fn sizes(&self) -> Result<Vec<u64>> {
        let bytes = |gib: &u64| gib.checked_mul(1 << 30).context("that is too large");
        ensure!(!self.sizes.contains(&0), "a volume is not empty");
        self.sizes.iter().map(bytes).collect()
    }

    /// Guests write all over volumes of each size, and to as much of the largest
    /// as the smallest has: so it can be told what comes of the size and what of
    /// the blocks written to.
    fn pauses(&self, bench: &VolumeBench) -> Result<Vec<(PausePlan, Measured<Pauses>)>> {
        let sizes = self.sizes()?;
        let mut plans: Vec<(u64, u64)> = sizes.iter().map(|size| (*size, *size)).collect();
        if let (Some(least), Some(most)) = (sizes.iter().min(), sizes.iter().max())
            && least < most
        {
            plans.push((*most, *least));
        }
        let measure = |(size, written)| {
            eprintln!("measuring pauses of {} GiB", size >> 30);
            let plan = PausePlan {
                size,
                written,
                snapshots: SNAPSHOTS,
            };
            Ok((plan.clone(), bench.pauses(plan)?))
        };
        plans.into_iter().map(measure).collect()
    }

    fn print(&self, bench: &VolumeBench, figures: &Figures) -> Result<()> {
        let (emulator, kernel) = (
            emulator_name(bench.emulator.as_ref()),
            &bench.kernel.release,
        );
        let outer_kernel = &bench.outer_kernel.release;
        if self.output == Format::Json {
            let value = json!({ "mode": "deterministic", "emulator": emulator,
                "kernel": kernel, "outer_kernel": outer_kernel,
                "file_system": "ext4 on a disk in memory", "figures": figures });
            println!("{}", serde_json::to_string_pretty(&value)?);
            return Ok(());
        }
        figures.print();
        println!("mode: deterministic, one CPU; ext4 on a disk in memory");
        println!("kernel: {kernel}; outer kernel: {outer_kernel}");
        println!("emulator: {emulator}");
        Ok(())
    }
}

impl Figures {
    fn print(&self) {
        let mut stalls = 0;
        if !self.pauses.is_empty() {
            let rows = self.pauses.iter().map(|(plan, one)| (plan, &one.sample));
            println!("{}\n", table::pauses(&rows.collect::<Vec<_>>()));
            stalls += self.pauses.iter().map(|(_, one)| one.stalls).sum::<u32>();
        }
        if !self.touches.is_empty() {
            let rows = self.touches.iter();
            let rows = rows.map(|(content, one)| (name(*content), &one.sample));
            println!("{}\n", table::touches(&rows.collect::<Vec<_>>()));
            stalls += self.touches.iter().map(|(_, one)| one.stalls).sum::<u32>();
        }
        if let Some(creations) = &self.creations {
            println!("{}\n", table::creations(&creations.sample));
            stalls += creations.stalls;
        }
        println!("{stalls} outer machines stalled");
    }
}

fn name(content: Content) -> &'static str {
    match content {
        Content::Incompressible => "incompressible",
        Content::Compressible => "compressible",
    }
}

fn bench() -> Result<VolumeBench> {
    let outer = outer_config()?;
    let cache = Cache::open()?;
    let kernel = image::kernel(&cache)?;
    Ok(VolumeBench {
        emulator: mended::cached(&cache),
        outer_kernel: outer.kernel,
        agent: outer.agent,
        probe: workspace::build_release("benches", "volume-probe")?,
        plinth: plinth()?,
        mke2fs: mke2fs()?,
        initramfs: image::guest_initramfs(&cache, &kernel)?,
        kernel,
        fio: guest_images::fio(&cache)?,
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
