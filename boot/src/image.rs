//! The kernel image as a file that is read at offsets, and what format it is.
//!
//! The format parsers get an [`Image`]: it knows the file's size, so that a
//! range beyond the end is a truncated file and never a failed read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use linux_loader::elf::ELFMAG;

use crate::{Error, Result};

/// Bytes of a kernel, read at an offset.
///
/// Implemented for files, and for kernels that are already in memory.
pub trait KernelImage {
    /// Size in bytes.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` from the bytes at `offset`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if the image ends before that.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl KernelImage for File {
    fn size(&self) -> io::Result<u64> {
        let metadata = self.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(metadata.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl KernelImage for &[u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..)?.get(..buffer.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// The formats a kernel can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Elf,
    BzImage,
}

/// A kernel image whose size is known.
pub(crate) struct Image<'a> {
    bytes: &'a dyn KernelImage,
    size: u64,
}

impl<'a> Image<'a> {
    pub(crate) fn new(bytes: &'a dyn KernelImage) -> Result<Self> {
        let size = bytes.size().map_err(|source| match source.kind() {
            io::ErrorKind::IsADirectory => Error::NotAKernel {
                found: "a directory".into(),
            },
            _ => Error::Read {
                what: "size",
                source,
            },
        })?;
        Ok(Image { bytes, size })
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Refuses `length` bytes at `offset` unless the file has them.
    pub(crate) fn check_range(&self, what: &'static str, offset: u64, length: u64) -> Result<()> {
        let end = offset.saturating_add(length);
        if end > self.size {
            let size = self.size;
            return Err(Error::Truncated { what, end, size });
        }
        Ok(())
    }

    /// Fills `buffer` from `offset`; `what` names the part for a message.
    pub(crate) fn read(&self, what: &'static str, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.check_range(what, offset, buffer.len() as u64)?;
        self.bytes
            .read_exact_at(buffer, offset)
            .map_err(|source| Error::Read { what, source })
    }

    /// Tells the format by its magic numbers.
    pub(crate) fn format(&self) -> Result<Format> {
        // A bzImage's "HdrS" is the last magic number, at 0x202
        // (Documentation/arch/x86/boot.rst).
        let mut head = [0; 0x206];
        let length = usize::try_from(self.size).map_or(head.len(), |size| size.min(head.len()));
        self.read("first bytes", &mut head[..length], 0)?;
        if head.starts_with(ELFMAG) {
            Ok(Format::Elf)
        } else if head.ends_with(b"HdrS") {
            Ok(Format::BzImage)
        } else {
            Err(Error::NotAKernel {
                found: recognise(&head[..length]).into(),
            })
        }
    }
}

/// Names what a file that is no kernel most likely is, by its first bytes.
fn recognise(head: &[u8]) -> &'static str {
    const MAGIC: &[(usize, &[u8], &str)] = &[
        (0, b"\x1f\x8b", "a gzip file (unpack it first)"),
        (0, b"\xfd7zXZ\0", "an xz file (unpack it first)"),
        (0, b"\x28\xb5\x2f\xfd", "a zstd file (unpack it first)"),
        (0, b"BZh", "a bzip2 file (unpack it first)"),
        (0, b"\x02\x21\x4c\x18", "an lz4 file (unpack it first)"),
        (0, b"070701", "an initramfs (a cpio archive)"),
        (0, b"!<arch>\n", "a Debian package or static library"),
        (0, b"QFI\xfb", "a qcow2 disk image"),
        (0x38, b"ARM\x64", "a kernel for aarch64"),
        (0x30, b"RISCV\0\0\0", "a kernel for RISC-V"),
        (4, b"zimg", "an EFI zboot kernel (unpack it first)"),
        (
            0,
            b"MZ",
            "an EFI or Windows program without the Linux boot header",
        ),
        (0, b"#!", "a script"),
    ];
    if head.is_empty() {
        return "an empty file";
    }
    MAGIC
        .iter()
        .find(|(offset, magic, _)| head.get(*offset..).is_some_and(|at| at.starts_with(magic)))
        .map_or("in no format known here", |(_, _, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> String {
        match Image::new(&bytes).unwrap().format() {
            Err(Error::NotAKernel { found }) => found,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_that_are_no_kernel_are_named() {
        assert_eq!(found(b""), "an empty file");
        assert_eq!(found(b"\x1f\x8b\x08"), "a gzip file (unpack it first)");
        assert_eq!(found(b"070701000"), "an initramfs (a cpio archive)");
        assert_eq!(
            found(b"MZ\0\0zimg"),
            "an EFI zboot kernel (unpack it first)"
        );
        assert_eq!(found(&[0; 4096]), "in no format known here");
    }

    #[test]
    fn a_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::open(directory.path()).unwrap();
        let error = Image::new(&file).err().unwrap();
        assert!(
            error
                .to_string()
                .starts_with("the kernel image is a directory;")
        );
    }

    #[test]
    fn a_range_beyond_the_end_is_a_truncated_file() {
        let bytes: &[u8] = &[0; 10];
        let image = Image::new(&bytes).unwrap();
        assert!(image.check_range("tail", 4, 6).is_ok());
        for (offset, length) in [(4, 7), (11, 0), (u64::MAX, 1), (1, u64::MAX)] {
            assert!(matches!(
                image.check_range("tail", offset, length),
                Err(Error::Truncated {
                    what: "tail",
                    size: 10,
                    ..
                })
            ));
        }
    }
}
