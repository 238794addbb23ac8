//! Where a sparse file has data.

use std::fs::File;
use std::io;
use std::ops::Range;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// The ranges of a file's first bytes that are not holes, in their order. All
/// of it where the file system does not say.
#[derive(Debug)]
pub(super) struct Extents<'a> {
    file: &'a File,
    rest: Range<u64>,
}

impl<'a> Extents<'a> {
    /// Those of the first `length` bytes of `file`, whose offset they move.
    pub(super) fn new(file: &'a File, length: u64) -> Self {
        let rest = 0..length;
        Self { file, rest }
    }

    fn find(&mut self) -> io::Result<Option<Range<u64>>> {
        let Range { start, end } = self.rest;
        let begin = match seek(self.file, SeekFrom::Data(start)) {
            // Nothing but a hole is left.
            Err(Errno::NXIO) => return Ok(None),
            // A block device, for instance.
            Err(Errno::INVAL) => start,
            begin => begin?.max(start),
        };
        if begin >= end {
            return Ok(None);
        }
        let stop = match seek(self.file, SeekFrom::Hole(begin)) {
            Err(Errno::NXIO | Errno::INVAL) => end,
            stop => Some(stop?)
                .filter(|stop| *stop > begin)
                .unwrap_or(end)
                .min(end),
        };
        self.rest.start = stop;
        Ok(Some(begin..stop))
    }
}

impl Iterator for Extents<'_> {
    type Item = io::Result<Range<u64>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let found = self.find();
        if !matches!(found, Ok(Some(_))) {
            self.rest = 0..0;
        }
        found.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn extents(file: &File, length: u64) -> Vec<Range<u64>> {
        Extents::new(file, length).map(Result::unwrap).collect()
    }

    #[test]
    fn holes_are_left_out_and_data_are_not() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(16 << 20).unwrap();
        assert_eq!(extents(&file, 16 << 20), []);
        file.write_all_at(&[1; 4096], 1 << 20).unwrap();
        file.write_all_at(&[1; 4096], (16 << 20) - 4096).unwrap();
        let found = extents(&file, 16 << 20);
        let has = |at: u64| found.iter().any(|extent| extent.contains(&at));
        assert!(has(1 << 20) && has((16 << 20) - 1));
        assert!(!has(8 << 20), "{found:?}");
        let first = extents(&file, (1 << 20) + 100);
        assert_eq!(first.last().unwrap().end, (1 << 20) + 100);
        assert_eq!(extents(&file, 0), []);
    }

    #[test]
    fn what_has_no_holes_is_all_data() {
        let device = File::open("/dev/zero").unwrap();
        let found = extents(&device, 4096);
        assert!(matches!(
            found[..],
            [Range {
                start: 0,
                end: 4096
            }]
        ));
    }
}
