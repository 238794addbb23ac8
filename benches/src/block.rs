//! Measuring disks: Debian's fio in a guest of each peer reads and writes a disk
//! of 64 MiB, in a deterministic machine, in which time is counted in
//! instructions of one CPU: what is measured is what an operation costs guest,
//! monitor and host kernel together.

mod job;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_images::{Kernel, run_word};
use outer::{Command, Deterministic, Finished};
use serde::Serialize;

use crate::fio::{self, FIELDS, Report};
use crate::peer::{self, Disk, Guest, Launch, Peer};
use crate::{libraries, retry};

pub use job::{JOBS, Job, Pattern};
pub use table::table;

const VMLINUX: &str = "/guest/vmlinux";
const BZIMAGE: &str = "/guest/bzimage";
const INITRD: &str = "/guest/initrd";
const IMAGE: &str = "/guest/disk";

/// The disk's size in MiB. All of it is in the machine's initramfs.
const DISK_MIB: u64 = 64;

/// What disks are measured with, and where.
#[derive(Clone, Debug)]
pub struct BlockBench {
    /// The emulator, where it is not to be the installed one.
    pub emulator: Option<PathBuf>,
    /// The outer machine's kernel.
    pub outer_kernel: Kernel,
    /// The static `outer-agent` binary.
    pub agent: PathBuf,
    /// The guest's kernel.
    pub kernel: Kernel,
    /// The guest's initramfs.
    pub initramfs: PathBuf,
    /// The archive of fio.
    pub fio: PathBuf,
    /// A static busybox.
    pub busybox: PathBuf,
    /// What fio does, in order.
    pub jobs: Vec<Job>,
    /// For how long each time, in seconds of the guest.
    pub seconds: u32,
    /// More words for the guest's kernel.
    pub words: String,
    /// For how long, in the host's time, a measurement is silent at most.
    pub stall_bound: Duration,
}

/// What fio saw of a peer's disk.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The peer.
    pub peer: String,
    /// As it says itself.
    pub version: String,
    /// What was set and why.
    pub settings: String,
    /// The guest's kernel command line, but for what its init is told.
    pub command_line: String,
    /// One for each job, in order.
    pub seen: Vec<Seen>,
    /// Machines that stalled and were tried again.
    pub stalls: u32,
}

/// What fio saw of one job.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// Which.
    pub job: String,
    /// Operations in a second.
    pub operations: f64,
    /// Bytes in a second.
    pub bytes: f64,
    /// From submission to completion, in microseconds, on average.
    pub latency_us: f64,
}

impl BlockBench {
    /// Measures `peer`, whose program is `program`.
    pub fn measure(&self, peer: &Peer, program: &Path) -> Result<Outcome> {
        let scratch = tempfile::tempdir().context("making a scratch directory")?;
        let machine = self.machine(peer, program, scratch.path())?;
        let mut stalls = 0;
        let finished = retry::run(&machine, &mut stalls)?;
        Ok(Outcome {
            peer: peer.name.to_owned(),
            version: peer::version(program),
            settings: peer.settings.to_owned(),
            command_line: peer.device_command_line(&self.words),
            seen: self.read(&finished)?,
            stalls,
        })
    }

    fn machine(&self, peer: &Peer, program: &Path, scratch: &Path) -> Result<Deterministic> {
        let inside = program.to_str().context("a program's path is not UTF-8")?;
        let words = format!(
            "plinth.root=none plinth.then=reboot {} {}",
            self.words,
            run_word(&self.script())
        );
        let launch = peer.launch(&Guest {
            program: inside,
            vmlinux: VMLINUX,
            bzimage: BZIMAGE,
            initramfs: INITRD,
            command_line: peer.device_command_line(&words),
            // Half of it is for files, and fio's are 100 MiB, twice at first.
            memory_mib: 512,
            disk: Some(Disk {
                image: IMAGE,
                mib: DISK_MIB,
                busybox: &self.busybox,
            }),
            nic: None,
            scratch,
        })?;
        let (monitor, arguments) = launch.argv.split_first().context("a command has words")?;
        let command = Command::new(monitor).args(arguments.iter().cloned());
        Ok(Deterministic {
            emulator: self.emulator.clone(),
            kernel: self.outer_kernel.clone(),
            agent: self.agent.clone(),
            memory_mib: 3072,
            seed: 1,
            modules: Vec::new(),
            files: self.files(program, launch, scratch)?,
            command,
            stall_bound: self.stall_bound,
            total_bound: self.stall_bound * 4,
        })
    }

    /// What the guest's init runs: the whole disk is written once, so that
    /// nobody is measured on holes, and then come the jobs.
    fn script(&self) -> String {
        let jobs: Vec<String> = self.jobs.iter().map(Job::words).collect();
        // A kernel's command line is short: the words that all have in common
        // are there once.
        format!(
            "c=\"--filename=/dev/vda --direct=1 --ioengine=libaio --eta=never \
             --output-format=terse --terse-version=3\"; \
             fio $c --name=fill --rw=write --bs=1m --iodepth=4 >/dev/null; \
             j() {{ fio $c --name=$1 --rw=$2 --bs=$3 --iodepth=$4 --time_based --runtime={} | \
             cut -d\\; -f{FIELDS}; }}; {}",
            self.seconds,
            jobs.iter()
                .map(|job| format!("j {job}"))
                .collect::<Vec<_>>()
                .join("; ")
        )
    }

    fn files(
        &self,
        program: &Path,
        launch: Launch,
        scratch: &Path,
    ) -> Result<Vec<(String, PathBuf)>> {
        let initrd = fio::initrd(&self.initramfs, &self.fio, scratch)?;
        let disk = fio::disk(DISK_MIB << 20, scratch)?;
        let mut files = vec![
            (program.display().to_string(), program.to_owned()),
            (VMLINUX.to_owned(), self.kernel.vmlinux.clone()),
            (BZIMAGE.to_owned(), self.kernel.bzimage.clone()),
            (INITRD.to_owned(), initrd),
            (IMAGE.to_owned(), disk),
        ];
        let libraries = libraries::of(program)?.into_iter();
        files.extend(libraries.map(|path| (path.display().to_string(), path)));
        files.extend(launch.files);
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// fio's reports on the guest's console, between the words of others.
    fn read(&self, finished: &Finished) -> Result<Vec<Seen>> {
        let console = String::from_utf8_lossy(&finished.output.stdout);
        let reports: Vec<Report> = console.lines().filter_map(Report::parse).collect();
        let names = reports.iter().map(|report| report.job.as_str());
        ensure!(
            names.eq(self.jobs.iter().map(|job| job.name)),
            "fio did not report success of each job; the monitor ended, {}, with\n{console}\n{}",
            finished.status,
            String::from_utf8_lossy(&finished.output.stderr)
        );
        let seen = self.jobs.iter().zip(reports).map(|(job, report)| Seen {
            job: report.job.clone(),
            operations: report.bytes_per_second() / f64::from(job.block_size()),
            bytes: report.bytes_per_second(),
            latency_us: report.latency_us,
        });
        Ok(seen.collect())
    }
}

#[cfg(test)]
mod tests;
