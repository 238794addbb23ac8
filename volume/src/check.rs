//! What is wrong with a volume, and what of that can be put right.
//!
//! Whoever calls this has locked the volume against writers.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use rustix::fs::fdatasync;

use crate::entry::{Entry, State};
use crate::header::Header;
use crate::leaf::{self, BLOCKS, Leaf};
use crate::map::{BlockMap, MapError, place, read_leaf};
use crate::size::{SECTOR, VolumeSize};

/// Something that is not as it should be.
#[derive(Debug)]
pub enum Finding {
    /// The map is none, or is not whole.
    Map(MapError),
    /// A leaf of the map is damaged: what is known of these blocks is lost.
    Leaf {
        /// The first of the blocks.
        first: u32,
        /// The last of them.
        last: u32,
    },
    /// `data` ends before the volume does.
    Short {
        /// Bytes there are.
        len: u64,
        /// Bytes there should be.
        size: u64,
    },
    /// `data` ends after the volume does: growing it was interrupted.
    Long {
        /// Bytes there are.
        len: u64,
        /// Bytes that the map knows of.
        size: u64,
    },
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// It can be repaired, or the next writer does so; nothing is lost.
    Repairable,
    /// Something is lost.
    Damage,
}

/// Blocks by their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Still in the snapshot that the volume was made from.
    pub absent: u64,
    /// Known to be zeroes.
    pub zero: u64,
    /// In `data`.
    pub present: u64,
}

/// A volume, examined.
#[derive(Debug, Default)]
pub struct Report {
    /// What the map says about all of it, if it can be read.
    pub header: Option<Header>,
    /// Its blocks, but for those of damaged leaves.
    pub counts: Counts,
    /// What is wrong; nothing if it is empty.
    pub findings: Vec<Finding>,
    /// How many of the findings were put right.
    pub repaired: usize,
}

impl Finding {
    /// How grave it is in a volume whose untouched blocks are `fresh`.
    pub fn gravity(&self, fresh: State) -> Gravity {
        match self {
            Self::Long { .. } => Gravity::Repairable,
            // Whether they were loaded is not known; if none ever had to be,
            // they count as changed.
            Self::Leaf { .. } if fresh != State::Absent => Gravity::Repairable,
            Self::Leaf { .. } | Self::Map(_) | Self::Short { .. } => Gravity::Damage,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(error) => error.fmt(f),
            Self::Leaf { first, last } => {
                write!(
                    f,
                    "what is known of the blocks {first} to {last} is damaged"
                )
            }
            Self::Short { len, size } => {
                write!(f, "the data was cut short: it has {len} bytes of {size}")
            }
            Self::Long { len, size } => write!(
                f,
                "growing the volume was interrupted: its data has {len} bytes, its map {size}"
            ),
        }
    }
}

impl Report {
    /// The gravest finding that was not put right.
    pub fn gravity(&self) -> Option<Gravity> {
        let fresh = self.header.as_ref().map_or(State::Absent, |h| h.fresh);
        let all = self.findings.iter().map(|finding| finding.gravity(fresh));
        let left = all.filter(|gravity| self.repaired == 0 || *gravity == Gravity::Damage);
        left.max()
    }
}

/// Examines the volume in `map` and `data`; with `repair`, both are written, and
/// what loses nothing is put right.
///
/// # Errors
/// The files cannot be read; or, to repair, written.
pub fn check(map: &File, data: &File, repair: bool) -> io::Result<Report> {
    let mut report = Report::default();
    let mut blocks = match BlockMap::read(map.try_clone()?) {
        Ok(blocks) => blocks,
        Err(error) => {
            report.findings.push(Finding::Map(error));
            return Ok(report);
        }
    };
    let header = blocks.header().clone();
    report.header = Some(header.clone());
    let mut damaged = Vec::new();
    for number in 0..leaf::count(header.size.blocks()) {
        match blocks.leaf(number) {
            Ok(leaf) => count(&mut report.counts, leaf, number, &header),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => damaged.push(number),
            Err(error) => return Err(error),
        }
    }
    let end = header.size.blocks() - 1;
    report
        .findings
        .extend(damaged.iter().map(|number| Finding::Leaf {
            first: number * BLOCKS,
            last: end.min(number * BLOCKS + BLOCKS - 1),
        }));
    let (len, size) = (length_of(data)?, header.size.bytes());
    match len {
        len if len < size => report.findings.push(Finding::Short { len, size }),
        len if len > size => report.findings.push(Finding::Long { len, size }),
        _ => {}
    }
    if repair && !report.findings.is_empty() {
        self::repair(map, &header, &damaged, len)?;
        let gravity = |finding: &Finding| finding.gravity(header.fresh);
        let repaired = report.findings.iter().map(gravity);
        report.repaired = repaired.filter(|g| *g == Gravity::Repairable).count();
    }
    Ok(report)
}

