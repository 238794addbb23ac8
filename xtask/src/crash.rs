//! `cargo xtask crash`: machines are killed and power is cut at random moments,
//! and everything that was acknowledged before is looked for.
//!
//! *Kill*: the VM process gets SIGKILL while its guest writes a log of records
//! to a volume, each flushed (tests/tests/volume.rs).
//!
//! *Power*: an outer machine has a disk whose cache is lost with it
//! ([`PoweredDisk`]). On it a guest writes its log, while snapshots are taken,
//! volumes grow, are copied and deleted, and chunks are collected
//! (tests/src/bin/crash-work.rs). Then power is cut: any part of what was not
//! flushed is on the disk, sector by sector, at any moment or when there is some
//! of it. The next machine checks that disk,
//! and goes on with it.
//!
//! *Fault*: the host of a guest that writes its logs is filled up and given room
//! again, so that writes and flushes fail, or wait (tests/tests/fault.rs).
//!
//! The test command runs a few cycles of each.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use guest_images::Cache;
use outer::{Dice, ErrorKind, Inherited, OuterConfig, OuterMachine, Output, PoweredDisk};
use rustix::process::{Pid, Signal, kill_process};

use crate::guest::{exit_code, outer_config};
use crate::{image, workspace};

/// A kind that is a guest test, which hears of cycles and seed.
struct GuestTest {
    name: &'static str,
    cycles: &'static str,
    seed: Option<&'static str>,
}

const KILL: GuestTest = GuestTest {
    name: "though_its_machine_was_killed",
    cycles: "PLINTH_KILL_CYCLES",
    // Its moments are always the same.
    seed: None,
};

const FAULT: GuestTest = GuestTest {
    name: "on_a_host_that_fails",
    cycles: "PLINTH_FAULT_CYCLES",
    seed: Some("PLINTH_FAULT_SEED"),
};

/// Bytes of the disk: sparse.
const DISK: u64 = 2 << 30;

/// A cut comes so long after the guest has written its first record, or in one
/// case of four after the work has begun; in milliseconds, at most.
const LONGEST: u64 = 8_000;

/// What the worker says when its guest has written something.
const WRITTEN: &str = "ack record ";

/// The guest is up long before.
const START: Duration = Duration::from_secs(60);

/// For so long a moment with something in the disk's cache is waited for.
const CHANCE: Duration = Duration::from_secs(10);

/// No check takes as long.
const BOUND: Duration = Duration::from_secs(600);

/// Kill machines and cut the power at random, and look for every acknowledged
/// write.
#[derive(Debug, Args)]
pub(crate) struct Crash {
    /// How many cycles of each kind.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    cycles: u32,

    /// Only this kind.
    #[arg(long)]
    kind: Option<Kind>,

    /// The same cuts at the same moments, as far as the host lets them be.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How things end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// SIGKILL to the VM process.
    Kill,
    /// The power of the whole host.
    Power,
    /// The host's storage, for a while.
    Fault,
}

