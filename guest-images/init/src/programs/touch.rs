//! `guest touch`: reads 4 KiB at the beginning of each of many parts of a block
//! device, once, in no order, one at a time and past this kernel's cache, and
//! says how long each took.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Instant;

use super::stream::Stream;
use super::{Outcome, print, size, usage};

/// Bytes read at a time, and what direct reads want their memory aligned to.
const READ: usize = 4096;

pub(super) fn run(words: &[&str]) -> Outcome {
    let [device, count, stride, seed] = *words else {
        return usage();
    };
    let stride = size::parse(stride)?;
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(device)?;
    let mut memory = vec![0; 2 * READ];
    let start = memory.as_ptr().align_offset(READ);
    let buffer = &mut memory[start..start + READ];
    let mut line = String::new();
    for part in shuffled(count.parse()?, seed.parse()?) {
        let before = Instant::now();
        file.read_exact_at(buffer, part * stride)
            .map_err(|error| format!("reading part {part} of {device}: {error}"))?;
        write!(line, " {}", before.elapsed().as_nanos())?;
    }
    print(format_args!("touch: {device} ns{line}"))?;
    Ok(())
}

/// The numbers below `count` in an order that `seed` determines (Fisher and
/// Yates).
fn shuffled(count: u64, seed: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..count).collect();
    let mut stream = Stream::new(seed, u64::MAX);
    for (last, left) in (1..numbers.len()).rev().zip((2..=count).rev()) {
        let chosen = usize::try_from(stream.next() % left).unwrap_or(last);
        numbers.swap(last, chosen);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_touched_once_in_another_order() {
        let ascending: Vec<u64> = (0..100).collect();
        let order = shuffled(100, 1);
        assert_ne!(order, ascending);
        assert_eq!(order, shuffled(100, 1));
        assert_ne!(order, shuffled(100, 2));
        let mut sorted = order;
        sorted.sort_unstable();
        assert_eq!(sorted, ascending);
        assert_eq!(shuffled(0, 1), []);
        assert_eq!(shuffled(1, 1), [0]);
    }
}
