//! Where a peer is measured, and what its guests boot there: in a deterministic
//! machine with one CPU, whose time is counted in instructions, or on this host,
//! by its clock.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use guest_images::Kernel;
use outer::{Captured, Command, Deterministic, Finished, child};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::peer::Guest;
use crate::report::Mode;
use crate::{family, libraries, retry};

const VMLINUX: &str = "/guest/vmlinux";
const BZIMAGE: &str = "/guest/bzimage";
const INITRAMFS: &str = "/guest/initramfs";
const SCRATCH: &str = "/guest";
const PROBE: &str = "/bench/monitor-probe";
pub(crate) const BUSYBOX: &str = "/bench/busybox";

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
    /// A static busybox, for what has to be made before a monitor starts.
    pub busybox: PathBuf,
    /// Where the kernel's tracing is to be had, which counts, and tells guests'
    /// memory from their monitors'; see [`Testbed::tracing`].
    pub tracing: PathBuf,
}

/// For how long, at most, a busy host is at what takes a guest so long.
pub(crate) fn on_a_busy_host(guest: Duration) -> Duration {
    guest * 60
}

/// For how long, in the host's time, a run may be silent, and for how long it may last,
/// that measures `times` times for so long of the `guest`'s and is silent for `others` at
/// most while it does anything else.
pub(crate) fn bounds(others: Duration, guest: Duration, times: usize) -> [Duration; 2] {
    let each = on_a_busy_host(guest);
    let all: Duration = (0..times).map(|_| each).sum();
    [others + each, others * 4 + all]
}

/// One run.
#[derive(Debug, Default)]
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
    /// What it is told besides; all that it has in a machine.
    pub(crate) environment: Vec<(String, String)>,
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
            busybox: self.place(BUSYBOX, &self.busybox)?,
            busybox_here: &self.busybox,
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

    /// Where the kernel's tracing is in a run.
    ///
    /// # Errors
    /// This host does not offer it; what to do is said.
    pub fn tracing(&self) -> Result<String> {
        if self.mode == Mode::WallClock && !self.tracing.join("kprobe_events").exists() {
            bail!(
                "the kernel's tracing is not at {0}: mount -t tracefs tracefs {0}",
                self.tracing.display()
            );
        }
        Ok(text(&self.tracing)?.to_owned())
    }

    /// Runs it to its end. Machines that stalled are added to `stalls`.
    pub(crate) fn run(&self, run: Run<'_>, stalls: &mut u32) -> Result<Finished> {
        match self.mode {
            Mode::Deterministic => retry::run(&self.machine(run)?, stalls),
            Mode::WallClock => here(&run),
        }
    }

    /// The machine for `run`.
    fn machine(&self, run: Run<'_>) -> Result<Deterministic> {
        let (program, arguments) = split(&run.command)?;
        let command = Command::new(program)
            .args(arguments.iter().cloned())
            .envs(run.environment.iter().cloned());
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

/// Runs a command on this host. Neither it nor what it has started outlives this
/// process, or its bound.
fn here(run: &Run<'_>) -> Result<Finished> {
    let (program, arguments) = split(&run.command)?;
    let mut command = std::process::Command::new(program);
    command
        .args(arguments)
        .envs(run.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    child::ends_with_parent(&mut command);
    let mut child = command
        .spawn()
        .with_context(|| format!("running {program}"))?;
    let output = [child.stdout.take().map(read), child.stderr.take().map(read)];
    let in_time = ends_within(&child, run.total_bound)?;
    if !in_time {
        family::kill(child.id());
    }
    let status = child.wait()?;
    let [stdout, stderr] =
        output.map(|one| one.and_then(|one| one.join().ok()).unwrap_or_default());
    if !in_time {
        bail!(
            "{program} did not end within {} s; it said\n{}\n{}",
            run.total_bound.as_secs(),
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
    }
    let mut captured = Captured::default();
    captured.stdout.extend(stdout);
    captured.stderr.extend(stderr);
    Ok(Finished {
        status,
        output: captured,
    })
}

/// Reads to the end, beside whoever waits for the writer's.
fn read(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is all that can be had.
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// Whether `child` ends before `bound` has passed.
fn ends_within(child: &Child, bound: Duration) -> Result<bool> {
    let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let bound = Timespec {
        tv_sec: i64::try_from(bound.as_secs())?,
        tv_nsec: i64::from(bound.subsec_nanos()),
    };
    let ended = poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&bound))?;
    Ok(ended > 0)
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
        busybox: PathBuf::new(),
        tracing: "/sys/kernel/tracing".into(),
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

    /// What a shell on this host says, which is given so long.
    fn run_here(script: &str, bound: Duration) -> Result<Finished> {
        let testbed = Testbed {
            mode: Mode::WallClock,
            ..nothing()
        };
        let run = Run {
            command: ["sh", "-c", script].map(str::to_owned).into(),
            environment: vec![("WORD".to_owned(), "told".to_owned())],
            total_bound: bound,
            ..Run::default()
        };
        testbed.run(run, &mut 0)
    }

    #[test]
    fn on_this_host_a_command_is_run_as_it_is() {
        let script = "echo out $WORD; echo err >&2; exit 3";
        let finished = run_here(script, Duration::from_secs(60)).unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.output.stdout, b"out told\n");
        assert_eq!(finished.output.stderr, b"err\n");
    }

    #[test]
    fn on_this_host_a_command_that_hangs_is_ended_with_all_that_it_started() {
        let script = "echo began; sleep 100 & echo $!; wait";
        let error = run_here(script, Duration::from_secs(1)).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("did not end within 1 s"), "{error}");
        let pid = error.lines().skip_while(|line| *line != "began").nth(1);
        let process = format!("/proc/{}/cmdline", pid.unwrap());
        // Nothing of it is left, but for what whoever inherited it has to take away.
        let left = std::fs::read(&process).unwrap_or_default();
        assert!(left.is_empty(), "{process}");
    }

    #[test]
    fn where_a_host_has_no_tracing_it_is_said_how_to_have_it() {
        let mut testbed = nothing();
        testbed.tracing = "/no/such/tracing".into();
        assert_eq!(testbed.tracing().unwrap(), "/no/such/tracing");
        testbed.mode = Mode::WallClock;
        let error = testbed.tracing().unwrap_err().to_string();
        assert!(error.contains("mount -t tracefs"), "{error}");
    }
}