impl Crash {
    /// Runs the cycles; fails if anything acknowledged is lost.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let runs = |kind| self.kind.is_none_or(|only| only == kind);
        if runs(Kind::Power) {
            power(self.cycles, self.seed)?;
        }
        for (kind, test) in [(Kind::Kill, KILL), (Kind::Fault, FAULT)] {
            if runs(kind) {
                let status = self.test(&test)?;
                if !status.success() {
                    return Ok(exit_code(status));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn test(&self, test: &GuestTest) -> Result<ExitStatus> {
        let program = env::current_exe().context("finding this program")?;
        Command::new(program)
            .args(["test", "--guest", test.name])
            .env(test.cycles, self.cycles.to_string())
            .envs(test.seed.map(|seed| (seed, self.seed.to_string())))
            .status()
            .context("running the test")
    }
}

/// Cuts the power `cycles` times, and prints what was checked.
pub(crate) fn power(cycles: u32, seed: u64) -> Result<()> {
    let directory = tempfile::tempdir().context("making a directory for a disk")?;
    let cycle = Cycle {
        config: outer_config()?,
        worker: worker()?,
        image: directory.path().join("disk.img"),
        socket: directory.path().join("disk.sock"),
        // Seen by the outer machine, which shares the target directory.
        ledger: workspace::target_dir()?.join(format!("crash-{}.ledger", std::process::id())),
    };
    let ended = cycle.all(cycles, &mut Dice::new(seed));
    let kept = match &ended {
        Ok(()) => None,
        // What is needed to find out why.
        Err(_) => Some(directory.keep()),
    };
    let _ = fs::remove_file(&cycle.ledger);
    ended.with_context(|| {
        let kept = kept.unwrap_or_default();
        format!("--seed {seed}; the disk is in {}", kept.display())
    })
}

/// Builds the worker, and what it and its guest work with.
fn worker() -> Result<PathBuf> {
    let cache = Cache::open()?;
    image::guest_initramfs(&cache, &image::kernel(&cache)?)?;
    Ok(workspace::build_programs()?.join("crash-work"))
}

/// What all cycles share.
struct Cycle {
    config: OuterConfig,
    worker: PathBuf,
    image: PathBuf,
    socket: PathBuf,
    ledger: PathBuf,
}

impl Cycle {
    fn all(&self, cycles: u32, dice: &mut Dice) -> Result<()> {
        let image = File::create(&self.image).and_then(|file| file.set_len(DISK));
        image.context("making a disk")?;
        fs::write(&self.ledger, "").context("making a ledger")?;
        self.undisturbed(&["prepare"])?;
        let (mut at_risk, mut lost) = (0, 0);
        for number in 1..=cycles {
            let cut = self.one(number, dice)?;
            println!(
                "power cut {number}: {} of {} unflushed sectors lost",
                cut.lost, cut.at_risk
            );
            at_risk += cut.at_risk;
            lost += cut.lost;
        }
        let ledger = self.ledger.display().to_string();
        let verified = self.undisturbed(&["verify", &ledger])?;
        print!("{verified}");
        let acknowledged = number_after("verified ", &verified).unwrap_or_default();
        ensure!(acknowledged > 0, "no guest has written anything");
        println!(
            "{cycles} power cuts: all of {acknowledged} acknowledged records found, \
             {lost} of {at_risk} unflushed sectors were lost"
        );
        Ok(())
    }

    /// Looks at what the last cut left, and works until the next.
    fn one(&self, number: u32, dice: &mut Dice) -> Result<outer::Cut> {
        let disk = Arc::new(PoweredDisk::on(&self.image, &self.socket)?);
        let mut machine = OuterMachine::boot_with_disk(&self.config, &disk)?;
        self.check(&mut machine)?;
        let after = Duration::from_millis(dice.below(LONGEST));
        let part = [0, 30, 70, 100][usize::try_from(dice.below(4)).unwrap_or(0)];
        // At any moment hardly anything is in the disk's cache; so also when
        // something is.
        let unflushed = [None, Some(1), Some(2), Some(8), Some(32)];
        let unflushed = unflushed[usize::try_from(dice.below(5)).unwrap_or(0)];
        let pid = i32::try_from(machine.pid()).ok().and_then(Pid::from_raw);
        let (switch, mut fate) = (Arc::clone(&disk), dice.clone());
        let early = dice.chance(25);
        let (said_first, written) = channel();
        let cutter = thread::spawn(move || {
            if !early {
                // One that never comes shows when nothing was acknowledged.
                let _ = written.recv_timeout(START);
            }
            thread::sleep(after);
            if let Some(sectors) = unflushed {
                switch.fail_at(sectors, CHANCE);
            }
            let cut = switch.cut(|| fate.chance(part));
            pid.map(|pid| kill_process(pid, Signal::KILL));
            cut
        });
        let seed = dice.below(u64::MAX).to_string();
        let mut said = Said {
            first: Some(said_first),
            ..Said::default()
        };
        let command = self.command(&["work", &self.ledger.display().to_string(), &seed]);
        let ended = machine.run(&command, &mut said);
        let cut = cutter.join();
        let cut = cut.map_err(|_| anyhow::anyhow!("cutting the power failed"))??;
        match ended {
            Err(error) if error.kind() == ErrorKind::Died => {}
            Ok(status) => bail!("the work of cycle {number} ended before its power: {status}"),
            Err(error) => return Err(error.into()),
        }
        // A line that was being written does not count.
        let whole = said.text.rfind('\n').map_or("", |end| &said.text[..=end]);
        let mut ledger = fs::read_to_string(&self.ledger).context("reading the ledger")?;
        ledger += whole;
        fs::write(&self.ledger, ledger).context("writing the ledger")?;
        Ok(cut)
    }

    /// `machine` mounts the disk and looks through it.
    fn check(&self, machine: &mut OuterMachine) -> Result<()> {
        let mut said = Said::default();
        let ledger = self.ledger.display().to_string();
        let status = machine.run(&self.command(&["verify", &ledger]), &mut said)?;
        ensure!(
            status.success(),
            "what is on the disk is not whole: {status}"
        );
        print!("{}", said.text);
        Ok(())
    }

    /// Does something in a machine that ends in peace, and gives what it says.
    fn undisturbed(&self, words: &[&str]) -> Result<String> {
        let disk = PoweredDisk::on(&self.image, &self.socket)?;
        let mut machine = OuterMachine::boot_with_disk(&self.config, &disk)?;
        let mut said = Said::default();
        let status = machine.run(&self.command(words), &mut said)?;
        machine.shutdown();
        disk.cut(|| true)?;
        ensure!(status.success(), "{words:?} in an outer machine: {status}");
        Ok(said.text)
    }

    fn command(&self, words: &[&str]) -> outer::Command {
        outer::Command::new(&self.worker)
            .args(words)
            .envs(env::vars_os())
            .timeout(BOUND)
    }
}

/// Keeps what is said, and passes complaints on.
#[derive(Debug, Default)]
struct Said {
    text: String,
    /// Told when the first record was written.
    first: Option<Sender<()>>,
}

impl Output for Said {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.text += &String::from_utf8_lossy(bytes);
        if self.text.contains(WRITTEN)
            && let Some(first) = self.first.take()
        {
            // Nobody may be waiting for it.
            let _ = first.send(());
        }
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        Inherited.stderr(bytes)
    }
}

fn number_after(start: &str, text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(start))?;
    line.split_whitespace().next()?.parse().ok()
}
