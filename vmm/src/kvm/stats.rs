#![allow(unsafe_code)] // One ioctl that kvm-ioctls does not have.
//! KVM's own counters of a vCPU (Documentation/virt/kvm/api.rst §4.133,
//! `KVM_GET_STATS_FD`): a small self-describing file, which any thread may
//! read while the vCPU runs, at no cost to it.

use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;

use kvm_bindings::KVMIO;
use kvm_ioctls::VcpuFd;
use vmm_sys_util::ioctl::ioctl;
use vmm_sys_util::ioctl_io_nr;

ioctl_io_nr!(KVM_GET_STATS_FD, KVMIO, 0xce);

/// More counters or longer names than this are not KVM's.
const MAX_COUNTERS: usize = 1024;
const MAX_NAME: usize = 256;
/// Nor are more bytes of values.
const MAX_DATA: usize = 1 << 20;
/// Bytes of the header, and of a descriptor before its name.
const HEADER: usize = 24;
const DESCRIPTOR: usize = 16;

/// A vCPU's counters.
#[derive(Debug)]
pub(crate) struct VcpuStats(File);

impl VcpuStats {
    /// Those of `vcpu`. None where the host's kernel does not tell (before
    /// Linux 5.14).
    pub(crate) fn of(vcpu: &VcpuFd) -> Option<Self> {
        // SAFETY: the request takes no argument and answers with a descriptor.
        let fd = unsafe { ioctl(vcpu, KVM_GET_STATS_FD()) };
        if fd < 0 {
            return None;
        }
        // SAFETY: the descriptor was made for us just now.
        Some(Self(unsafe { File::from_raw_fd(fd) }))
    }

    /// All counters by KVM's names for them, as they are now. Of those that
    /// have several values, the first.
    pub(crate) fn read(&self) -> Vec<(String, u64)> {
        values(&self.0).unwrap_or_default()
    }

    /// How often the vCPU left the guest, to KVM or further.
    pub(crate) fn exits(&self) -> Option<u64> {
        let mut all = self.read().into_iter();
        all.find(|(name, _)| name == "exits")
            .map(|(_, exits)| exits)
    }
}

/// Reads the file: a header, descriptors of one size, and data.
fn values(file: &impl FileExt) -> io::Result<Vec<(String, u64)>> {
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0)?;
    let (name_size, count) = (number(&header, 4)?, number(&header, 8)?);
    let (descriptors, data) = (number(&header, 16)?, number(&header, 20)?);
    if name_size > MAX_NAME || count > MAX_COUNTERS {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let stride = DESCRIPTOR + name_size;
    let mut table = vec![0; stride * count];
    file.read_exact_at(&mut table, descriptors as u64)?;
    let mut counters = Vec::with_capacity(count);
    for descriptor in table.chunks_exact(stride) {
        let name = descriptor[DESCRIPTOR..].split(|byte| *byte == 0).next();
        let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
        counters.push((name, number(descriptor, 8)?));
    }
    let end = counters.iter().map(|(_, offset)| *offset).max();
    let len = end.map_or(0, |last| last.saturating_add(8));
    if len > MAX_DATA {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut values = vec![0; len];
    file.read_exact_at(&mut values, data as u64)?;
    let value = |(name, offset): (String, usize)| {
        let value = values[offset..].first_chunk().copied();
        (name, value.map_or(0, u64::from_le_bytes))
    };
    Ok(counters.into_iter().map(value).collect())
}

/// The 32-bit number at `offset`.
fn number(bytes: &[u8], offset: usize) -> io::Result<usize> {
    let bytes = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    let bytes = bytes.ok_or(io::ErrorKind::InvalidData)?;
    usize::try_from(u32::from_le_bytes(*bytes)).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bytes(Vec<u8>);

    impl FileExt for Bytes {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = self.0.get(usize::try_from(offset).unwrap()..);
            let rest = rest.unwrap_or(&[]);
            let len = rest.len().min(buf.len());
            buf[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        }
        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn stats() -> Bytes {
        let mut bytes = Vec::new();
        for word in [0u32, 16, 2, 24, 24, 24 + 2 * 32] {
            bytes.extend(word.to_le_bytes());
        }
        for (name, offset) in [("halts", 0u32), ("exits", 8)] {
            bytes.extend([0; 8]);
            bytes.extend(offset.to_le_bytes());
            bytes.extend([0; 4]);
            let mut name = name.as_bytes().to_vec();
            name.resize(16, 0);
            bytes.extend(name);
        }
        bytes.extend(7u64.to_le_bytes());
        bytes.extend(1234u64.to_le_bytes());
        Bytes(bytes)
    }

    #[test]
    fn all_counters_are_read_with_their_names() {
        let expected = [("halts".to_owned(), 7), ("exits".to_owned(), 1234)];
        assert_eq!(values(&stats()).unwrap(), expected);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_refused() {
        for at in [4, 8, 16, 20] {
            let mut spoilt = stats();
            spoilt.0[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert!(values(&spoilt).is_err(), "at {at}");
        }
        for len in 0..stats().0.len() {
            let mut short = stats();
            short.0.truncate(len);
            assert!(values(&short).is_err(), "{len} bytes");
        }
    }
}
