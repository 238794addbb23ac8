//! `cargo xtask bench`: measures. The crate benches does it; here is what it
//! needs, and the output.

mod all;
mod block;
mod boot;
mod common;
mod control;
mod density;
pub(crate) mod gate;
mod growth;
pub(crate) mod limits;
mod memory;
mod net;
mod output;
mod peers;
mod scratch;
mod testbed;
mod volume;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use guest_images::Cache;
use guest_images::emulator::mended;

use self::scratch::Scratch;
use crate::packages;

/// Measure plinth, beside other machine monitors where they can be compared.
///
/// Those that are compared are found on PATH. Unless told otherwise, time is
/// counted in instructions, in an emulated machine with one CPU: a figure then
/// repeats whatever else this host does.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    All(all::All),
    Boot(boot::Boot),
    Exits(boot::Exits),
    Memory(memory::Memory),
    Growth(growth::Growth),
    Density(density::Density),
    Control(control::Control),
    Block(block::Block),
    Net(net::Net),
    Limits(limits::Limits),
    Volume(volume::Volume),
    Baseline(gate::Baseline),
    Emulator(Emulator),
}

/// Build an emulator for the others that long runs do not hang in.
///
/// It is Debian's QEMU with a mistake mended, see guest-images/src/emulator/mended.rs.
/// Takes some minutes; from then on it is used.
#[derive(Debug, Args)]
struct Emulator {}

impl Bench {
    /// Measures and prints.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let scratch = Scratch::make()?;
        scratch.is_for_all();
        match self.what {
            What::All(all) => all.run(),
            What::Boot(boot) => boot.run(),
            What::Exits(exits) => exits.run(),
            What::Memory(memory) => memory.run(),
            What::Growth(growth) => growth.run(),
            What::Density(density) => density.run(),
            What::Control(control) => control.run(),
            What::Block(block) => block.run(),
            What::Net(net) => net.run(),
            What::Limits(limits) => limits.run(),
            What::Volume(volume) => volume.run(),
            What::Baseline(baseline) => baseline.run(),
            What::Emulator(Emulator {}) => {
                packages::ensure(&[&packages::OUTER, &packages::EMULATOR])?;
                println!("{}", mended::build(&Cache::open()?)?.display());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
