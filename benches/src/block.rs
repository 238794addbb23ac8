//! Measuring disks: Debian's fio in a guest of each peer reads and writes a disk of
//! 64 MiB. In a deterministic machine time is counted in instructions of one CPU: what
//! is measured is what an operation costs guest, monitor and host kernel together. By
//! the clock the image is a file of this host.

mod job;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_images::run_word;
use outer::Finished;

use crate::benchmark::Benchmark;
use crate::file_system;
use crate::fio::{self, FIELDS, Report};
use crate::peer::{Aspect, Disk, Guest, Peer};
use crate::report::{Figure, Mode, Outcome};
use crate::testbed::{Run, Testbed, bounds};

pub use job::{JOBS, Job, Pattern};

const IMAGE: &str = "/guest/disk";
const INITRD: &str = "/guest/initrd";

/// How the guest's line on its disk's cache begins.
const CACHE: &str = "cache:";

/// The disk's size in MiB. All of it is in the machine's initramfs.
const DISK_MIB: u64 = 64;

/// What disks are measured with, and where.
#[derive(Clone, Debug)]
pub struct BlockBench {
    /// Where.
    pub testbed: Testbed,
    /// The archive of fio.
    pub fio: PathBuf,
    /// By the clock, where images are, if not where this host has what is temporary.
    pub directory: Option<PathBuf>,
    /// What fio does, in order.
    pub jobs: Vec<Job>,
    /// For how long each time, in seconds of the guest.
    pub seconds: u32,
    /// More words for the guest's kernel.
    pub words: String,
    /// For how long, in the host's time, a measurement is silent at most besides the
    /// time that a job takes.
    pub stall_bound: Duration,
}

impl Benchmark for BlockBench {
    fn name(&self) -> &'static str {
        "block"
    }

    fn aspect(&self) -> Aspect {
        Aspect::Disk
    }

    fn figures(&self, _: &[Outcome]) -> Vec<Figure> {
        let rates = self.jobs.iter().map(Job::figure);
        rates
            .chain(self.jobs.iter().filter_map(Job::latency))
            .collect()
    }

    fn parameters(&self) -> Vec<String> {
        vec![
            format!(
                "fio in a guest with 1 vCPU and 512 MiB, libaio and O_DIRECT, on a disk of \
                 {DISK_MIB} MiB, for {} s of the guest each",
                self.seconds
            ),
            "the whole disk is written once, to warm up".to_owned(),
            self.place(),
        ]
    }

    fn measure(&self, peer: &Peer, program: &Path) -> Result<Outcome> {
        let command_line = peer.device_command_line(&self.words);
        let mut outcome = Outcome::of(peer, program, command_line);
        let scratch = tempfile::tempdir_in(self.scratch());
        let scratch = scratch.context("making a scratch directory")?;
        let run = self.prepared(peer, program, scratch.path())?;
        let finished = self.testbed.run(run, &mut outcome.stalls)?;
        outcome.notes.extend(cache(&finished));
        let reports = self.read(&finished, &mut outcome.failures)?;
        for (job, report) in self.jobs.iter().zip(reports) {
            let rate = job.rate(report.bytes_per_second());
            outcome.add(job.name, None, rate);
            if let Some(latency) = job.latency() {
                outcome.add(&latency.name, None, report.latency_us * 1e3);
            }
            outcome.raw.push(serde_json::to_value(&report)?);
        }
        Ok(outcome)
    }
}

/// What the guest's kernel takes its disk for, which decides whether it flushes
/// (Documentation/block/writeback_cache_control.rst).
fn cache(finished: &Finished) -> Option<String> {
    let console = String::from_utf8_lossy(&finished.output.stdout);
    let found = console
        .lines()
        .find_map(|line| line.trim_end().strip_prefix(CACHE))?;
    Some(format!("its disk's cache, as the guest sees it:{found}"))
}

impl BlockBench {
    /// Where images are made.
    fn scratch(&self) -> PathBuf {
        self.directory
            .clone()
            .unwrap_or_else(tempfile::env::temp_dir)
    }

