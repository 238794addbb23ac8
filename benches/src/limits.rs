//! Measuring how exact a disk's rate limits are: Debian's fio in a guest reads
//! from a limited disk as fast as it may, in a deterministic machine, whose
//! virtual time no noise of the host reaches.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use guest_images::{Kernel, run_word};
use outer::{Command, Deterministic, Finished};
use serde::Serialize;

use crate::fio::{self, FIELDS, Report};
use crate::{libraries, retry};

const VMLINUX: &str = "/guest/vmlinux";
const INITRD: &str = "/guest/initrd";
const DISK: &str = "/guest/disk";
/// A read of what was never written costs the host next to nothing, as one
/// from a fast disk does. All of it is in the machine's initramfs.
const DISK_SIZE: u64 = 16 << 20;

/// What fio is measured with, and where.
#[derive(Clone, Debug)]
pub struct LimitBench {
    /// The emulator, where it is not to be the installed one.
    pub emulator: Option<PathBuf>,
    /// The outer machine's kernel.
    pub outer_kernel: Kernel,
    /// The static `outer-agent` binary.
    pub agent: PathBuf,
    /// The `plinth` program, with the VM process's beside it.
    pub plinth: PathBuf,
    /// The guest's kernel.
    pub kernel: Kernel,
    /// The guest's initramfs.
    pub initramfs: PathBuf,
    /// The archive of fio.
    pub fio: PathBuf,
    /// For how long fio reads, in seconds of the guest.
    pub seconds: u32,
    /// For how long, in the host's time, a measurement is silent at most; the
    /// whole takes twice that at most.
    pub stall_bound: Duration,
}

/// A limit to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allowed {
    /// Operations in a second; fio reads 4 KiB with each.
    Operations(u64),
    /// Bytes in a second; fio reads 64 KiB with each operation.
    Bytes(u64),
    /// Everything; fio reads 4 KiB with each operation.
    Unlimited,
}

/// What fio saw.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Seen {
    /// What the disk was allowed to do.
    pub allowed: Allowed,
    /// Operations in a second.
    pub operations: f64,
    /// Bytes in a second.
    pub bytes: f64,
    /// For how long, in milliseconds: until the last answer.
    pub runtime_ms: u64,
    /// Machines that stalled and were tried again.
    pub stalls: u32,
}

impl Seen {
    /// How far fio's figure is from the limit, as a part of it; 0 without one.
    pub fn error(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // Limits are far below 2⁵².
        let (seen, limit) = match self.allowed {
            Allowed::Operations(limit) => (self.operations, limit as f64),
            Allowed::Bytes(limit) => (self.bytes, limit as f64),
            Allowed::Unlimited => return 0.0,
        };
        seen / limit - 1.0
    }
}

impl Allowed {
    /// The disk as `plinth run` takes it.
    fn disk(self) -> String {
        match self {
            Self::Operations(limit) => format!("{DISK},iops={limit}"),
            Self::Bytes(limit) => format!("{DISK},bandwidth={limit}"),
            Self::Unlimited => DISK.to_owned(),
        }
    }

    /// Bytes of one operation.
    fn block_size(self) -> u32 {
        match self {
            Self::Operations(_) | Self::Unlimited => 4 << 10,
            Self::Bytes(_) => 64 << 10,
        }
    }
}

impl LimitBench {
    /// Measures one limit, in a machine of its own.
    pub fn measure(&self, allowed: Allowed) -> Result<Seen> {
        let scratch = tempfile::tempdir().context("making a scratch directory")?;
        let machine = self.machine(allowed, scratch.path())?;
        let mut stalls = 0;
        let finished = retry::run(&machine, &mut stalls)?;
        let report = read(&finished)?;
        let bytes = report.bytes_per_second();
        Ok(Seen {
            allowed,
            operations: bytes / f64::from(allowed.block_size()),
            bytes,
            runtime_ms: report.runtime_ms,
            stalls,
        })
    }

