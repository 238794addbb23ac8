//! Copying the content of one file into another, as fast as file systems can
//! and no denser than it is.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{copy_file_range, ioctl_ficlone};
use rustix::io::Errno;

use crate::progress::Progress;

use super::extents::Extents;

/// Bytes copied by one system call: less than a second's, so that the progress
/// is seen.
const STEP: u64 = 64 << 20;

/// Bytes read and written at a time where the kernel does not copy.
const CHUNK: usize = 1 << 20;

/// Zeroes of as many bytes are not written: as large as any file system's
/// blocks commonly are.
pub(super) const PIECE: usize = 64 << 10;

/// Copies the first `length` bytes of `from` into `to`, which is as long and
/// all holes. Shares extents where the file system can.
///
/// # Errors
/// One cannot be read, or the other written; `from` is shorter than that.
pub(super) fn copy(from: &File, to: &File, length: u64, progress: &Progress) -> io::Result<()> {
    // Whole files of the same length are shared at once, whatever their size.
    if from.metadata()?.len() == length && share(from, to) {
        return Ok(());
    }
    for extent in Extents::new(from, length) {
        let mut rest = extent?;
        while !rest.is_empty() {
            rest.start += copy_some(from, to, &rest)?;
            progress.reach(rest.start);
        }
    }
    Ok(())
}

/// Has `to`, which is as long and all holes, share all of `from`. Returns whether
/// the file system can.
pub(super) fn share(from: &File, to: &File) -> bool {
    ioctl_ficlone(to, from).is_ok()
}

/// Copies the beginning of `range`; says how much of it.
fn copy_some(from: &File, to: &File, range: &Range<u64>) -> io::Result<u64> {
    let (mut at_from, mut at_to) = (range.start, range.start);
    let length = usize::try_from((range.end - range.start).min(STEP)).unwrap_or(usize::MAX);
    match copy_file_range(from, Some(&mut at_from), to, Some(&mut at_to), length) {
        Ok(0) => Err(ended_early()),
        Ok(copied) => Ok(copied as u64),
        // Not with these file systems, or not a file at all.
        Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
            read_and_write(from, to, range)
        }
        Err(Errno::INTR) => Ok(0),
        Err(errno) => Err(errno.into()),
    }
}

fn read_and_write(from: &File, to: &File, range: &Range<u64>) -> io::Result<u64> {
    let length = usize::try_from(range.end - range.start).map_or(CHUNK, |l| l.min(CHUNK));
    let mut chunk = vec![0; length];
    let read = from.read_at(&mut chunk, range.start)?;
    if read == 0 {
        return Err(ended_early());
    }
    write_sparse(to, &chunk[..read], range.start)?;
    Ok(read as u64)
}

/// Writes `bytes` at `at`, where `to` is a hole; what are zeroes stays one.
///
/// # Errors
/// It cannot be written.
pub(super) fn write_sparse(to: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut at = at;
    for piece in bytes.chunks(PIECE) {
        if piece.iter().any(|byte| *byte != 0) {
            to.write_all_at(piece, at)?;
        }
        at += piece.len() as u64;
    }
    Ok(())
}

fn ended_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const LENGTH: u64 = 16 << 20;

    fn sparse() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(LENGTH).unwrap();
        file
    }

    /// A file with data here and there.
    fn source() -> File {
        let file = sparse();
        for (at, byte) in [(0, 1), (5 << 20, 2), (LENGTH - 5000, 3)] {
            file.write_all_at(&[byte; 5000], at).unwrap();
        }
        file
    }

    fn content(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(LENGTH).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn a_copy_has_the_same_bytes_and_the_same_holes() {
        let (from, to) = (source(), sparse());
        copy(&from, &to, LENGTH, &Progress::new("copying", LENGTH)).unwrap();
        assert!(content(&from) == content(&to));
        assert!(to.metadata().unwrap().blocks() * 512 < LENGTH / 4);
    }

    #[test]
    fn what_the_kernel_does_not_copy_is_read_and_written_without_zeroes() {
        let (from, to) = (source(), sparse());
        let mut rest = 0..LENGTH;
        while !rest.is_empty() {
            rest.start += read_and_write(&from, &to, &rest).unwrap();
        }
        assert!(content(&from) == content(&to));
        assert!(to.metadata().unwrap().blocks() * 512 < LENGTH / 4);
    }

    #[test]
    fn a_source_that_ends_early_is_an_error() {
        let (from, to) = (source(), sparse());
        from.set_len(6 << 20).unwrap();
        let range = 6 << 20..LENGTH;
        for ended in [
            copy_some(&from, &to, &range),
            read_and_write(&from, &to, &range),
        ] {
            assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
