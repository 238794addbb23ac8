//! A machine whose time is counted in instructions, for benchmarks: figures
//! repeat within a thousandth whatever else the host does.
//!
//! Everything it needs is in its initramfs; it runs one command and ends. A
//! stall of the emulator is as deterministic as the rest, so there is no
//! retry here: a caller changes the memory size or the seed, and counts it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use guest_images::Kernel;
use outer_agent::protocol::{Decoder, Frame};

use crate::command::Command;
use crate::emulator::{Emulator, Setup, memory_file, path_of};
use crate::error::{Error, ErrorKind, Result};
use crate::initramfs::Initramfs;
use crate::output::{Captured, Output};

/// One run in a machine of its own.
#[derive(Clone, Debug)]
pub struct Deterministic {
    /// The emulator, where it is not to be the installed one; see
    /// [`guest_images::emulator`].
    pub emulator: Option<PathBuf>,
    /// The kernel to boot, Debian's generic one.
    pub kernel: Kernel,
    /// The static `outer-agent` binary.
    pub agent: PathBuf,
    /// Memory in MiB; files take twice their size of it while booting.
    pub memory_mib: u32,
    /// Seeds everything random in the machine.
    pub seed: u64,
    /// Modules to load besides KVM's, such as `tun`.
    pub modules: Vec<String>,
    /// Files to have, all executable: path in the machine, path on the host.
    pub files: Vec<(String, PathBuf)>,
    /// What to run: a static binary among `files`.
    pub command: Command,
    /// How long neither console nor command may print anything, and how long
    /// the whole may take; host's time.
    pub stall_bound: Duration,
    /// The bound on the whole run, in the host's time.
    pub total_bound: Duration,
}

/// A run that came to its end.
#[derive(Debug)]
pub struct Finished {
    /// How the command ended.
    pub status: ExitStatus,
    /// What it wrote.
    pub output: Captured,
}

impl Deterministic {
    /// Runs the command. An error of kind `Stuck` means that the emulator
    /// stalled and was killed, one of kind `TimedOut` that the whole took longer
    /// than it may.
    pub fn run(&self) -> Result<Finished> {
        let answers = memory_file("answers").map_err(Error::setup("making the output file"))?;
        let mut emulator = self.setup(&answers)?.start(None)?;
        self.watch(&mut emulator, &answers)?;
        parse(&answers).ok_or_else(|| {
            let what = format!(
                "the outer machine ended without an answer; the last lines of its console:\n{}",
                emulator.console_tail()
            );
            Error::new(ErrorKind::Died, what)
        })?
    }

    fn setup(&self, answers: &File) -> Result<Setup> {
        let modules: Vec<&str> = ["kvm-amd"]
            .into_iter()
            .chain(self.modules.iter().map(String::as_str))
            .collect();
        let mut initramfs = Initramfs::new(&self.agent, &self.kernel, &modules)?;
        for (path, from) in &self.files {
            initramfs.add(path, from)?;
        }
        initramfs.add_command(&self.command)?;
        // One instruction is one nanosecond: the counter runs at 1 GHz.
        let append = "nokaslr mitigations=off cryptomgr.notests tsc=reliable tsc_early_khz=1000000 quiet loglevel=4";
        let program = self.emulator.as_deref();
        let mut setup = Setup::new(program, &self.kernel.vmlinux, &initramfs.finish()?, append)?;
        setup.serial(&path_of(answers));
        setup.words("-accel tcg,thread=single -icount shift=0,sleep=off -smp 1");
        setup.words("-cpu max,-erms -rtc base=2026-01-01,clock=vm");
        setup.option("-seed", self.seed.to_string());
        setup.option("-m", self.memory_mib.to_string());
        Ok(setup)
    }

    /// Waits for the machine's end.
    fn watch(&self, emulator: &mut Emulator, answers: &File) -> Result<()> {
        let start = Instant::now();
        let mut progress = (0, start);
        while emulator.wait(Duration::from_millis(200)).is_none() {
            let printed = emulator.console_len() + answers.metadata().map_or(0, |m| m.len());
            if printed != progress.0 {
                progress = (printed, Instant::now());
            }
            if let Some((kind, what)) = self.too_long(start.elapsed(), progress.1.elapsed()) {
                emulator.kill();
                let what = format!(
                    "the deterministic machine {what}; the last lines of its console:\n{}",
                    emulator.console_tail()
                );
                return Err(Error::new(kind, what));
            }
        }
        Ok(())
    }

    /// What is wrong with a machine that has run for so long, and was `silent` since,
    /// if something is.
    fn too_long(&self, took: Duration, silent: Duration) -> Option<(ErrorKind, String)> {
        let (seconds, silence) = (took.as_secs(), silent.as_secs());
        if silent > self.stall_bound {
            let what = format!("stalled after {seconds} s, silent for {silence} s");
            return Some((ErrorKind::Stuck, what));
        }
        (took > self.total_bound).then(|| {
            let bound = self.total_bound.as_secs();
            let what = format!("did not end within {bound} s, silent for the last {silence} s");
            (ErrorKind::TimedOut, what)
        })
    }
}

/// The command's outcome as the agent told it; None if it did not.
fn parse(answers: &File) -> Option<Result<Finished>> {
    let length = usize::try_from(answers.metadata().ok()?.len()).ok()?;
    let mut bytes = vec![0; length];
    answers.read_exact_at(&mut bytes, 0).ok()?;
    let mut decoder = Decoder::default();
    decoder.push(&bytes);
    let mut output = Captured::default();
    loop {
        match decoder.next_frame().ok()?? {
            Frame::Stdout(bytes) => output.stdout(&bytes).ok()?,
            Frame::Stderr(bytes) => output.stderr(&bytes).ok()?,
            Frame::Exited(status) => {
                let status = ExitStatus::from_raw(status);
                return Some(Ok(Finished { status, output }));
            }
            Frame::Refused(why) => {
                let what = "cannot run the command in the deterministic machine";
                return Some(Err(Error::caused(ErrorKind::Refused, what, why)));
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_goes_on_for_too_long_has_not_stalled() {
        let machine = Deterministic {
            emulator: None,
            kernel: Kernel {
                release: String::new(),
                vmlinux: PathBuf::new(),
                bzimage: PathBuf::new(),
                modules: PathBuf::new(),
            },
            agent: PathBuf::new(),
            memory_mib: 0,
            seed: 1,
            modules: Vec::new(),
            files: Vec::new(),
            command: Command::new("true"),
            stall_bound: Duration::from_secs(10),
            total_bound: Duration::from_secs(100),
        };
        let seconds = Duration::from_secs;
        let found = |took, silent| machine.too_long(seconds(took), seconds(silent));
        assert_eq!(found(100, 10), None);
        assert_eq!(found(50, 11).unwrap().0, ErrorKind::Stuck);
        let (kind, what) = found(101, 3).unwrap();
        assert_eq!(kind, ErrorKind::TimedOut);
        assert!(what.contains("did not end within 100 s"), "{what}");
    }
}
