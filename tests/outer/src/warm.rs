//! An outer machine that is kept between commands. It is booted when first
//! needed; one that got stuck is replaced, and that is said.

use std::process::ExitStatus;

use crate::command::Command;
use crate::config::OuterConfig;
use crate::error::{ErrorKind, Result};
use crate::machine::OuterMachine;
use crate::output::Output;

/// How often a command is tried. On a host whose hypervisor holds the emulator
/// up, about one machine in ten gets stuck, and two in a row were seen.
const ATTEMPTS: u32 = 3;

/// A source of command runs that survives a stuck machine.
#[derive(Debug)]
pub struct WarmMachine {
    config: OuterConfig,
    machine: Option<OuterMachine>,
    replaced: u32,
}

impl WarmMachine {
    /// No machine yet.
    pub fn new(config: OuterConfig) -> Self {
        Self {
            config,
            machine: None,
            replaced: 0,
        }
    }

    /// Boots the machine unless it is up.
    pub fn warm_up(&mut self) -> Result<&mut OuterMachine> {
        let machine = match self.machine.take() {
            Some(machine) => machine,
            None => OuterMachine::boot(&self.config)?,
        };
        Ok(self.machine.insert(machine))
    }

    /// Runs `command` as [`OuterMachine::run`] does. When the machine gets
    /// stuck, runs it again, from its start, in a new one: three times at most.
    pub fn run(&mut self, command: &Command, output: &mut dyn Output) -> Result<ExitStatus> {
        for _ in 1..ATTEMPTS {
            match self.attempt(command, output) {
                Err(error) if error.kind() == ErrorKind::Stuck => {
                    self.replaced += 1;
                    log::warn!("{error}\ntrying again in a new outer machine");
                    output.restarted();
                }
                result => return result,
            }
        }
        self.attempt(command, output)
    }

    /// How often a stuck machine was replaced.
    pub fn replaced(&self) -> u32 {
        self.replaced
    }

    /// Powers the machine off, if there is one. What runs next, runs in a new
    /// one.
    pub fn shutdown(&mut self) {
        if let Some(machine) = self.machine.take() {
            machine.shutdown();
        }
    }

    fn attempt(&mut self, command: &Command, output: &mut dyn Output) -> Result<ExitStatus> {
        let result = self.warm_up()?.run(command, output);
        let broken = |kind| matches!(kind, ErrorKind::Stuck | ErrorKind::Died);
        if result.as_ref().is_err_and(|error| broken(error.kind())) {
            self.machine = None;
        }
        result
    }
}
