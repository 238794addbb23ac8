#![allow(unsafe_code)] // One ioctl that kvm-ioctls does not have.
//! KVM's own counters of a vCPU (Documentation/virt/kvm/api.rst §4.133,
//! `KVM_GET_STATS_FD`): a small self-describing file.

use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;

use kvm_bindings::KVMIO;
use kvm_ioctls::VcpuFd;
use vmm_sys_util::ioctl::ioctl;
use vmm_sys_util::ioctl_io_nr;

ioctl_io_nr!(KVM_GET_STATS_FD, KVMIO, 0xce);

/// How often `vcpu` left the guest, to KVM or further. None where the host's
/// kernel does not tell (before Linux 5.14).
pub(crate) fn exits(vcpu: &VcpuFd) -> Option<u64> {
    // SAFETY: the request takes no argument and answers with a descriptor.
    let fd = unsafe { ioctl(vcpu, KVM_GET_STATS_FD()) };
    if fd < 0 {
        return None;
    }
    // SAFETY: the descriptor was made for us just now.
    let file = unsafe { File::from_raw_fd(fd) };
    find(&file, "exits").ok().flatten()
}

/// More counters or longer names than this are not KVM's.
const MAX_COUNTERS: u32 = 1024;
const MAX_NAME: usize = 256;
/// Bytes of the header, and of a descriptor before its name.
const HEADER: usize = 24;
const DESCRIPTOR: usize = 16;

/// The first value of the counter called `name`.
fn find(file: &impl FileExt, name: &str) -> io::Result<Option<u64>> {
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0)?;
    let field = |at: usize| {
        let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
        u32::from_le_bytes(bytes)
    };
    let (name_size, count) = (field(4), field(8));
    let (descriptors, data) = (u64::from(field(16)), u64::from(field(20)));
    let name_size = usize::try_from(name_size).unwrap_or(usize::MAX);
    if name_size > MAX_NAME || count > MAX_COUNTERS {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let stride = DESCRIPTOR + name_size;
    for index in 0..u64::from(count) {
        let mut descriptor = [0; DESCRIPTOR + MAX_NAME];
        let descriptor = &mut descriptor[..stride];
        file.read_exact_at(descriptor, descriptors + index * stride as u64)?;
        let found = descriptor[DESCRIPTOR..].split(|byte| *byte == 0).next();
        if found != Some(name.as_bytes()) {
            continue;
        }
        let offset = [descriptor[8], descriptor[9], descriptor[10], descriptor[11]];
        let mut value = [0; 8];
        file.read_exact_at(&mut value, data + u64::from(u32::from_le_bytes(offset)))?;
        return Ok(Some(u64::from_le_bytes(value)));
    }
    Ok(None)
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
    fn a_counter_is_found_by_name() {
        assert_eq!(find(&stats(), "exits").unwrap(), Some(1234));
        assert_eq!(find(&stats(), "exit").unwrap(), None);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_refused() {
        let mut long_names = stats();
        long_names.0[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(find(&long_names, "exits").is_err());
        let mut short = stats();
        short.0.truncate(40);
        assert!(find(&short, "exits").is_err());
    }
}
