//! A writer for initramfs archives: the "newc" cpio format that Linux unpacks
//! into its first root file system
//! (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Everything belongs to root and carries no time, so that equal input gives
//! equal bytes. Missing parent directories are added by themselves.

use std::collections::BTreeSet;
use std::io::{self, Write};

const S_IFDIR: u32 = 0o040_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

/// An archive being written to `W`; paths are given without a leading slash.
#[derive(Debug)]
pub struct Archive<W: Write> {
    out: W,
    entries: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    /// An empty archive.
    pub fn new(out: W) -> Self {
        Self {
            out,
            entries: 0,
            directories: BTreeSet::new(),
        }
    }

    /// Adds directory `path` and its parents, mode 0755 each.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        if path.is_empty() || self.directories.contains(path) {
            return Ok(());
        }
        self.parents(path)?;
        self.directories.insert(path.to_owned());
        self.entry(path, S_IFDIR | 0o755, (0, 0), &[])
    }

    /// Adds a regular file with permission bits `mode`.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.parents(path)?;
        self.entry(path, S_IFREG | mode, (0, 0), content)
    }

    /// Adds a symbolic link at `path` that reads `target`.
    pub fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.parents(path)?;
        self.entry(path, S_IFLNK | 0o777, (0, 0), target.as_bytes())
    }

    /// Adds a character device, such as `dev/console` with numbers `(5, 1)`.
    pub fn character_device(
        &mut self,
        path: &str,
        mode: u32,
        numbers: (u32, u32),
    ) -> io::Result<()> {
        self.parents(path)?;
        self.entry(path, S_IFCHR | mode, numbers, &[])
    }

    /// Writes the end marker and returns what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn parents(&mut self, path: &str) -> io::Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.directory(parent),
            None => Ok(()),
        }
    }

    fn entry(
        &mut self,
        path: &str,
        mode: u32,
        (major, minor): (u32, u32),
        content: &[u8],
    ) -> io::Result<()> {
        let too_long = |_| io::Error::new(io::ErrorKind::FileTooLarge, path.to_owned());
        let size = u32::try_from(content.len()).map_err(too_long)?;
        let name_size = u32::try_from(path.len() + 1).map_err(too_long)?;
        self.entries += 1;
        // In order: ino, mode, uid, gid, nlink, mtime, filesize, maj, min,
        // rmaj, rmin, namesize, chksum; each as eight hexadecimal digits.
        let inode = self.entries;
        let fields = [
            inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0,
        ];
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(b"\0")?;
        self.pad(6 + fields.len() * 8 + path.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    /// Header with name, and content, each end on a multiple of four bytes.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out
            .write_all(&[0; 3][..written.next_multiple_of(4) - written])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an archive back as (path, mode, content).
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            let field = |n: usize| {
                let text = std::str::from_utf8(&bytes[6 + 8 * n..14 + 8 * n]).unwrap();
                u32::from_str_radix(text, 16).unwrap() as usize
            };
            assert_eq!(&bytes[..6], b"070701");
            let (mode, size, name_size) = (field(1), field(6), field(11));
            let content = (110 + name_size).next_multiple_of(4);
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).unwrap();
            assert_eq!(bytes[110 + name_size - 1], 0);
            if name == "TRAILER!!!" {
                return found;
            }
            let mode = u32::try_from(mode).unwrap();
            found.push((name, mode, bytes[content..content + size].to_vec()));
            bytes = &bytes[(content + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        let mut archive = Archive::new(Vec::new());
        archive.file("init", 0o755, b"#!/bin/sh\n").unwrap();
        archive.symlink("bin/sh", "busybox").unwrap();
        archive
            .character_device("dev/console", 0o600, (5, 1))
            .unwrap();
        let entries = read(&archive.finish().unwrap());
        let expected: [(&str, u32, &[u8]); 5] = [
            ("init", 0o100_755, b"#!/bin/sh\n"),
            ("bin", 0o040_755, b""),
            ("bin/sh", 0o120_777, b"busybox"),
            ("dev", 0o040_755, b""),
            ("dev/console", 0o020_600, b""),
        ];
        let expected = expected.map(|(path, mode, data)| (path.to_owned(), mode, data.to_vec()));
        assert_eq!(entries, expected);
    }

    #[test]
    fn a_parent_comes_once_and_before_its_children() {
        let mut archive = Archive::new(Vec::new());
        archive.file("a/b/c", 0o644, b"1").unwrap();
        archive.file("a/b/d", 0o644, b"22").unwrap();
        archive.directory("a").unwrap();
        let paths: Vec<String> = read(&archive.finish().unwrap())
            .into_iter()
            .map(|(path, ..)| path)
            .collect();
        assert_eq!(paths, ["a", "a/b", "a/b/c", "a/b/d"]);
    }
}