    fn machine(&self, allowed: Allowed, scratch: &Path) -> Result<Deterministic> {
        let plinth = self.plinth.to_str().context("a path is not UTF-8")?;
        let disk = allowed.disk();
        let words = [
            [plinth, "run"],
            ["--kernel", VMLINUX],
            ["--initrd", INITRD],
            ["--cmdline", &self.command_line(allowed)],
            // Half of it is for files, and fio's are 100 MiB, twice at first.
            ["--memory", "512M"],
            ["--disk", &disk],
            // A reset is the end of a measurement.
            ["--on-reset", "stop"],
        ];
        Ok(Deterministic {
            emulator: self.emulator.clone(),
            kernel: self.outer_kernel.clone(),
            agent: self.agent.clone(),
            memory_mib: 2048,
            seed: 1,
            modules: Vec::new(),
            files: self.files(scratch)?,
            command: Command::new(plinth).args(words.into_iter().flatten().skip(1)),
            stall_bound: self.stall_bound,
            total_bound: self.stall_bound * 2,
        })
    }

    fn command_line(&self, allowed: Allowed) -> String {
        let fio = format!(
            "fio --name=limit --filename=/dev/vda --rw=randread --bs={} --direct=1 \
             --ioengine=libaio --iodepth=32 --time_based --runtime={} \
             --output-format=terse --terse-version=3 --eta=never | cut -d';' -f{FIELDS}",
            allowed.block_size(),
            self.seconds
        );
        format!(
            "console=ttyS0 quiet panic=-1 reboot=k plinth.root=none plinth.then=reboot {}",
            run_word(&fio)
        )
    }

    fn files(&self, scratch: &Path) -> Result<Vec<(String, PathBuf)>> {
        let initrd = fio::initrd(&self.initramfs, &self.fio, scratch)?;
        let disk = fio::disk(DISK_SIZE, scratch)?;
        let vmm = self.plinth.with_file_name("plinth-vmm");
        let mut files = vec![
            (VMLINUX.to_owned(), self.kernel.vmlinux.clone()),
            (INITRD.to_owned(), initrd),
            (DISK.to_owned(), disk),
        ];
        let libraries = libraries::of(&self.plinth)?.into_iter();
        let programs = libraries.chain([self.plinth.clone(), vmm]);
        files.extend(programs.map(|path| (path.display().to_string(), path)));
        Ok(files)
    }
}

/// fio's report on the guest's console, between the words of others.
fn read(finished: &Finished) -> Result<Report> {
    let console = String::from_utf8_lossy(&finished.output.stdout);
    console.lines().find_map(Report::parse).with_context(|| {
        format!(
            "fio did not report success; plinth ended, {}, with\n{console}\n{}",
            finished.status,
            String::from_utf8_lossy(&finished.output.stderr)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn report(console: &str) -> Result<Report> {
        let mut output = outer::Captured::default();
        output.stdout.extend(console.as_bytes());
        let status = std::process::ExitStatus::from_raw(0);
        read(&Finished { status, output })
    }

    #[test]
    fn a_report_is_found_on_the_console() {
        let line = "3;fio-3.33;limit;0;0;118800;11880;2970;10000;330.1;0;0;0;0;0.0";
        let report = report(&format!("plinth-init: up\r\n{line}\r\n")).unwrap();
        assert_eq!((report.bytes, report.runtime_ms), (118_800 << 10, 10_000));
    }

    #[test]
    fn a_console_without_a_sound_report_is_an_error_that_shows_it() {
        for console in ["", "panic", "3;fio-3.33;limit;0;5;118800;11880;2970;10000"] {
            let error = report(console).unwrap_err().to_string();
            assert!(error.contains(console), "{error}");
        }
    }

    #[test]
    fn the_error_is_relative_to_the_limit() {
        let seen = |allowed| Seen {
            allowed,
            operations: 2970.0,
            bytes: 2970.0 * 4096.0,
            runtime_ms: 10_000,
            stalls: 0,
        };
        let error = seen(Allowed::Operations(3000)).error();
        assert!((error + 0.01).abs() < 1e-9, "{error}");
        let error = seen(Allowed::Bytes(12_042_240)).error();
        assert!((error - 0.0102).abs() < 1e-4, "{error}");
    }
}
