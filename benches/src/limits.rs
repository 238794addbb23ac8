//! Measuring how exact a disk's rate limits are: Debian's fio in a guest reads
//! from a limited disk as fast as it may, in a deterministic machine, whose
//! virtual time no noise of the host reaches.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use guest_images::run_word;
use outer::Finished;
use serde::Serialize;

use crate::benchmark::Benchmark;
use crate::fio::{self, FIELDS, Report};
use crate::peer::{Aspect, Disk, Guest, Peer};
use crate::report::{Figure, Outcome, Unit};
use crate::testbed::{Run, Testbed, on_a_busy_host};

const INITRD: &str = "/guest/initrd";
const DISK: &str = "/guest/disk";
/// A read of what was never written costs the host next to nothing, as one
/// from a fast disk does. All of it is in the machine's initramfs.
const DISK_MIB: u64 = 16;

/// What fio is measured with, and where.
#[derive(Clone, Debug)]
pub struct LimitBench {
    /// Where.
    pub testbed: Testbed,
    /// The archive of fio.
    pub fio: PathBuf,
    /// The limits, each in a machine of its own.
    pub limits: Vec<Allowed>,
    /// For how long fio reads, in seconds of the guest.
    pub seconds: u32,
    /// For how long, in the host's time, a measurement is silent at most, besides the
    /// time for which fio reads; the whole takes twice that at most, and that time.
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
    /// `path` as `plinth run` takes a disk.
    fn disk(self, path: &str) -> String {
        match self {
            Self::Operations(limit) => format!("{path},iops={limit}"),
            Self::Bytes(limit) => format!("{path},bandwidth={limit}"),
            Self::Unlimited => path.to_owned(),
        }
    }

    /// What fio sees, and how far that is from the limit if there is one.
    fn figures(self) -> Vec<Figure> {
        let (name, title) = match self {
            Self::Operations(limit) => (format!("iops-{limit}"), format!("{limit} operations/s")),
            Self::Bytes(limit) => (format!("bytes-{limit}"), format!("{limit} bytes/s")),
            Self::Unlimited => ("none".to_owned(), "no limit".to_owned()),
        };
        let unit = match self {
            Self::Bytes(_) => Unit::BytesPerSecond,
            Self::Operations(_) | Self::Unlimited => Unit::PerSecond,
        };
        let mut figures = vec![Figure::more(&name, &title, unit)];
        if self != Self::Unlimited {
            let name = format!("{name}/error");
            figures.push(Figure::less(&name, "  missed by", Unit::Part));
        }
        figures
    }

    /// Bytes of one operation.
    fn block_size(self) -> u32 {
        match self {
            Self::Operations(_) | Self::Unlimited => 4 << 10,
            Self::Bytes(_) => 64 << 10,
        }
    }
}

impl Benchmark for LimitBench {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn aspect(&self) -> Aspect {
        Aspect::Disk
    }

    fn figures(&self, _: &[Outcome]) -> Vec<Figure> {
        self.limits.iter().flat_map(|one| one.figures()).collect()
    }

    fn parameters(&self) -> Vec<String> {
        vec![
            format!(
                "fio in a guest with 1 vCPU and 512 MiB, random reads at depth 32 for {} s of \
                 the guest each, of 4 KiB, or 64 KiB at limits of bytes",
                self.seconds
            ),
            "without a warm-up: a limit begins with a burst of 10 ms, which is seen".to_owned(),
        ]
    }

    fn measure(&self, peer: &Peer, program: &Path) -> Result<Outcome> {
        let mut outcome = Outcome::of(peer, program, peer.device_command_line(""));
        for allowed in &self.limits {
            let seen = self.seen(peer, program, *allowed)?;
            let values = match allowed {
                Allowed::Bytes(_) => [seen.bytes, seen.error()],
                Allowed::Operations(_) | Allowed::Unlimited => [seen.operations, seen.error()],
            };
            for (figure, value) in allowed.figures().iter().zip(values) {
                outcome.add(&figure.name, None, value);
            }
            outcome.stalls += seen.stalls;
            outcome.raw.push(serde_json::to_value(seen)?);
        }
        Ok(outcome)
    }
}

impl LimitBench {
    /// Measures one limit, in a machine of its own.
    ///
    /// # Errors
    /// The machine failed, or fio did.
    pub fn seen(&self, peer: &Peer, program: &Path, allowed: Allowed) -> Result<Seen> {
        let scratch = tempfile::tempdir().context("making a scratch directory")?;
        let run = self.prepared(peer, program, allowed, scratch.path())?;
        let mut stalls = 0;
        let finished = self.testbed.run(run, &mut stalls)?;
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

    fn prepared<'a>(
        &self,
        peer: &Peer,
        program: &'a Path,
        allowed: Allowed,
        scratch: &Path,
    ) -> Result<Run<'a>> {
        let initrd = fio::initrd(&self.testbed.initramfs, &self.fio, scratch)?;
        let disk = fio::disk(DISK_MIB << 20, scratch)?;
        let launch = peer.launch(&Guest {
            command_line: peer.device_command_line(&self.words(allowed)),
            initramfs: INITRD,
            // Half of it is for files, and fio's are 100 MiB, twice at first.
            memory_mib: 512,
            disks: vec![Disk {
                image: allowed.disk(DISK),
                mib: DISK_MIB,
            }],
            ..self.testbed.guest(program, scratch)?
        })?;
        let mut files = launch.files;
        files.push((INITRD.to_owned(), initrd));
        files.push((DISK.to_owned(), disk));
        let reading = on_a_busy_host(Duration::from_secs(self.seconds.into()));
        Ok(Run {
            programs: vec![program],
            files,
            modules: &[],
            memory_mib: 2048,
            command: launch.argv,
            environment: launch.environment,
            stall_bound: self.stall_bound + reading,
            total_bound: self.stall_bound * 2 + reading,
        })
    }

    /// What the guest's init is told.
    fn words(&self, allowed: Allowed) -> String {
        let fio = format!(
            "fio --name=limit --filename=/dev/vda --rw=randread --bs={} --direct=1 \
             --ioengine=libaio --iodepth=32 --time_based --runtime={} \
             --output-format=terse --terse-version=3 --eta=never | cut -d';' -f{FIELDS}",
            allowed.block_size(),
            self.seconds
        );
        format!("plinth.root=none plinth.then=reboot {}", run_word(&fio))
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
