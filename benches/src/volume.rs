//! Measuring volumes in a deterministic machine, in which time is counted in
//! instructions of one CPU: how long snapshots hold a guest back, how late a
//! block comes that is still in a snapshot, and how soon a volume made from one
//! is there.
//!
//! The `volume-probe` binary does it, in there: what it is told and what it
//! answers is in [`sample`].

pub mod content;
pub mod place;
mod report;
mod sample;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use guest_images::Kernel;
use outer::{Command, Deterministic};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::watch::answer;
use crate::{fio, libraries, retry};

use content::Content;
pub use report::{Found, NAME, parameters};
pub use sample::{CreationPlan, Creations, PausePlan, Pauses, Plan, TouchPlan, Touches, Writes};

/// What volumes are made with: as fast as they can be, so that it is not their limits
/// that are measured.
pub const FASTEST: &str = "--type provisioned --iops 256000 --throughput 4000";

/// What volumes are measured with, and where.
#[derive(Clone, Debug)]
pub struct VolumeBench {
    /// The emulator, where it is not to be the installed one.
    pub emulator: Option<PathBuf>,
    /// The outer machine's kernel.
    pub outer_kernel: Kernel,
    /// The static `outer-agent` binary.
    pub agent: PathBuf,
    /// The static `volume-probe` binary.
    pub probe: PathBuf,
    /// The `plinth` program, with the VM process's beside it.
    pub plinth: PathBuf,
    /// What makes ext4.
    pub mke2fs: PathBuf,
    /// The guest's kernel.
    pub kernel: Kernel,
    /// The guest's initramfs.
    pub initramfs: PathBuf,
    /// The archive of fio.
    pub fio: PathBuf,
    /// For how long, in the host's time, a measurement is silent at most; the
    /// whole takes twice that at most.
    pub stall_bound: Duration,
}

/// Something measured.
#[derive(Debug, Serialize)]
pub struct Measured<S> {
    /// What.
    pub sample: S,
    /// Machines that stalled and were tried again.
    pub stalls: u32,
}

impl VolumeBench {
    /// Measures how long snapshots hold a guest back that writes.
    ///
    /// # Errors
    /// Something in the machine failed, or the machine did.
    pub fn pauses(&self, plan: PausePlan) -> Result<Measured<Pauses>> {
        self.measure(&Plan::Pause(plan), None)
    }

    /// Measures how long a guest waits for each of `blocks` blocks that are
    /// still in a snapshot and hold `content`.
    ///
    /// # Errors
    /// As for [`pauses`](Self::pauses).
    pub fn touches(&self, blocks: u32, content: Content) -> Result<Measured<Touches>> {
        self.measure(&Plan::Touch(TouchPlan { blocks }), Some((blocks, content)))
    }

    /// Measures how long it takes to make volumes from snapshots.
    ///
    /// # Errors
    /// As for [`pauses`](Self::pauses).
    pub fn creations(&self, plan: CreationPlan) -> Result<Measured<Vec<Creations>>> {
        self.measure(&Plan::Creation(plan), None)
    }

    /// Has the probe do `plan`, in a machine of its own.
    fn measure<S: DeserializeOwned>(
        &self,
        plan: &Plan,
        content: Option<(u32, Content)>,
    ) -> Result<Measured<S>> {
        let scratch = tempfile::tempdir().context("making a scratch directory")?;
        let mut files = self.files(scratch.path())?;
        if let Some((blocks, content)) = content {
            let path = scratch.path().join("content");
            fs::write(&path, content.bytes(blocks)).context("writing a volume's content")?;
            files.push((place::CONTENT.to_owned(), path));
        }
        let plan = serde_json::to_string(plan)?;
        let machine = Deterministic {
            emulator: self.emulator.clone(),
            kernel: self.outer_kernel.clone(),
            agent: self.agent.clone(),
            memory_mib: 6144,
            seed: 1,
            modules: vec!["crc32c_generic".to_owned(), "ext4".to_owned()],
            files,
            command: Command::new(place::PROBE).args([plan]),
            stall_bound: self.stall_bound,
            total_bound: self.stall_bound * 2,
        };
        let mut stalls = 0;
        let finished = retry::run(&machine, &mut stalls)?;
        Ok(Measured {
            sample: answer(&finished)?,
            stalls,
        })
    }

    fn files(&self, scratch: &Path) -> Result<Vec<(String, PathBuf)>> {
        let ram_disk = scratch.join("brd.ko");
        let module = self.outer_kernel.module_tree()?.load_order(&["brd"])?;
        let module = module.last().context("the kernel has disks in memory")?;
        fs::write(&ram_disk, module.bytes()?).context("writing a module")?;
        let vmm = self.plinth.with_file_name("plinth-vmm");
        let mut files: Vec<(String, PathBuf)> = [
            (place::PLINTH, self.plinth.clone()),
            (place::VMM, vmm),
            (place::PROBE, self.probe.clone()),
            (place::RAM_DISK, ram_disk),
            (place::MKE2FS, self.mke2fs.clone()),
            (place::KERNEL, self.kernel.vmlinux.clone()),
            (
                place::INITRD,
                fio::initrd(&self.initramfs, &self.fio, scratch)?,
            ),
        ]
        .map(|(inside, path)| (inside.to_owned(), path))
        .into();
        let libraries = libraries::of(&self.mke2fs)?.into_iter();
        files.extend(libraries.map(|path| (path.display().to_string(), path)));
        Ok(files)
    }
}
