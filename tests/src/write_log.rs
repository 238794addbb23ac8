//! What `guest disk log` writes: one record after another from the start of a
//! disk, each full of its number, counted from 1; each is acknowledged on the
//! console once it is durable.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a record.
const RECORD: usize = 4096;

/// What the console shows when record `number` is durable.
pub fn acknowledgement(number: u64) -> String {
    format!("\ndisk: acknowledged {number} of")
}

/// The last record that is acknowledged in what was said; 0 for none.
pub fn last_acknowledged(said: &str) -> u64 {
    let numbers = said.lines().filter_map(|line| {
        let rest = line.trim_end().strip_prefix("disk: acknowledged ")?;
        rest.split_once(" of ")?.0.parse().ok()
    });
    numbers.max().unwrap_or(0)
}

/// The last record of the log on `device` that is acknowledged in what was said,
/// which may be of several logs; 0 for none.
pub fn last_acknowledged_of(device: &str, said: &str) -> u64 {
    let end = format!(" of {device}");
    let lines = said.lines().map(str::trim_end);
    let numbers = lines.filter_map(|line| {
        let rest = line.strip_prefix("disk: acknowledged ")?;
        rest.strip_suffix(&end)?.parse().ok()
    });
    numbers.max().unwrap_or(0)
}

/// Asserts that the first `count` records are on the disk.
#[track_caller]
pub fn assert_holds_records(disk: &Path, count: u64) {
    assert_holds_records_from(disk, 1, count);
}

/// Asserts that the records from `first` to `last` are on the disk.
#[track_caller]
pub fn assert_holds_records_from(disk: &Path, first: u64, last: u64) {
    let file = File::open(disk).unwrap();
    let mut record = [0; RECORD];
    for number in first..=last {
        let offset = (number - 1) * RECORD as u64;
        file.read_exact_at(&mut record, offset).unwrap();
        assert_eq!(record[..], *record_of(number), "record {number} of {last}");
    }
}

/// The first `count` records.
pub fn records(count: u64) -> Vec<u8> {
    (1..=count).flat_map(record_of).collect()
}

fn record_of(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(RECORD / 8)
}
