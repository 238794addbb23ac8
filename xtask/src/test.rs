//! `cargo xtask test`: everything. The checks, the unit tests of all crates
//! on this host, how exact rate limits are, what a boot takes, then the guest
//! tests where KVM is real. Ends with one line of plain counts.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use guest_images::Cache;
use outer::{Inherited, KvmUse, Output, WarmMachine, usable_kvm};

use crate::bench::{gate, limits};
use crate::guest::outer_config;
use crate::tally::Tally;
use crate::{check, crash, image, packages, workspace};

/// The package of the guest tests, which need real KVM.
const GUEST_TESTS: &str = "guest-tests";

/// As many times is power cut; `cargo xtask crash` does it more often.
const POWER_CUTS: u32 = 2;
const POWER_SEED: u64 = 1;

/// No single test binary takes this long even where everything is emulated.
const BINARY_BOUND: Duration = Duration::from_secs(20 * 60);

/// Run the checks, all unit tests, and the guest tests under real KVM.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Only the guest tests.
    #[arg(long)]
    guest: bool,
    /// Only tests whose names contain this.
    filter: Option<String>,
}

impl Test {
    /// Runs the tests; fails if anything failed.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut tally = Tally::default();
        if !self.guest {
            let failures = check::failures();
            for (name, _) in check::CHECKS {
                let failure = failures.iter().find(|(failed, _)| failed == name);
                tally.step(name, failure.map(|(_, error)| format!("{error:#}")));
            }
            self.unit_tests(&mut tally)?;
        }
        if let Err(error) = self.guest_tests(&mut tally) {
            tally.step("guest tests", Some(format!("{error:#}")));
        }
        let passed = tally.print();
        Ok(if passed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn unit_tests(&self, tally: &mut Tally) -> Result<()> {
        packages::ensure(&[&packages::UNIT_TESTS])?;
        let args = [
            "test",
            "--workspace",
            "--exclude",
            GUEST_TESTS,
            "--no-fail-fast",
        ];
        let mut command = workspace::cargo(args);
        command.arg("--").args(&self.filter);
        let mark = tally.mark();
        let status = run_here(&mut command, tally)?;
        tally.ended("unit tests", Ok(status), mark);
        Ok(())
    }

    fn guest_tests(&self, tally: &mut Tally) -> Result<()> {
        // Guests boot these; where they do, there is no network.
        let cache = Cache::open()?;
        let kernel = image::kernel(&cache)?;
        image::guest_initramfs(&cache, &kernel)?;
        image::root_disk(&cache)?;
        guest_images::fio(&cache)?;
        packages::ensure(&[&packages::GUEST_TESTS])?;
        // Tests start the workspace's programs and examples.
        let programs = workspace::build_programs()?;

        self.outer_machine_tests(tally)?;
        if self.filter.is_none() {
            println!("     Measuring rate limits in a deterministic machine");
            let measured = limits::are_exact(&programs);
            tally.step("limits", measured.err().map(|error| format!("{error:#}")));
        }
        if self.filter.is_none() {
            println!("     Counting what a boot takes in a deterministic machine");
            match gate::holds(&programs) {
                Ok(to_do) => {
                    tally.step("boot", None);
                    to_do.into_iter().for_each(|what| tally.task(what));
                }
                Err(error) => tally.step("boot", Some(format!("{error:#}"))),
            }
        }
        if self.filter.is_none() {
            println!("     Cutting the power of an outer machine");
            let cut = crash::power(POWER_CUTS, POWER_SEED);
            tally.step("power", cut.err().map(|error| format!("{error:#}")));
        }
        let binaries = guest_test_binaries()?;
        match usable_kvm() {
            KvmUse::Direct => {
                for binary in binaries {
                    let mark = tally.mark();
                    let mut command = Command::new(&binary);
                    command.args(self.arguments()).current_dir(directory());
                    let status = run_here(&mut command, tally)?;
                    tally.ended(&name(&binary), Ok(status), mark);
                }
                Ok(())
            }
            KvmUse::Nested(why) => {
                eprintln!("guest tests run in an outer machine: {why}");
                self.in_outer_machine(&binaries, tally)
            }
        }
    }

    /// The harness itself, for a guest test means as much as it does.
    fn outer_machine_tests(&self, tally: &mut Tally) -> Result<()> {
        // Makes everything that these tests take for granted.
        outer_config()?;
        let args = [
            "test",
            "--quiet",
            "--package",
            "outer",
            "--features",
            "machine-tests",
        ];
        let mut command = workspace::cargo(args);
        command
            .args(["--test", "machine", "--"])
            .args(self.arguments());
        let mark = tally.mark();
        let status = run_here(&mut command, tally)?;
        tally.ended("outer machine", Ok(status), mark);
        Ok(())
    }

    fn in_outer_machine(&self, binaries: &[PathBuf], tally: &mut Tally) -> Result<()> {
        let mut machine = WarmMachine::new(outer_config()?);
        for binary in binaries {
            println!("     Running {} in the outer machine", name(binary));
            let command = outer::Command::new(binary)
                .args(self.arguments())
                .envs(std::env::vars_os())
                .current_dir(directory())
                .timeout(BINARY_BOUND);
            let mark = tally.mark();
            let mut output = Kept::default();
            let status = machine.run(&command, &mut output);
            tally.read(&output.stdout);
            let status = status.map_err(|error| format!("{:#}", anyhow::Error::from(error)));
            tally.ended(&name(binary), status, mark);
        }
        if machine.replaced() > 0 {
            println!(
                "outer machines that got stuck and were replaced: {}",
                machine.replaced()
            );
        }
        machine.shutdown();
        Ok(())
    }

    /// One test at a time: commands in an outer machine have two slow processors.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--test-threads=1".to_owned()];
        if let Some(filter) = &self.filter {
            // Who asks for few wants to know what they have counted.
            arguments.extend([filter.clone(), "--show-output".to_owned()]);
        }
        arguments
    }
}

