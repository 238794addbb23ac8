//! What fio is to do.

use crate::report::{Figure, Unit};

/// A job of fio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it is called.
    pub name: &'static str,
    /// What it does.
    pub pattern: Pattern,
    /// Operations in flight at a time.
    pub depth: u32,
    /// Whether a flush is asked for after each write (fio's `--fsync=1`). fio waits
    /// for each, so that great depths would be no others.
    pub flush: bool,
}

/// What operations a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Reads 4 KiB anywhere.
    RandomRead,
    /// Writes 4 KiB anywhere.
    RandomWrite,
    /// Reads 1 MiB after the other.
    Read,
    /// Writes 1 MiB after the other.
    Write,
}

/// All jobs: small operations one by one and many at a time, and large ones; and
/// writes with a flush after each.
pub const JOBS: [Job; 11] = [
    job("randread-1", Pattern::RandomRead, 1),
    job("randread-4", Pattern::RandomRead, 4),
    job("randread-32", Pattern::RandomRead, 32),
    job("randwrite-1", Pattern::RandomWrite, 1),
    job("randwrite-4", Pattern::RandomWrite, 4),
    job("randwrite-32", Pattern::RandomWrite, 32),
    job("read", Pattern::Read, 4),
    job("write", Pattern::Write, 4),
    flushed("randwrite-1-flush", Pattern::RandomWrite, 1),
    flushed("randwrite-4-flush", Pattern::RandomWrite, 4),
    flushed("write-flush", Pattern::Write, 4),
];

const fn job(name: &'static str, pattern: Pattern, depth: u32) -> Job {
    Job {
        name,
        pattern,
        depth,
        flush: false,
    }
}

const fn flushed(name: &'static str, pattern: Pattern, depth: u32) -> Job {
    Job {
        flush: true,
        ..job(name, pattern, depth)
    }
}

impl Job {
    /// The job called `name`.
    pub fn named(name: &str) -> Option<Self> {
        JOBS.into_iter().find(|job| job.name == name)
    }

    /// Bytes of one operation.
    pub(super) fn block_size(&self) -> u32 {
        match self.pattern {
            Pattern::RandomRead | Pattern::RandomWrite => 4 << 10,
            Pattern::Read | Pattern::Write => 1 << 20,
        }
    }

    /// What it is judged by: small operations by how many there are in a second,
    /// large ones by their bytes.
    pub(super) fn figure(&self) -> Figure {
        let (what, unit) = match self.pattern {
            Pattern::RandomRead => ("4 KiB random reads", Unit::PerSecond),
            Pattern::RandomWrite => ("4 KiB random writes", Unit::PerSecond),
            Pattern::Read => ("1 MiB reads", Unit::BytesPerSecond),
            Pattern::Write => ("1 MiB writes", Unit::BytesPerSecond),
        };
        let flush = if self.flush { ", each flushed" } else { "" };
        let title = format!("{what}, depth {}{flush}", self.depth);
        Figure::more(self.name, &title, unit)
    }

    /// From submission to completion, on average. fio counts a flush for itself, so
    /// that a job with flushes has none: its rate says it.
    pub(super) fn latency(&self) -> Option<Figure> {
        let (name, title) = (self.name, self.figure().title);
        let figure = || {
            Figure::less(
                &format!("{name}/latency"),
                &format!("mean latency, {title}"),
                Unit::Nanoseconds,
            )
        };
        (!self.flush).then(figure)
    }

    /// Its figure, where so many bytes are moved in a second.
    pub(super) fn rate(&self, bytes: f64) -> f64 {
        match self.figure().unit {
            Unit::BytesPerSecond => bytes,
            _ => bytes / f64::from(self.block_size()),
        }
    }

    /// Name, pattern, block size, depth, and after how many writes to flush (0 is
    /// never), as fio is told them.
    pub(super) fn words(&self) -> String {
        let pattern = match self.pattern {
            Pattern::RandomRead => "randread",
            Pattern::RandomWrite => "randwrite",
            Pattern::Read => "read",
            Pattern::Write => "write",
        };
        format!(
            "{} {pattern} {} {} {}",
            self.name,
            self.block_size(),
            self.depth,
            u32::from(self.flush)
        )
    }
}