    /// What disks' images are on, and what that means for what is measured.
    fn place(&self) -> String {
        match self.testbed.mode {
            Mode::Deterministic => {
                "the disk's image is on a file system in memory, where to flush it costs the \
                 host nothing: what a flush takes is the guest's and the monitor's part"
                    .to_owned()
            }
            Mode::WallClock => {
                let kind = file_system::kind(&self.scratch());
                let kind = kind.as_deref().unwrap_or("an unknown file system");
                format!(
                    "the disk's image is a file on {kind} of this host, opened without O_DIRECT \
                     by all: what is read is in the page cache, and so is what is written until \
                     it is flushed"
                )
            }
        }
    }

    fn prepared<'a>(&self, peer: &Peer, program: &'a Path, scratch: &Path) -> Result<Run<'a>> {
        let words = format!(
            "plinth.root=none plinth.then=reboot {} {}",
            self.words,
            run_word(&self.script())
        );
        let initrd = fio::initrd(&self.testbed.initramfs, &self.fio, scratch)?;
        let disk = fio::disk(DISK_MIB << 20, scratch)?;
        let image = self.testbed.place(IMAGE, &disk)?.to_owned();
        let launch = peer.launch(&Guest {
            command_line: peer.device_command_line(&words),
            initramfs: self.testbed.place(INITRD, &initrd)?,
            // Half of it is for files, and fio's are 100 MiB, twice at first.
            memory_mib: 512,
            disks: vec![Disk {
                image: image.clone(),
                mib: DISK_MIB,
            }],
            ..self.testbed.guest(program, scratch)?
        })?;
        let mut files = launch.files;
        files.push((INITRD.to_owned(), initrd));
        files.push((image, disk));
        let [stall_bound, total_bound] = self.bounds();
        Ok(Run {
            programs: vec![program],
            files,
            modules: &[],
            memory_mib: 3072,
            command: launch.argv,
            environment: launch.environment,
            stall_bound,
            total_bound,
        })
    }

    /// For how long a run is silent at most, and for how long it lasts.
    fn bounds(&self) -> [Duration; 2] {
        let job = Duration::from_secs(self.seconds.into());
        bounds(self.stall_bound, job, self.jobs.len())
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
             fio $c --name=fill --rw=write --bs=1m --iodepth=4 >/dev/null || exit; \
             echo {CACHE} $(cat /sys/block/vda/queue/write_cache); \
             j() {{ fio $c --name=$1 --rw=$2 --bs=$3 --iodepth=$4 --fsync=$5 \
             --time_based --runtime={} | cut -d\\; -f{FIELDS}; }}; {}",
            self.seconds,
            jobs.iter()
                .map(|job| format!("j {job}"))
                .collect::<Vec<_>>()
                .join("; ")
        )
    }

    /// fio's reports on the guest's console, between the words of others. Where the last
    /// are missing, that is a failure, and those before it count; fails if all are.
    fn read(&self, finished: &Finished, failures: &mut Vec<String>) -> Result<Vec<Report>> {
        let console = String::from_utf8_lossy(&finished.output.stdout);
        let reports: Vec<Report> = console.lines().filter_map(Report::parse).collect();
        let names = reports.iter().map(|report| report.job.as_str());
        let expected = self.jobs.iter().map(|job| job.name);
        let in_order = names.eq(expected.take(reports.len()));
        let missing = self.jobs.get(reports.len());
        let why = || {
            let job = missing.map_or("a job", |job| job.name);
            format!(
                "fio did not report success of {job}; the monitor ended, {}, with\n{console}\n{}",
                finished.status,
                String::from_utf8_lossy(&finished.output.stderr)
            )
        };
        ensure!(in_order && !reports.is_empty(), "{}", why());
        if missing.is_some() {
            failures.push(why());
        }
        Ok(reports)
    }
}

#[cfg(test)]
mod tests;
