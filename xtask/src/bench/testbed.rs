//! Where and with what everything is measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use benches::report::{Conditions, Mode};
use benches::testbed::Testbed;
use guest_images::emulator::mended;
use guest_images::{Cache, Kernel};
use outer::{KvmUse, usable_kvm};

use crate::guest::outer_config;
use crate::{image, packages, workspace};

/// What benchmarks are made of.
#[derive(Debug)]
pub(super) struct Parts {
    /// With guests that have no devices and no modules.
    pub(super) bare: Testbed,
    /// With guests that have drivers.
    pub(super) full: Testbed,
    pub(super) ip: PathBuf,
    pub(super) cache: Cache,
    /// plinth's program, if it is measured.
    pub(super) plinth: Option<PathBuf>,
    /// Under which conditions this measures, as they were when it began.
    pub(super) conditions: Conditions,
}

/// Which plinth is measured.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plinth<'a> {
    /// The release of what is checked out, which is built now.
    Release,
    /// The development build in this directory, with the probe.
    Development(&'a Path),
    /// This program, of which nothing is known.
    Named(&'a Path),
    /// None: others are measured alone.
    Absent,
}

impl Parts {
    /// Fetches and builds what is missing.
    pub(super) fn get(mode: Mode, plinth: Plinth<'_>) -> Result<Self> {
        if let (Mode::WallClock, KvmUse::Nested(why)) = (mode, usable_kvm()) {
            bail!(
                "--wall-clock takes hardware KVM, and root for taps and tracing, which is not \
                 to be had here: {why}. Without --wall-clock instructions are counted, which \
                 every host can"
            );
        }
        packages::ensure(&[&packages::OUTER, &packages::UNIT_TESTS])?;
        let outer = outer_config()?;
        let cache = Cache::open()?;
        let kernel = image::kernel(&cache)?;
        let (probe, program) = plinth.programs()?;
        let bare = Testbed {
            mode,
            emulator: mended::cached(&cache),
            outer_kernel: outer.kernel,
            agent: outer.agent,
            probe,
            initramfs: image::fast_initramfs(&cache)?,
            busybox: guest_images::busybox(&cache)?,
            tracing: "/sys/kernel/tracing".into(),
            kernel,
        };
        let full = Testbed {
            initramfs: image::guest_initramfs(&cache, &bare.kernel)?,
            ..bare.clone()
        };
        Ok(Self {
            ip: tool("ip")?,
            cache,
            plinth: program,
            conditions: conditions(&bare, plinth),
            bare,
            full,
        })
    }
}

impl Plinth<'_> {
    /// The probe, and plinth's program.
    fn programs(self) -> Result<(PathBuf, Option<PathBuf>)> {
        let release = || workspace::build_release("benches", "monitor-probe");
        Ok(match self {
            Self::Release => (release()?, Some(released()?)),
            Self::Development(programs) => {
                let program = Some(programs.join("plinth"));
                (programs.join("monitor-probe"), program)
            }
            Self::Named(program) => (release()?, Some(program.to_owned())),
            Self::Absent => (release()?, None),
        })
    }

    /// Of which commit it is, where that is known.
    fn origin(self) -> String {
        match self {
            Self::Release | Self::Development(_) => commit(),
            Self::Named(program) => format!("{}, of no known commit", program.display()),
            Self::Absent => "not measured".to_owned(),
        }
    }
}

fn conditions(testbed: &Testbed, plinth: Plinth<'_>) -> Conditions {
    let release = |kernel: &Kernel| kernel.release.clone();
    let emulated = testbed.mode == Mode::Deterministic;
    let began = jiff::Timestamp::now().round(jiff::Unit::Second);
    Conditions {
        outer_kernel: emulated.then(|| release(&testbed.outer_kernel)),
        guest_kernel: release(&testbed.kernel),
        emulator: emulated.then(|| emulator(testbed)),
        plinth: plinth.origin(),
        began: began.map_or_else(|_| String::new(), |time| time.to_string()),
        ..Conditions::here(testbed.mode)
    }
}

/// The release of `plinth`, with the VM process's program beside it.
fn released() -> Result<PathBuf> {
    workspace::build_release("vmm", "plinth-vmm")?;
    workspace::build_release("plinth", "plinth")
}

/// Which emulator measures, and its version.
fn emulator(testbed: &Testbed) -> String {
    let installed = PathBuf::from("qemu-system-x86_64");
    let program = testbed.emulator.as_ref().unwrap_or(&installed);
    let named = match testbed.emulator {
        Some(_) => "mended",
        None => "installed; long runs hang in it, see cargo xtask bench emulator --help",
    };
    match first_line(Command::new(program).arg("--version")) {
        Some(version) => format!("{version}, {named}"),
        None => named.to_owned(),
    }
}

/// The commit that is checked out, `-dirty` if something is changed.
fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--abbrev=12"]);
    git.current_dir(workspace::root());
    first_line(&mut git).unwrap_or_else(|| "of no known commit".to_owned())
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|one| one.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}

/// Where Debian has a program for administrators.
pub(super) fn tool(name: &str) -> Result<PathBuf> {
    let places = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    let mut places = places
        .map(|place| PathBuf::from(place).join(name))
        .into_iter();
    places
        .find(|path| path.is_file())
        .with_context(|| format!("there is no {name}, of package iproute2 or nftables"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_named_is_of_no_commit() {
        let named = Plinth::Named(Path::new("/old/plinth")).origin();
        assert_eq!(named, "/old/plinth, of no known commit");
        assert_eq!(Plinth::Absent.origin(), "not measured");
    }
}
