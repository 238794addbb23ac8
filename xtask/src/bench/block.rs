//! `cargo xtask bench block`: measures plinth's disks beside those of other
//! machine monitors.

use std::path::{PathBuf, absolute};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use benches::block::{BlockBench, JOBS, Job};
use benches::peer::Aspect;
use clap::{Args, value_parser};

use super::common::{Common, each_once};
use super::testbed::Parts;

/// Disks: fio in a guest, on a raw file of 64 MiB, with libaio and O_DIRECT.
///
/// plinth's are a raw file, a volume, and an encrypted volume.
#[derive(Debug, Args)]
pub(super) struct Block {
    #[command(flatten)]
    common: Common,
    /// What fio does: randread-N and randwrite-N with N of 1, 4 and 32, read,
    /// write; with a flush after each write randwrite-1-flush, randwrite-4-flush,
    /// write-flush; all of it unless told otherwise
    #[arg(long, value_name = "JOB", value_delimiter = ',')]
    jobs: Vec<String>,
    /// For how long each time, in seconds of the guest
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    seconds: u32,
    /// By the clock, where to make disks' images; in the directory for temporary files
    /// unless told otherwise
    #[arg(long, value_name = "DIR", requires = "wall_clock")]
    directory: Option<PathBuf>,
}

impl Block {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        if let Some(directory) = &self.directory {
            let is_there = directory.is_dir();
            ensure!(is_there, "--directory: there is no {}", directory.display());
        }
        let jobs = self.jobs()?;
        let (parts, results) = self.common.prepare(&[Aspect::Disk])?;
        let bench = BlockBench {
            jobs,
            seconds: self.seconds,
            directory: self.directory.as_deref().map(absolute).transpose()?,
            ..usual(&parts, &self.common)?
        };
        self.common.measure(&parts, results, &bench, 1)
    }

    fn jobs(&self) -> Result<Vec<Job>> {
        if self.jobs.is_empty() {
            return Ok(JOBS.into());
        }
        let job = |name: &String| {
            Job::named(name).with_context(|| {
                format!("no job is called {name:?}; see cargo xtask bench block --help")
            })
        };
        let jobs: Vec<Job> = self.jobs.iter().map(job).collect::<Result<_>>()?;
        Ok(each_once(jobs))
    }
}

/// What is measured unless told otherwise.
pub(super) fn usual(parts: &Parts, common: &Common) -> Result<BlockBench> {
    Ok(BlockBench {
        testbed: parts.full.clone(),
        fio: guest_images::fio(&parts.cache)?,
        directory: None,
        jobs: JOBS.into(),
        seconds: 1,
        words: common.append.clone(),
        // fio is silent while it works, for minutes on a busy host.
        stall_bound: Duration::from_secs(900),
    })
}
