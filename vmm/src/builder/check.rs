//! What a configuration amounts to, and whether a machine can be so: read from
//! it alone, before anything is made.

use std::ops::Range;

use boot::CpuCount;
use boot::layout::MIB;

use crate::config::{DeviceConfig, TransportKind, VmConfig};
use crate::description::{Description, DeviceDescription, State};
use crate::device_name::DeviceName;
use crate::error::{Error, Result};
use crate::memory::MemoryConfig;

/// The most vCPUs that the machine may have.
pub(super) fn cpus(config: &VmConfig) -> Result<CpuCount> {
    let max = config.max_cpus.unwrap_or(config.cpus);
    if max < config.cpus {
        return Err(Error::Config(format!(
            "{} vCPUs are more than the maximum of {}; raise that or ask for fewer",
            config.cpus.get(),
            max.get(),
        )));
    }
    Ok(max)
}

/// Whether memory can be as it is to be.
pub(super) fn memory(config: &VmConfig) -> Result<()> {
    let memory = &config.memory;
    let has_balloon = |device: &DeviceConfig| matches!(device, DeviceConfig::Balloon);
    check_pages(memory, config.devices.iter().any(has_balloon))
}

/// Whether what serves queues without this process can interrupt their drivers.
pub(super) fn interrupts(config: &VmConfig) -> Result<()> {
    let vhost =
        |device: &DeviceConfig| matches!(device, DeviceConfig::Net(net) if !net.vhost.is_empty());
    if config.transport == TransportKind::Mmio && config.devices.iter().any(vhost) {
        return Err(Error::Config(
            "over virtio-mmio the host's kernel cannot interrupt the guest by itself, as vhost \
             does; choose --transport pci, or leave vhost out"
                .into(),
        ));
    }
    Ok(())
}

/// Whether memory can be of the pages that it is to be of.
fn check_pages(memory: &MemoryConfig, has_balloon: bool) -> Result<()> {
    let page = memory.backing.page_size();
    let whole = |range: Range<u64>| (range.end - range.start).is_multiple_of(page);
    if !memory.layout.ranges().all(whole) {
        return Err(Error::Config(format!(
            "{} bytes of guest memory are not a whole number of {} MiB pages; \
             choose a multiple",
            memory.layout.bytes(),
            page / MIB,
        )));
    }
    if memory.backing.is_pooled() && memory.transparent_huge_pages.is_some() {
        return Err(Error::Config(
            "memory out of the pool of huge pages cannot have transparent huge pages; \
             choose one or the other"
                .into(),
        ));
    }
    if has_balloon || memory.layout.growth().is_some() {
        memory.check_can_go_back()?;
    }
    Ok(())
}

/// The machine, while it is paused.
pub(super) fn describe(config: &VmConfig) -> Result<Description> {
    let mut devices: Vec<DeviceDescription> = Vec::with_capacity(config.devices.len());
    for device in &config.devices {
        let device = device
            .description()
            .map_err(|error| Error::Config(error.to_string()))?;
        if devices.iter().any(|other| other.name == device.name) {
            return Err(Error::Config(format!(
                "two devices are called '{}'; give one of them another name",
                device.name
            )));
        }
        devices.push(device);
    }
    Ok(Description {
        state: State::Paused,
        cpus: config.cpus.get(),
        max_cpus: config.max_cpus.unwrap_or(config.cpus).get(),
        memory_bytes: config.memory.layout.bytes(),
        devices,
    })
}

/// The disk that the guest cannot do without: the first that it starts with,
/// or another that the kernel is told of as its root, by the name that the
/// first 26 have.
pub(super) fn root_disk(config: &VmConfig) -> Option<DeviceName> {
    let mut disks = config.devices.iter().filter_map(|device| match device {
        DeviceConfig::Block(disk) => DeviceName::try_from(disk.id).ok(),
        _ => None,
    });
    let words = config.boot.command_line.as_str().split_whitespace();
    let mut roots = words.filter_map(|word| word.strip_prefix("root=/dev/vd"));
    let letter = roots.next_back().and_then(|rest| rest.bytes().next());
    let number = letter.filter(u8::is_ascii_lowercase).unwrap_or(b'a') - b'a';
    disks.nth(number.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VmBuilder;
    use crate::error::ErrorKind;
    use crate::memory::Backing;
    use boot::layout::GIB;
    use boot::{CommandLine, MemoryLayout};

    fn memory(bytes: u64, backing: Backing) -> MemoryConfig {
        MemoryConfig {
            layout: MemoryLayout::new(bytes).unwrap(),
            backing,
            transparent_huge_pages: None,
            prefault: false,
        }
    }

    #[track_caller]
    fn refusal(memory: &MemoryConfig) -> String {
        let error = check_pages(memory, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.to_string()
    }

    #[test]
    fn the_root_disk_is_the_first_or_the_one_that_the_kernel_is_told_of() {
        let disk = |id: &str| {
            DeviceConfig::Block(crate::config::BlockConfig {
                file: tempfile::tempfile().unwrap(),
                id: id.parse().unwrap(),
                options: crate::DiskOptions::default(),
                key: None,
                limits: None,
                volume: None,
            })
        };
        for (line, root) in [
            ("quiet", Some("a")),
            ("root=LABEL=x", Some("a")),
            ("root=/dev/vda1 ro", Some("a")),
            ("root=/dev/vdb1", Some("b")),
            ("root=/dev/vda root=/dev/vdb", Some("b")),
            ("root=/dev/vdz", None),
            ("root=/dev/vd9", Some("a")),
        ] {
            let kvm = tempfile::tempfile().unwrap().into();
            let builder = VmBuilder::new(kvm, tempfile::tempfile().unwrap())
                .command_line(CommandLine::new(line).unwrap())
                .device(DeviceConfig::Rng)
                .device(disk("a"))
                .device(disk("b"));
            let found = root_disk(&builder.config).map(String::from);
            assert_eq!(found.as_deref(), root, "{line}");
        }
    }

    #[test]
    fn memory_is_whole_pages() {
        for (bytes, backing) in [
            (65 * MIB, Backing::Anonymous),
            (65 * MIB, Backing::Shared),
            (66 * MIB, Backing::Huge2M),
            (GIB, Backing::Huge1G),
            (5 * GIB, Backing::Huge1G),
        ] {
            check_pages(&memory(bytes, backing), false).unwrap();
        }
        let small = refusal(&memory(65 * MIB, Backing::Huge2M));
        assert!(small.contains("2 MiB pages"), "{small}");
        let large = refusal(&memory(3 * GIB + 512 * MIB, Backing::Huge1G));
        assert!(large.contains("1024 MiB pages"), "{large}");
    }

    #[test]
    fn huge_pages_are_of_one_kind() {
        let both = MemoryConfig {
            transparent_huge_pages: Some(true),
            ..memory(64 * MIB, Backing::Huge2M)
        };
        let text = refusal(&both);
        assert!(text.contains("one or the other"), "{text}");
    }

    #[test]
    fn memory_of_the_pool_neither_grows_nor_has_a_balloon() {
        for (backing, possible) in [
            (Backing::Anonymous, true),
            (Backing::Shared, true),
            (Backing::Huge2M, false),
            (Backing::Huge1G, false),
        ] {
            let fixed = memory(GIB, backing);
            let growing = MemoryConfig {
                layout: fixed.layout.growing_to(2 * GIB).unwrap(),
                ..fixed.clone()
            };
            assert!(check_pages(&fixed, false).is_ok());
            assert_eq!(check_pages(&fixed, true).is_ok(), possible);
            assert_eq!(check_pages(&growing, false).is_ok(), possible);
        }
    }
}
