//! `cargo xtask bench`: measures. The crate benches does it; here is what it
//! needs, and the output.

mod boot;
pub(crate) mod limits;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

use guest_images::Cache;
use outer::{built_mended_emulator, mended_emulator};

use crate::{packages, workspace};

/// Measure plinth, beside other machine monitors where they can be compared.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Boot(boot::Boot),
    Limits(limits::Limits),
    Emulator(Emulator),
}

/// Build an emulator for `boot` and `limits` that long runs do not hang in.
///
/// It is Debian's QEMU with two mistakes mended, see tests/outer/src/mended.rs.
/// Takes about ten minutes; from then on it is used.
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
            What::Boot(boot) => boot.run(),
            What::Limits(limits) => limits.run(),
            What::Emulator(Emulator {}) => {
                packages::ensure(&[&packages::OUTER, &packages::EMULATOR])?;
                println!("{}", mended_emulator(&Cache::open()?)?.display());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// The mended emulator if it was built; which one measures is said.
fn emulator(cache: &Cache) -> Option<PathBuf> {
    let built = built_mended_emulator(cache);
    match &built {
        Some(_) => eprintln!("measuring in the mended emulator"),
        None => eprintln!(
            "measuring in the installed emulator, in which long runs may hang: \
             see cargo xtask bench emulator --help"
        ),
    }
    built
}

/// The release of `plinth`, with the VM process's program beside it.
fn plinth() -> Result<PathBuf> {
    workspace::build_release("vmm", "plinth-vmm")?;
    workspace::build_release("plinth", "plinth")
}