/// Passes output on, and keeps what the last attempt wrote: a retry prints
/// its tests once more, and they are to be counted once.
#[derive(Debug, Default)]
struct Kept {
    stdout: Vec<u8>,
}

impl Output for Kept {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stdout.extend(bytes);
        Inherited.stdout(bytes)
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        Inherited.stderr(bytes)
    }

    fn restarted(&mut self) {
        self.stdout.clear();
    }
}

/// Runs `command` on this host, its output shown and counted.
fn run_here(command: &mut Command, tally: &mut Tally) -> Result<ExitStatus> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let mut stdout = child.stdout.take().context("the command has no output")?;
    let mut bytes = [0; 8192];
    loop {
        let count = stdout.read(&mut bytes).context("reading a test's output")?;
        if count == 0 {
            break;
        }
        tally.read(&bytes[..count]);
        Inherited
            .stdout(&bytes[..count])
            .context("writing output")?;
    }
    child.wait().context("waiting for a test")
}

/// Builds the guest tests; returns their binaries.
fn guest_test_binaries() -> Result<Vec<PathBuf>> {
    let args = ["test", "--quiet", "--package", GUEST_TESTS, "--no-run"];
    let output = workspace::cargo(args)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo")?;
    ensure!(output.status.success(), "building the guest tests failed");
    let mut binaries = Vec::new();
    for line in output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let message: serde_json::Value =
            serde_json::from_slice(line).context("reading cargo's messages")?;
        let is_test = message["profile"]["test"] == true;
        if let Some(path) = message["executable"].as_str().filter(|_| is_test) {
            binaries.push(PathBuf::from(path));
        }
    }
    binaries.sort();
    Ok(binaries)
}

/// Where cargo would run the guest tests.
fn directory() -> PathBuf {
    workspace::root().join("tests")
}

/// `boot` for `…/deps/boot-0123456789abcdef`.
fn name(binary: &Path) -> String {
    let file = binary.file_name().unwrap_or_default().to_string_lossy();
    file.rsplit_once('-')
        .map_or(file.to_string(), |(name, _)| name.to_owned())
}
