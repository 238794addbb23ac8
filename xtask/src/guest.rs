//! `cargo xtask guest`: runs a command where KVM is real. On a host with
//! usable hardware KVM that is the host itself, elsewhere an outer machine.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, Result};
use clap::Args;
use guest_images::{Cache, DebianKernel};
use outer::{Command, Inherited, Input, KvmUse, OuterConfig, WarmMachine, usable_kvm};

use crate::terminal::RawTerminal;
use crate::workspace;

/// Run a command under real KVM, in an outer machine where the host has none.
#[derive(Debug, Args)]
pub(crate) struct Guest {
    /// Boot an outer machine even where the host's own KVM would do.
    #[arg(long)]
    fresh: bool,
    /// Memory of the outer machine in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    memory: u32,
    /// Give the command a terminal; without a command, start a shell.
    #[arg(long)]
    shell: bool,
    /// What to run, in the current directory with the current environment.
    #[arg(last = true, required_unless_present = "shell")]
    command: Vec<OsString>,
}

impl Guest {
    /// Runs the command; its status is ours.
    pub(crate) fn run(mut self) -> Result<ExitCode> {
        if self.command.is_empty() {
            self.command.push("bash".into());
        }
        if !self.fresh && usable_kvm() == KvmUse::Direct {
            return self.run_directly();
        }
        let mut machine = WarmMachine::new(self.config()?);
        machine.warm_up().context("booting the outer machine")?;
        let status = if self.shell {
            let _raw = RawTerminal::enter()?;
            machine.run(&self.outer_command()?, &mut Inherited)
        } else {
            machine.run(&self.outer_command()?, &mut Inherited)
        };
        machine.shutdown();
        Ok(exit_code(status?))
    }

    fn run_directly(&self) -> Result<ExitCode> {
        let error = std::process::Command::new(&self.command[0])
            .args(&self.command[1..])
            .exec();
        Err(error).with_context(|| format!("cannot run {}", self.command[0].display()))
    }

    fn outer_command(&self) -> Result<Command> {
        let command = Command::new(&self.command[0])
            .args(&self.command[1..])
            .envs(std::env::vars_os())
            .current_dir(std::env::current_dir().context("finding the current directory")?);
        if self.shell {
            let (rows, columns) = RawTerminal::size();
            return Ok(command.terminal(rows, columns).input(Input::Inherited));
        }
        // A command at a prompt is not meant to read what is typed next; one
        // that is fed from a file or a pipe gets that.
        let fed = !std::io::stdin().is_terminal();
        Ok(command.input(if fed { Input::Inherited } else { Input::Empty }))
    }

    fn config(&self) -> Result<OuterConfig> {
        Ok(OuterConfig {
            memory_mib: self.memory,
            ..outer_config()?
        })
    }
}

/// The usual outer machine, its parts fetched and built as needed.
pub(crate) fn outer_config() -> Result<OuterConfig> {
    let cache = Cache::open()?;
    let kernel = DebianKernel::Generic
        .fetch(&cache)
        .context("getting the outer machine's kernel")?;
    let agent = workspace::build("outer-agent")?;
    let mut config = OuterConfig::new(kernel, agent);
    config.shares.push(workspace::target_dir()?);
    Ok(config)
}

/// As a shell tells it: the code, or 128 and the number of the signal.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
