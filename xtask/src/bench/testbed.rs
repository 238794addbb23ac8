//! Where and with what everything is measured.

use std::path::PathBuf;
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
}

impl Parts {
    /// Fetches and builds what is missing, with `probe` for the probe or one that
    /// is built now.
    pub(super) fn get(mode: Mode, probe: Option<PathBuf>) -> Result<Self> {
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
        let bare = Testbed {
            mode,
            emulator: mended::cached(&cache),
            outer_kernel: outer.kernel,
            agent: outer.agent,
            probe: match probe {
                Some(probe) => probe,
                None => workspace::build_release("benches", "monitor-probe")?,
            },
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
            bare,
            full,
            ip: tool("ip")?,
            cache,
        })
    }

    /// Under which conditions this measures.
    pub(super) fn conditions(&self) -> Conditions {
        let release = |kernel: &Kernel| kernel.release.clone();
        let emulated = self.bare.mode == Mode::Deterministic;
        let began = jiff::Timestamp::now().round(jiff::Unit::Second);
        Conditions {
            outer_kernel: emulated.then(|| release(&self.bare.outer_kernel)),
            guest_kernel: release(&self.bare.kernel),
            emulator: emulated.then(|| emulator(&self.bare)),
            plinth: commit(),
            began: began.map_or_else(|_| String::new(), |time| time.to_string()),
            ..Conditions::here(self.bare.mode)
        }
    }
}

/// Which emulator measures, and its version.
fn emulator(testbed: &Testbed) -> String {
    let installed = PathBuf::from("qemu-system-x86_64");
    let program = testbed.emulator.as_ref().unwrap_or(&installed);
    let named = super::emulator_name(testbed.emulator.as_ref());
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
