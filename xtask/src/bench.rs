//! `cargo xtask bench`: measures. The crate benches does it; here is what it
//! needs, and the output.

mod block;
mod boot;
pub(crate) mod limits;
mod net;
mod peers;
mod report;
mod volume;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use guest_images::Cache;
use guest_images::emulator::mended;

use crate::{packages, workspace};

/// Measure plinth, beside other machine monitors where they can be compared.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Block(block::Block),
    Boot(boot::Boot),
    Limits(limits::Limits),
    Net(net::Net),
    Volume(volume::Volume),
    Emulator(Emulator),
}

/// Build an emulator for the others that long runs do not hang in.
///
/// It is Debian's QEMU with a mistake mended, see guest-images/src/emulator/mended.rs.
/// Takes some minutes; from then on it is used.
#[derive(Debug, Args)]
struct Emulator {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Bench {
    /// Measures and prints.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.what {
            What::Block(block) => block.run(),
            What::Boot(boot) => boot.run(),
            What::Limits(limits) => limits.run(),
            What::Net(net) => net.run(),
            What::Volume(volume) => volume.run(),
            What::Emulator(Emulator {}) => {
                packages::ensure(&[&packages::OUTER, &packages::EMULATOR])?;
                println!("{}", mended::build(&Cache::open()?)?.display());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// What a report calls the emulator that measured.
fn emulator_name(program: &Option<PathBuf>) -> &'static str {
    match program {
        Some(_) => "mended",
        None => "installed; long runs hang in it, see cargo xtask bench emulator --help",
    }
}

/// The release of `plinth`, with the VM process's program beside it.
fn plinth() -> Result<PathBuf> {
    workspace::build_release("vmm", "plinth-vmm")?;
    workspace::build_release("plinth", "plinth")
}
