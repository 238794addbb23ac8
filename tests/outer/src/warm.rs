//! An outer machine that is kept between commands. It is booted when first
//! needed; one that got stuck is replaced once, and that is said.

use std::process::ExitStatus;

use crate::command::Command;
use crate::config::OuterConfig;
use crate::error::{ErrorKind, Result};
use crate::machine::OuterMachine;
use crate::output::Output;

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
    /// stuck, runs it once more, from its start, in a new one.
    pub fn run(&mut self, command: &Command, output: &mut dyn Output) -> Result<ExitStatus> {
        let error = match self.attempt(command, output) {
            Err(error) if error.kind() == ErrorKind::Stuck => error,
            result => return result,
        };
        self.replaced += 1;
        log::warn!("{error}\nretrying once in a new outer machine");
        output.restarted();
        self.attempt(command, output)
    }

    /// How often a stuck machine was replaced.
    pub fn replaced(&self) -> u32 {
        self.replaced
    }

    /// Powers the machine off, if there is one.
    pub fn shutdown(self) {
        if let Some(machine) = self.machine {
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
