//! Debian's fio in a guest: what a guest is booted with for it, and what it says
//! on the guest's console.
//!
//! That is one line for each job, of those fields of its terse output that are
//! wanted (fio(1), TERSE OUTPUT, version 3), since each character on a serial
//! port is an exit. As JSON it would be 200 lines.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

/// The fields to be cut out, from one: version, program, job, group, error;
/// of reads and of writes KiB moved, KiB/s, operations/s, milliseconds, and the
/// mean latency in microseconds, from submission on.
pub(crate) const FIELDS: &str = "1-9,40,47-50,81";

/// Writes an initrd into `scratch` that is this initramfs and, behind it, the
/// archive of fio.
pub(crate) fn initrd(initramfs: &Path, fio: &Path, scratch: &Path) -> Result<PathBuf> {
    let read = |part: &Path| fs::read(part).with_context(|| format!("reading {}", part.display()));
    let initrd = scratch.join("initrd");
    fs::write(&initrd, [read(initramfs)?, read(fio)?].concat()).context("writing an initrd")?;
    Ok(initrd)
}

/// Makes a disk image of `bytes` in `scratch`.
pub(crate) fn disk(bytes: u64, scratch: &Path) -> Result<PathBuf> {
    let disk = scratch.join("disk");
    File::create(&disk)
        .and_then(|file| file.set_len(bytes))
        .context("making a disk")?;
    Ok(disk)
}

/// What a job did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    /// What it is called.
    pub(crate) job: String,
    /// Bytes moved.
    pub(crate) bytes: u64,
    /// In milliseconds, not 0.
    pub(crate) runtime_ms: u64,
    /// From submission to completion, in microseconds, on average.
    pub(crate) latency_us: f64,
}

impl Report {
    /// What a line of the console says, if it is a report of success: of a job
    /// that read, or of one that wrote.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.trim_end().split(';').collect();
        let ["3", _, job, _, "0", moved @ ..] = &fields[..] else {
            return None;
        };
        let (read, written) = moved.split_at_checked(5)?;
        let direction = |fields: &[&str]| {
            let [kib, _, _, runtime, latency] = fields else {
                return None;
            };
            Some(Self {
                job: (*job).to_owned(),
                bytes: kib.parse::<u64>().ok()?.checked_mul(1024)?,
                runtime_ms: runtime.parse().ok()?,
                latency_us: latency.parse().ok()?,
            })
        };
        let both = [direction(read)?, direction(written)?];
        both.into_iter()
            .find(|moved| moved.bytes > 0 && moved.runtime_ms > 0)
    }

    pub(crate) fn bytes_per_second(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // Both are far below 2⁵².
        let (bytes, runtime) = (self.bytes as f64, self.runtime_ms as f64);
        bytes * 1000.0 / runtime
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As fio 3.33 prints it, cut.
    const READ: &str =
        "3;fio-3.33;randread-1;0;0;80312;80312;20078;1000;47.812;0;0;0;0;0.000000\r\n";
    const WRITE: &str = "3;fio-3.33;write;0;0;0;0;0;0;0.000000;2113536;2113536;2064;1000;480.1\n";

    #[test]
    fn a_job_has_read_or_written() {
        let read = Report::parse(READ).unwrap();
        assert_eq!((read.job.as_str(), read.runtime_ms), ("randread-1", 1000));
        assert!((read.bytes_per_second() / 4096.0 - 20078.0).abs() < 1e-9);
        assert!((read.latency_us - 47.812).abs() < 1e-9);
        let write = Report::parse(WRITE).unwrap();
        assert!((write.bytes_per_second() / 1_048_576.0 - 2064.0).abs() < 1e-9);
        assert!((write.latency_us - 480.1).abs() < 1e-9);
    }

    #[test]
    fn anything_else_is_no_report() {
        let failed = READ.replacen(";0;0;", ";0;5;", 1);
        let nothing = READ.replace("80312", "0");
        let no_time = READ.replace(";1000;", ";0;");
        for line in [
            "",
            "plinth-init: up",
            &READ[..40],
            &failed,
            &nothing,
            &no_time,
        ] {
            assert_eq!(Report::parse(line), None, "{line}");
        }
        assert_eq!(Report::parse(&format!("{};1", READ.trim_end())), None);
    }
}
