//! A booted outer machine, and running commands in it one after another.
//!
//! The line to its agent is a socket pair whose far end the emulator holds,
//! so the end of either process is seen by the other.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use outer_agent::protocol::Frame;

use crate::command::Command;
use crate::config::OuterConfig;
use crate::emulator::{Emulator, Setup};
use crate::error::{Error, ErrorKind, Result};
use crate::initramfs::Initramfs;
use crate::line::Line;
use crate::output::Output;
use crate::power::PoweredDisk;
use crate::tsc;

/// Needed to reach the host and KVM, and those devices that tests open by
/// name; what else a test needs the kernel loads by itself.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "9pnet_virtio",
    "9p",
    "overlay",
    "kvm-amd",
    "tun",
    "vhost_net",
    "vhost_vsock",
    "loop",
];

/// An outer machine that waits for commands; dropping it kills it.
#[derive(Debug)]
pub struct OuterMachine {
    emulator: Emulator,
    line: Line,
    stall_bound: Duration,
}

impl OuterMachine {
    /// Boots a machine and waits until it takes commands. One that gets stuck
    /// or ends on the way is tried once more, and that is logged.
    ///
    /// The calling thread must outlive it: the machine dies with the thread.
    pub fn boot(config: &OuterConfig) -> Result<Self> {
        match Self::boot_once(config) {
            Err(error) if matches!(error.kind(), ErrorKind::Stuck | ErrorKind::Died) => {
                log::warn!("{error}\nbooting once more");
                Self::boot_once(config)
            }
            result => result,
        }
    }

    /// Boots a machine that has `disk` as /dev/vda, and is not tried again.
    ///
    /// The calling thread must outlive it: the machine dies with the thread.
    pub fn boot_with_disk(config: &OuterConfig, disk: &PoweredDisk) -> Result<Self> {
        let mut setup = setup(config)?;
        let socket = disk.socket().display();
        setup.option(
            "-drive",
            format!("if=virtio,format=raw,cache=none,file=nbd+unix:///?socket={socket}"),
        );
        Self::start(config, setup)
    }

    fn boot_once(config: &OuterConfig) -> Result<Self> {
        Self::start(config, setup(config)?)
    }

    fn start(config: &OuterConfig, setup: Setup) -> Result<Self> {
        let (near, far) = UnixStream::pair().map_err(Error::setup("making the control line"))?;
        let mut machine = Self {
            emulator: setup.start(Some(OwnedFd::from(far)))?,
            line: Line::new(near),
            stall_bound: config.stall_bound,
        };
        let ready = machine.line.wait_ready(Some(config.boot_bound));
        ready.map_err(|error| machine.explain(error))?;
        Ok(machine)
    }

    /// Runs `command` to its end, with its output going to `output`.
    ///
    /// After an error of kind `Stuck` or `Died` the machine is of no more use.
    pub fn run(&mut self, command: &Command, output: &mut dyn Output) -> Result<ExitStatus> {
        self.line
            .run(command, output, self.stall_bound)
            .map_err(|error| self.explain(error))
    }

    /// Powers the machine off; kills it when it does not follow.
    pub fn shutdown(mut self) {
        if self.line.send(&Frame::PowerOff).is_ok() {
            self.emulator.wait(Duration::from_secs(5));
        }
    }

    /// The emulator's process id.
    pub fn pid(&self) -> u32 {
        self.emulator.pid()
    }

    /// The line to the agent, for passing it on to another process.
    pub(crate) fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    /// Adds to a failure of the machine what can be said about it, and ends
    /// what is left of it.
    fn explain(&mut self, error: Error) -> Error {
        let state = match error.kind() {
            ErrorKind::Stuck => "is stuck and was killed".to_owned(),
            // Its end explains more than the broken line that it left.
            ErrorKind::Died => match self.emulator.wait(Duration::from_secs(2)) {
                Some(status) => format!("ended by itself ({status})"),
                None => "failed and was killed".to_owned(),
            },
            _ => return error,
        };
        self.emulator.kill();
        let what = format!(
            "the outer machine (process {}) {state}; the last lines of its console:\n{}",
            self.emulator.pid(),
            self.emulator.console_tail()
        );
        Error::caused(error.kind(), what, error)
    }
}

fn setup(config: &OuterConfig) -> Result<Setup> {
    let kernel = &config.kernel;
    let mut initramfs = Initramfs::new(&config.agent, kernel, MODULES)?;
    initramfs.plan(format_args!("host-root hostroot"));
    let tree = kernel.modules.display();
    initramfs.plan(format_args!("module-tree {} {tree}", kernel.release));
    for (number, path) in config.shares.iter().enumerate() {
        initramfs.plan(format_args!("share share{number} {}", path.display()));
    }
    // One processor until the devices are found; the agent starts the others.
    let append = format!(
        "maxcpus=1 nokaslr mitigations=off cryptomgr.notests tsc=reliable tsc_early_khz={} quiet loglevel=4",
        tsc::khz()
    );
    let program = config.emulator.as_deref();
    let mut setup = Setup::new(program, &kernel.vmlinux, &initramfs.finish()?, &append)?;
    // No ERMS and FSRM: the emulator runs `rep movsb` a byte at a time. Two
    // processors beside the first, which the agent leaves to the kernel:
    // emulators with one stall now and then.
    setup.words("-accel tcg,thread=multi -cpu max,-erms,-fsrm -smp 3,sockets=1,cores=3");
    setup.option("-m", config.memory_mib.to_string());
    setup.words("-device virtio-serial-pci -chardev socket,id=control,fd=0");
    setup.words("-device virtserialport,chardev=control,name=control");
    setup.share("hostroot", Path::new("/"), false);
    for (number, path) in config.shares.iter().enumerate() {
        setup.share(&format!("share{number}"), path, true);
    }
    Ok(setup)
}