fn count(counts: &mut Counts, leaf: &Leaf, number: u32, header: &Header) {
    let left = header.size.blocks() - number * BLOCKS;
    for index in 0..left.min(BLOCKS) as usize {
        match leaf.get(index).state {
            State::Absent => counts.absent += 1,
            State::Zero => counts.zero += 1,
            State::Present => counts.present += 1,
        }
    }
}

/// Puts right what loses nothing.
fn repair(map: &File, header: &Header, damaged: &[u32], len: u64) -> io::Result<()> {
    if header.fresh != State::Absent {
        let mut changed = Leaf::untouched(State::Present);
        for index in 0..BLOCKS as usize {
            changed.set(
                index,
                Entry {
                    state: State::Present,
                    generation: header.generation,
                },
            );
        }
        for number in damaged {
            // The journal would have been replayed: its leaf is lost in place.
            debug_assert!(read_leaf(map, header.id, *number, place(*number)).is_err());
            map.write_all_at(&changed.encode(header.id, *number), place(*number))?;
        }
        fdatasync(map)?;
    }
    if len > header.size.bytes() {
        // Completed, rather than undone: a guest may have heard of it already.
        let size = VolumeSize::new(len).map_err(io::Error::other)?;
        let mut grown = BlockMap::open(map.try_clone()?).map_err(io::Error::other)?;
        grown.grow(size)?;
        grown.close()?;
    }
    Ok(())
}

fn length_of(mut data: &File) -> io::Result<u64> {
    let len = data.seek(SeekFrom::End(0))?;
    Ok(len - len % SECTOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map;

    fn volume(fresh: State) -> (File, File) {
        let (map, data) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let size = VolumeSize::new(200 << 20).unwrap();
        let id = "vol-00000000000000001".parse().unwrap();
        map::create(&map, id, size, fresh).unwrap();
        data.set_len(size.bytes()).unwrap();
        (map, data)
    }

    #[test]
    fn a_whole_volume_is_clean() {
        let (map, data) = volume(State::Absent);
        let mut writer = BlockMap::open(map.try_clone().unwrap()).unwrap();
        writer.loaded(3).unwrap();
        writer.cleared(4).unwrap();
        writer.close().unwrap();
        let report = check(&map, &data, false).unwrap();
        assert!(report.findings.is_empty());
        let expected = Counts {
            absent: 398,
            zero: 1,
            present: 1,
        };
        assert_eq!(report.counts, expected);
        assert_eq!(report.gravity(), None);
    }

    #[test]
    fn a_damaged_leaf_is_repaired_where_nothing_was_to_be_loaded() {
        for (fresh, gravity) in [
            (State::Zero, Gravity::Repairable),
            (State::Absent, Gravity::Damage),
        ] {
            let (map, data) = volume(fresh);
            map.write_all_at(&[1], place(1) + 20).unwrap();
            let report = check(&map, &data, false).unwrap();
            assert_eq!(report.gravity(), Some(gravity));
            assert!(report.findings[0].to_string().contains("126 to 251"));
            let report = check(&map, &data, true).unwrap();
            let left = check(&map, &data, false).unwrap();
            if gravity == Gravity::Repairable {
                assert_eq!((report.repaired, report.gravity()), (1, None));
                assert_eq!(left.counts.present, 126);
                assert!(left.findings.is_empty());
            } else {
                assert_eq!((report.repaired, report.gravity()), (0, Some(gravity)));
                assert_eq!(left.findings.len(), 1);
            }
        }
    }

    #[test]
    fn data_of_another_length_is_found() {
        let (map, data) = volume(State::Zero);
        data.set_len(100 << 20).unwrap();
        let report = check(&map, &data, true).unwrap();
        assert_eq!(report.gravity(), Some(Gravity::Damage));
        assert!(matches!(report.findings[..], [Finding::Short { .. }]));
        data.set_len(300 << 20).unwrap();
        let report = check(&map, &data, true).unwrap();
        assert!(matches!(report.findings[..], [Finding::Long { .. }]));
        assert_eq!(report.gravity(), None);
        let report = check(&map, &data, false).unwrap();
        assert!(report.findings.is_empty());
        assert_eq!(report.header.unwrap().size.bytes(), 300 << 20);
    }

    #[test]
    fn what_is_no_map_is_damage() {
        let (map, data) = volume(State::Zero);
        map.set_len(100).unwrap();
        let report = check(&map, &data, true).unwrap();
        assert_eq!(report.gravity(), Some(Gravity::Damage));
        assert!(report.header.is_none());
    }
}
