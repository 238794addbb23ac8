//! Whether the kernel is one, and goes together with the machine it is for.
//!
//! The VM process plans the boot again with what it really has; planned here
//! as well, a refusal names the file and comes before anything else is
//! touched. Only the kernel's headers are read.

use std::fs::File;

use boot::{Error as BootError, Machine};
use vmm::Identity;

use crate::error::Error;

use super::Specification;

/// Plans a boot and throws the plan away.
///
/// # Errors
/// The kernel cannot be booted so.
pub fn check(
    specification: &Specification,
    identity: &Identity,
    kernel: &File,
    initrd: Option<&File>,
) -> Result<(), Error> {
    let refused = |error: BootError| {
        Error::configuration(format!(
            "kernel '{}' cannot be booted",
            specification.kernel.display()
        ))
        .because(error)
    };
    let length = |file: &File| file.metadata().map(|metadata| metadata.len());
    let initrd = initrd
        .map(length)
        .transpose()
        .map_err(|error| Error::unexpected("the initrd cannot be measured").because(error))?;
    let machine = Machine {
        memory: specification.memory.layout,
        cpus: specification.cpus,
        max_cpus: specification.max_cpus,
        command_line: &specification.command_line,
        initrd,
        protocol: specification.protocol,
        virtio_mmio: &[],
        pci: None,
        generation_id: None,
        watchdog: false,
        power_button: false,
        panic_port: false,
        serial: true,
        rtc: specification.rtc,
        identity,
    };
    boot::plan(kernel, &machine).map(drop).map_err(refused)
}
