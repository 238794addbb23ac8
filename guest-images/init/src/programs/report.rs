//! `guest report`: what the guest sees of its machine, one fact to a line.
//!
//! ```text
//! report: kernel 6.1.0-56-cloud-amd64
//! report: cpus 2
//! report: memory 245760 KiB
//! report: disk vda bytes 1073741824 sector 512 readonly 0 serial data
//! report: nic eth0 mac 02:00:00:00:00:01 mtu 1500 features 0x130020023
//! ```
//!
//! A NIC's features are the negotiated virtio bits (virtio 1.3 §5.1.3).

use std::fs;
use std::path::{Path, PathBuf};

use super::{Outcome, print};

pub(super) fn run() -> Outcome {
    let uname = rustix::system::uname();
    print(format_args!(
        "report: kernel {}",
        uname.release().to_string_lossy()
    ))?;
    print(format_args!(
        "report: cpus {}",
        std::thread::available_parallelism()?
    ))?;
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    print(format_args!(
        "report: memory {} KiB",
        total_memory(&meminfo).ok_or("no MemTotal")?
    ))?;
    for disk in devices("/sys/block")? {
        // Sizes in sysfs are in units of 512 bytes, whatever the sector size.
        let sectors: u64 = attribute(&disk, "size").parse()?;
        print(format_args!(
            "report: disk {} bytes {} sector {} readonly {} serial {}",
            name(&disk),
            sectors * 512,
            attribute(&disk, "queue/logical_block_size"),
            attribute(&disk, "ro"),
            attribute(&disk, "serial"),
        ))?;
    }
    for nic in devices("/sys/class/net")? {
        print(format_args!(
            "report: nic {} mac {} mtu {} features {:#x}",
            name(&nic),
            attribute(&nic, "address"),
            attribute(&nic, "mtu"),
            feature_bits(&attribute(&nic, "device/features")),
        ))?;
    }
    Ok(())
}

/// MemTotal, in KiB: what the kernel manages, a little less than the machine
/// has.
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The entries of a sysfs class that stand on a device, by name.
fn devices(class: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(class)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("device").exists())
        .collect();
    found.sort();
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A sysfs attribute, or "-" where there is none.
fn attribute(device: &Path, attribute: &str) -> String {
    match fs::read_to_string(device.join(attribute)) {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "-".to_owned(),
    }
}

/// sysfs shows virtio features as 64 characters, bit 0 first.
fn feature_bits(text: &str) -> u64 {
    text.chars()
        .take(64)
        .zip(0..)
        .filter(|(bit, _)| *bit == '1')
        .fold(0, |bits, (_, place)| bits | 1 << place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_kernels_total() {
        let meminfo = "MemTotal:         245760 kB\nMemFree:  1 kB\n";
        assert_eq!(total_memory(meminfo), Some(245_760));
        assert_eq!(total_memory("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn features_read_from_bit_zero() {
        assert_eq!(feature_bits("1100"), 0b11);
        assert_eq!(feature_bits(&format!("{}1", "0".repeat(32))), 1 << 32);
        assert_eq!(feature_bits("-"), 0);
    }
}
