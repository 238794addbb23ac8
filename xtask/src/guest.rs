//! `cargo xtask guest`: runs a command where KVM is real. On a host with
//! usable hardware KVM that is the host itself, elsewhere an outer machine:
//! one of its own, or a warm one that another `guest --serve` keeps.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, Result};
use clap::Args;
use guest_images::emulator::newer;
use guest_images::{Cache, DebianKernel};
use outer::{
    Command, Inherited, Input, KvmUse, OuterConfig, OuterMachine, RemoteMachine, WarmMachine,
    serve, usable_kvm,
};

use crate::terminal::RawTerminal;
use crate::{packages, workspace};

/// Run a command under real KVM, in an outer machine where the host has none.
#[derive(Debug, Args)]
pub(crate) struct Guest {
    /// Use the warm outer machine that is served at SOCKET.
    #[arg(
        long,
        value_name = "SOCKET",
        env = "PLINTH_OUTER",
        conflicts_with = "serve"
    )]
    connect: Option<PathBuf>,
    /// Boot an outer machine and serve it at SOCKET until interrupted.
    #[arg(long, value_name = "SOCKET", conflicts_with_all = ["command", "shell"])]
    serve: Option<PathBuf>,
    /// Boot an outer machine for this command alone, even where a warm one or
    /// the host's own KVM would do.
    #[arg(long)]
    fresh: bool,
    /// Memory of the outer machine in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    memory: u32,
    /// Give the command a terminal; without a command, start a shell.
    #[arg(long)]
    shell: bool,
    /// What to run, in the current directory with the current environment.
    #[arg(last = true, required_unless_present_any = ["shell", "serve"])]
    command: Vec<OsString>,
}

impl Guest {
    /// Runs the command; its status is ours.
    pub(crate) fn run(mut self) -> Result<ExitCode> {
        if let Some(socket) = &self.serve {
            return self.serve(socket);
        }
        if self.command.is_empty() {
            self.command.push("bash".into());
        }
        if !self.fresh && self.connect.is_none() && usable_kvm() == KvmUse::Direct {
            return self.run_directly();
        }
        let command = self.outer_command()?;
        let status = match self.connect.as_ref().filter(|_| !self.fresh) {
            Some(socket) => {
                let machine = RemoteMachine::connect(socket)?;
                lending_terminal(self.shell, || machine.run(&command, &mut Inherited))?
            }
            None => {
                let mut machine = WarmMachine::new(self.config()?);
                machine.warm_up().context("booting the outer machine")?;
                let status =
                    lending_terminal(self.shell, || machine.run(&command, &mut Inherited))?;
                machine.shutdown();
                status
            }
        };
        Ok(exit_code(status))
    }

    /// Keeps machines coming: one that failed is replaced by a new one.
    fn serve(&self, socket: &Path) -> Result<ExitCode> {
        let config = self.config()?;
        if UnixStream::connect(socket).is_err() {
            // What a server that was interrupted left behind.
            let _ = std::fs::remove_file(socket);
        }
        let listener = UnixListener::bind(socket)
            .with_context(|| format!("cannot serve at {}", socket.display()))?;
        loop {
            let mut machine = OuterMachine::boot(&config).context("booting the outer machine")?;
            eprintln!(
                "outer machine is up: cargo xtask guest --connect {}",
                socket.display()
            );
            if let Err(error) = serve(&mut machine, &listener) {
                log::warn!("{:#}", anyhow::Error::from(error));
            }
        }
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
    packages::ensure(&[&packages::OUTER, &packages::IMAGES])?;
    let cache = Cache::open()?;
    // Any version will do, so apt is asked only when there is none.
    let kernel = match DebianKernel::Generic.cached(&cache)? {
        Some(kernel) => kernel,
        None => DebianKernel::Generic
            .fetch(&cache)
            .context("getting the outer machine's kernel")?,
    };
    let agent = workspace::build("outer-agent")?;
    let mut config = OuterConfig::new(kernel, agent);
    config.shares.push(workspace::target_dir()?);
    config.emulator = newer::fetch(&cache).unwrap_or_else(|error| {
        log::warn!(
            "{:#}\nthe installed QEMU emulates the outer machine, in which guests hang now and then",
            anyhow::Error::from(error)
        );
        None
    });
    Ok(config)
}

/// Runs `work` with the terminal raw if a `shell` was asked for.
pub(crate) fn lending_terminal<T>(
    shell: bool,
    work: impl FnOnce() -> outer::Result<T>,
) -> Result<T> {
    let raw = shell.then(RawTerminal::enter).transpose()?;
    let result = work();
    drop(raw);
    Ok(result?)
}

/// As a shell tells it: the code, or 128 and the number of the signal.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
