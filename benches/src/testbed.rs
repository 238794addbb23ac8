//! Where a peer is measured, and what its guests boot there: in a deterministic
//! machine with one CPU, whose time is counted in instructions, or on this host,
//! by its clock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use guest_images::Kernel;
use outer::{Captured, Command, Deterministic, Finished};

use crate::peer::Guest;
use crate::report::Mode;
use crate::{libraries, retry};

const VMLINUX: &str = "/guest/vmlinux";
const BZIMAGE: &str = "/guest/bzimage";
const INITRAMFS: &str = "/guest/initramfs";
const SCRATCH: &str = "/guest";
const PROBE: &str = "/bench/monitor-probe";

/// What is the same for all peers.
#[derive(Clone, Debug)]
pub struct Testbed {
    /// Whether it is a machine of its own, or this host.
    pub mode: Mode,
    /// The emulator, where it is not to be the installed one.
    pub emulator: Option<PathBuf>,
    /// The kernel of the machine in which monitors run.
    pub outer_kernel: Kernel,
    /// The static `outer-agent` binary.
    pub agent: PathBuf,
    /// The static `monitor-probe` binary.
    pub probe: PathBuf,
    /// The guests' kernel.
    pub kernel: Kernel,
    /// The guests' initramfs.
    pub initramfs: PathBuf,
}

/// One run.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// Programs that it needs, with their libraries; the monitor's is one.
    pub(crate) programs: Vec<&'a Path>,
    /// Other files: path where it runs, path on the host.
    pub(crate) files: Vec<(String, PathBuf)>,
    /// Modules of the kernel besides KVM's.
    pub(crate) modules: &'a [&'a str],
    /// Memory of its machine in MiB.
    pub(crate) memory_mib: u32,
    /// What it runs.
    pub(crate) command: Vec<String>,
    /// For how long, in the host's time, it is silent at most.
    pub(crate) stall_bound: Duration,
    /// For how long it runs at most.
    pub(crate) total_bound: Duration,
}

impl Testbed {
    /// A guest without devices.
    pub(crate) fn guest<'a>(&'a self, program: &'a Path, scratch: &'a Path) -> Result<Guest<'a>> {
        Ok(Guest {
            number: 0,
            // Where the host has it: some find their files from there.
            program: text(program)?,
            vmlinux: self.place(VMLINUX, &self.kernel.vmlinux)?,
            bzimage: self.place(BZIMAGE, &self.kernel.bzimage)?,
            initramfs: self.place(INITRAMFS, &self.initramfs)?,
            command_line: String::new(),
            cpus: 1,
            memory_mib: 256,
            disks: Vec::new(),
            nics: Vec::new(),
            other_end: None,
            operated: false,
            busybox: None,
            scratch,
            scratch_inside: self.place(SCRATCH, scratch)?,
        })
    }

    /// Where a run has what this host has at `here`.
    pub(crate) fn place<'a>(&self, inside: &'a str, here: &'a Path) -> Result<&'a str> {
        match self.mode {
            Mode::Deterministic => Ok(inside),
            Mode::WallClock => text(here),
        }
    }

    /// Where a run has the probe.
    pub(crate) fn probe(&self) -> Result<String> {
        Ok(self.place(PROBE, &self.probe)?.to_owned())
    }

    /// Runs it to its end. Machines that stalled are added to `stalls`.
    pub(crate) fn run(&self, run: Run<'_>, stalls: &mut u32) -> Result<Finished> {
        match self.mode {
            Mode::Deterministic => retry::run(&self.machine(run)?, stalls),
            Mode::WallClock => here(&run.command),
        }
    }

    /// The machine for `run`.
    fn machine(&self, run: Run<'_>) -> Result<Deterministic> {
        let (program, arguments) = split(&run.command)?;
        let command = Command::new(program).args(arguments.iter().cloned());
        let mut files: Vec<(String, PathBuf)> = [
            (VMLINUX, &self.kernel.vmlinux),
            (BZIMAGE, &self.kernel.bzimage),
            (INITRAMFS, &self.initramfs),
            (PROBE, &self.probe),
        ]
        .map(|(inside, path)| (inside.to_owned(), path.clone()))
        .into();
        for program in run.programs {
            files.push((program.display().to_string(), program.to_owned()));
            let libraries = libraries::of(program)?.into_iter();
            files.extend(libraries.map(|path| (path.display().to_string(), path)));
        }
        files.extend(run.files);
        files.sort();
        files.dedup();
        Ok(Deterministic {
            emulator: self.emulator.clone(),
            kernel: self.outer_kernel.clone(),
            agent: self.agent.clone(),
            memory_mib: run.memory_mib,
            seed: 1,
            modules: run.modules.iter().map(|one| (*one).to_owned()).collect(),
            files,
            command,
            stall_bound: run.stall_bound,
            total_bound: run.total_bound,
        })
    }
}

/// Runs a command on this host. What it does has its own patience.
fn here(command: &[String]) -> Result<Finished> {
    let (program, arguments) = split(command)?;
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("running {program}"))?;
    let mut captured = Captured::default();
    captured.stdout.extend(output.stdout);
    captured.stderr.extend(output.stderr);
    Ok(Finished {
        status: output.status,
        output: captured,
    })
}

fn split(command: &[String]) -> Result<(&String, &[String])> {
    command.split_first().context("a command has words")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

/// One of nothing, for tests of what is run in it.
#[cfg(test)]
pub(crate) fn nothing() -> Testbed {
    let kernel = Kernel {
        release: String::new(),
        vmlinux: PathBuf::new(),
        bzimage: PathBuf::new(),
        modules: PathBuf::new(),
    };
    Testbed {
        mode: Mode::Deterministic,
        emulator: None,
        outer_kernel: kernel.clone(),
        agent: PathBuf::new(),
        probe: PathBuf::new(),
        kernel,
        initramfs: PathBuf::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_this_host_a_guest_boots_what_this_host_has() {
        let mut testbed = nothing();
        testbed.kernel.vmlinux = "/somewhere/vmlinux".into();
        let (program, scratch) = (Path::new("/bin/monitor"), Path::new("/tmp/scratch"));
        let guest = testbed.guest(program, scratch).unwrap();
        assert_eq!((guest.vmlinux, guest.scratch_inside), (VMLINUX, SCRATCH));
        testbed.mode = Mode::WallClock;
        let guest = testbed.guest(program, scratch).unwrap();
        let expected = ("/somewhere/vmlinux", "/tmp/scratch");
        assert_eq!((guest.vmlinux, guest.scratch_inside), expected);
    }

    #[test]
    fn on_this_host_a_command_is_run_as_it_is() {
        let testbed = Testbed {
            mode: Mode::WallClock,
            ..nothing()
        };
        let command = ["sh", "-c", "echo out; echo err >&2; exit 3"];
        let run = Run {
            programs: Vec::new(),
            files: Vec::new(),
            modules: &[],
            memory_mib: 0,
            command: command.map(str::to_owned).into(),
            stall_bound: Duration::ZERO,
            total_bound: Duration::ZERO,
        };
        let finished = testbed.run(run, &mut 0).unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.output.stdout, b"out\n");
        assert_eq!(finished.output.stderr, b"err\n");
    }
}
