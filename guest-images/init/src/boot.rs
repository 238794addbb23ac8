//! The init's story from the first line to the last, called once by `main` as
//! process 1. It returns only to make the kernel panic: without process 1
//! there is no machine, so everything else here says its failure and goes on.

use std::process::ExitCode;

use rustix::system::RebootCommand;

use crate::command_line::{CommandLine, Then};
use crate::console::{self, say};
use crate::ending::end;
use crate::{interface, job, modules, mounts, root};

/// Boots; the benchmark takes the time of the first line.
pub(crate) fn run() -> ExitCode {
    say("up");
    mounts::mount_all();
    let console_is_there = console::is_there();
    modules::load_all();
    if !console_is_there {
        console::adopt();
    }

    let command_line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let command_line = CommandLine::parse(&command_line);
    for word in &command_line.complaints {
        say(format_args!("cannot understand {word}"));
    }
    bring_up_network(&command_line);

    match &command_line.run {
        Some(command) => run_command(command),
        None => {
            if let Err(error) = root::switch(&command_line.root, command_line.read_only) {
                say(format_args!("cannot boot from disk: {error}"));
            }
            run_shell();
        }
    }
    match command_line.then {
        Then::PowerOff => end(RebootCommand::PowerOff),
        Then::Reboot => end(RebootCommand::Restart),
        Then::Halt => end(RebootCommand::Halt),
        Then::Panic => say("panic"),
        Then::Shell => {
            run_shell();
            end(RebootCommand::PowerOff);
        }
    }
    ExitCode::FAILURE
}

fn bring_up_network(command_line: &CommandLine) {
    if let Err(error) = interface::enable_loopback() {
        say(format_args!("cannot bring up lo: {error}"));
    }
    for address in &command_line.addresses {
        if let Err(error) = address.apply() {
            say(format_args!("cannot configure {}: {error}", address.name));
        }
    }
}

fn run_command(command: &str) {
    match job::run(command) {
        Ok(status) => say(format_args!("exit {status}")),
        Err(error) => say(format_args!("cannot run the command: {error}")),
    }
}

fn run_shell() {
    say("shell; leave it to power off");
    if let Err(error) = job::shell() {
        say(format_args!("cannot run a shell: {error}"));
    }
}
