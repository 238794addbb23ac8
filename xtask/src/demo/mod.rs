//! `cargo xtask demo`: plinth's main job, start to end. Builds and fetches
//! what is needed, then plays [`stage`] where KVM is real: on this host, or
//! in an outer machine.

mod console;
mod memory;
mod network;
pub(crate) mod stage;
mod story;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;
use guest_images::Cache;
use outer::{Inherited, Input, KvmUse, WarmMachine, usable_kvm};

use crate::guest::{exit_code, lending_terminal, outer_config};
use crate::{image, packages, workspace};

/// Boot a stock Debian kernel with a disk and a NIC, and see that both work.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Stay in the guest, at a shell on its console.
    #[arg(long)]
    shell: bool,
}

impl Demo {
    /// Prepares and plays; the stage's status is ours.
    pub(crate) fn run(self) -> Result<ExitCode> {
        packages::ensure(&[&packages::IMAGES, &packages::DEMO])?;
        let cache = Cache::open()?;
        say("fetching a stock Debian kernel and making an initramfs");
        let kernel = image::kernel(&cache)?;
        let initramfs = image::guest_initramfs(&cache, &kernel)?;
        say("building plinth");
        let plinth = build_release()?;

        let mut arguments: Vec<OsString> = vec!["stage".into()];
        for (option, value) in [
            ("--plinth", plinth),
            ("--kernel", kernel.vmlinux),
            ("--initrd", initramfs),
        ] {
            arguments.push(option.into());
            arguments.push(value.into());
        }
        arguments.extend(self.shell.then(|| "--shell".into()));
        let program = std::env::current_exe().context("finding this program")?;
        match usable_kvm() {
            KvmUse::Direct => {
                say("this host has usable KVM: booting the guest here");
                let status = Command::new(program).args(arguments).status();
                Ok(exit_code(status.context("running the stage")?))
            }
            KvmUse::Nested(why) => {
                say(&format!("{why}; booting an outer machine that has KVM"));
                self.play_in_outer_machine(program, arguments)
            }
        }
    }

    fn play_in_outer_machine(
        &self,
        program: PathBuf,
        arguments: Vec<OsString>,
    ) -> Result<ExitCode> {
        let mut command = outer::Command::new(program)
            .args(arguments)
            .envs(std::env::vars_os())
            .current_dir(workspace::root());
        if self.shell {
            let size = rustix::termios::tcgetwinsize(std::io::stdin())
                .context("--shell needs a terminal")?;
            command = command
                .terminal(size.ws_row, size.ws_col)
                .input(Input::Inherited);
        }
        let mut machine = WarmMachine::new(outer_config()?);
        machine.warm_up().context("booting the outer machine")?;
        let status = lending_terminal(self.shell, || machine.run(&command, &mut Inherited))?;
        machine.shutdown();
        Ok(exit_code(status))
    }
}

/// Builds the command line and the VM process as people would run them.
fn build_release() -> Result<PathBuf> {
    let args = [
        "build",
        "--release",
        "--package",
        "plinth",
        "--package",
        "vmm",
    ];
    let status = workspace::cargo(args).status().context("running cargo")?;
    ensure!(status.success(), "building plinth failed");
    Ok(workspace::target_dir()?.join("x86_64-unknown-linux-gnu/release/plinth"))
}

fn say(what: &str) {
    eprintln!("demo: {what}");
}
