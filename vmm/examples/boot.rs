//! Boots a kernel and shows its console: `boot KERNEL [INITRD [COMMAND LINE]]`.
//!
//! All that an embedder writes: open what the machine needs, build it, run it,
//! wait for it.

use std::env;
use std::fs::File;
use std::os::fd::AsFd;

use vmm::config::{ConsoleConfig, DeviceConfig};
use vmm::{CommandLine, CpuCount, StopReason, VmBuilder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let kernel = arguments
        .next()
        .ok_or("usage: boot KERNEL [INITRD [TEXT]]")?;
    let initrd = arguments.next();
    let text = arguments.next().unwrap_or("console=ttyS0".into());

    let kvm = File::options().read(true).write(true).open("/dev/kvm")?;
    let mut builder = VmBuilder::new(kvm.into(), File::open(kernel)?)
        .command_line(CommandLine::new(text)?)
        .cpus(CpuCount::new(2)?)
        .console(ConsoleConfig {
            input: None,
            output: std::io::stdout().as_fd().try_clone_to_owned()?,
            escapes: false,
        })
        .device(DeviceConfig::Rng);
    if let Some(initrd) = initrd {
        builder = builder.initrd(File::open(initrd)?);
    }

    let vm = builder.build()?.start()?;
    let reason = vm.wait();
    eprintln!("{reason}; {:?}", vm.statistics());
    match reason {
        StopReason::PowerOff | StopReason::Reset => Ok(()),
        other => Err(other.to_string().into()),
    }
}
