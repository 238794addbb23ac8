//! Measuring how peers boot: each in a deterministic machine of its own, in
//! which time is counted in instructions and figures repeat.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_images::Kernel;
use outer::{Command, Deterministic, Finished};
use serde::Serialize;

use crate::libraries;
use crate::peer::{self, Guest, Launch, Peer};
use crate::retry;
use crate::sample::{Plan, Sample};

/// What init prints first (guest-images/init/src/boot.rs).
const FIRST_LINE: &str = "plinth-init: up";
const IDLE_LINE: &str = "idle";
const PROBE: &str = "/bench/boot-probe";
const VMLINUX: &str = "/guest/vmlinux";
const BZIMAGE: &str = "/guest/bzimage";
const INITRAMFS: &str = "/guest/initramfs";

/// What all peers boot, and where.
#[derive(Clone, Debug)]
pub struct BootBench {
    /// The emulator, where it is not to be the installed one.
    pub emulator: Option<PathBuf>,
    /// The outer machine's kernel.
    pub outer_kernel: Kernel,
    /// The static `outer-agent` binary.
    pub agent: PathBuf,
    /// The static `boot-probe` binary.
    pub probe: PathBuf,
    /// The guest's kernel.
    pub kernel: Kernel,
    /// The guest's initramfs.
    pub initramfs: PathBuf,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// How many times to run each peer; all must agree.
    pub runs: u32,
    /// More words for the guest's kernel.
    pub words: String,
    /// Where to write the trace and the console of each peer's boots.
    pub traces: Option<PathBuf>,
}

/// What a peer did.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The peer.
    pub peer: String,
    /// As it says itself.
    pub version: String,
    /// What was set and why.
    pub settings: String,
    /// The guest's kernel command line.
    pub command_line: String,
    /// One for each run.
    pub samples: Vec<Sample>,
    /// Machines that stalled and were tried again.
    pub stalls: u32,
}

impl BootBench {
    /// Measures `peer`, whose program is `program`.
    pub fn measure(&self, peer: &Peer, program: &Path) -> Result<Outcome> {
        let mut outcome = Outcome {
            peer: peer.name.to_owned(),
            version: peer::version(program),
            settings: peer.settings.to_owned(),
            command_line: peer.command_line(""),
            samples: Vec::new(),
            stalls: 0,
        };
        let scratch = tempfile::tempdir().context("making a scratch directory")?;
        let machine = self.machine(peer, program, scratch.path())?;
        for _ in 0..self.runs {
            let finished = retry::run(&machine, &mut outcome.stalls)?;
            outcome.samples.push(self.read(peer, &finished)?);
        }
        Ok(outcome)
    }

    fn machine(&self, peer: &Peer, program: &Path, scratch: &Path) -> Result<Deterministic> {
        // Where the host has it: some find their files from there.
        let inside = program.to_str().context("a program's path is not UTF-8")?;
        let launch = |words: &str| {
            peer.launch(&Guest {
                program: inside,
                vmlinux: VMLINUX,
                bzimage: BZIMAGE,
                initramfs: INITRAMFS,
                command_line: peer.command_line(words),
                memory_mib: self.memory_mib,
                disk: None,
                nic: None,
                scratch,
            })
        };
        let boot = launch(&format!(
            "plinth.root=none plinth.run=: plinth.then=reboot {}",
            self.words
        ))?;
        let idle = launch("plinth.root=none plinth.run=echo%20idle;sleep%201000")?;
        let plan = Plan {
            boot: boot.argv.clone(),
            idle: idle.argv.clone(),
            first_line: FIRST_LINE.to_owned(),
            idle_line: IDLE_LINE.to_owned(),
            raw_trace: self.traces.is_some(),
        };
        Ok(Deterministic {
            emulator: self.emulator.clone(),
            kernel: self.outer_kernel.clone(),
            agent: self.agent.clone(),
            memory_mib: 2048,
            seed: 1,
            modules: Vec::new(),
            files: self.files(program, [boot, idle])?,
            command: Command::new(PROBE).args([serde_json::to_string(&plan)?]),
            // A busy host makes a boot of some seconds last a minute.
            stall_bound: Duration::from_secs(240),
            total_bound: Duration::from_secs(900),
        })
    }

    fn files(&self, program: &Path, launches: [Launch; 2]) -> Result<Vec<(String, PathBuf)>> {
        let mut files = vec![
            (PROBE.to_owned(), self.probe.clone()),
            (program.display().to_string(), program.to_owned()),
            (VMLINUX.to_owned(), self.kernel.vmlinux.clone()),
            (BZIMAGE.to_owned(), self.kernel.bzimage.clone()),
            (INITRAMFS.to_owned(), self.initramfs.clone()),
        ];
        let libraries = libraries::of(program)?.into_iter();
        files.extend(libraries.map(|path| (path.display().to_string(), path)));
        files.extend(launches.into_iter().flat_map(|launch| launch.files));
        files.sort();
        files.dedup();
        Ok(files)
    }

    fn read(&self, peer: &Peer, finished: &Finished) -> Result<Sample> {
        let told = String::from_utf8_lossy(&finished.output.stdout);
        ensure!(
            finished.status.success(),
            "{}: the probe failed ({}):\n{}",
            peer.name,
            finished.status,
            String::from_utf8_lossy(&finished.output.stderr)
        );
        let (answer, trace) = told.split_once('\n').unwrap_or((&told, ""));
        if let Some(directory) = &self.traces {
            write(directory, &format!("{}.trace", peer.name), trace.as_bytes())?;
            let console = &finished.output.stderr;
            write(directory, &format!("{}.console", peer.name), console)?;
        }
        serde_json::from_str(answer).context("understanding the probe's answer")
    }
}

fn write(directory: &Path, name: &str, content: &[u8]) -> Result<()> {
    let path = directory.join(name);
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&path, content))
        .with_context(|| format!("writing {}", path.display()))
}
