//! The machine as clients reach it: what they ask goes to its control thread,
//! and what comes of it to the mailbox; and its console.

use super::console::Console;
use super::failure::{Code, Failure};
use super::mailbox::{Mail, Mailbox};
use crate::command::Command;
use crate::operator::Operator;

/// Most commands in progress, those included whose client has gone.
pub(super) const MAX_IN_PROGRESS: usize = 64;

/// Most clients that listen to events, which they do for as long as they like:
/// half of all that there may be, so that others get a word in.
pub(super) const MAX_LISTENERS: usize = 8;

/// A machine with commands in progress.
#[derive(Debug)]
pub(super) struct Machine {
    operator: Operator,
    mailbox: Mailbox,
    in_progress: usize,
    /// Clients that listen to events.
    pub(super) listeners: usize,
    /// If this is where it is served.
    pub(super) console: Option<Console>,
}

impl Machine {
    pub(super) fn new(operator: Operator, mailbox: Mailbox, console: Option<Console>) -> Self {
        Self {
            operator,
            mailbox,
            in_progress: 0,
            listeners: 0,
            console,
        }
    }

    /// Has `command` carried out for `client`. [`Mail::Answer`] comes in any
    /// case, and once.
    pub(super) fn ask(&mut self, client: u64, command: Command) -> Result<(), Failure> {
        // However much waits, the machine can be ended.
        if self.in_progress >= MAX_IN_PROGRESS && !matches!(command, Command::Stop) {
            return Err(Failure::new(
                Code::Busy,
                format!("{MAX_IN_PROGRESS} requests are in progress; wait for one of them"),
            ));
        }
        self.in_progress += 1;
        let mailbox = self.mailbox.clone();
        self.operator.submit(command, move |outcome| {
            mailbox.post(Mail::Answer { client, outcome });
        });
        Ok(())
    }

    /// A client begins to listen to events.
    pub(super) fn listen(&mut self) -> Result<(), Failure> {
        if self.listeners >= MAX_LISTENERS {
            return Err(Failure::new(
                Code::Busy,
                format!(
                    "{MAX_LISTENERS} clients listen to events already, and more would leave \
                     no room for requests; end one of them, or have one pass events on"
                ),
            ));
        }
        self.listeners += 1;
        Ok(())
    }

    /// An answer has come.
    pub(super) fn answered(&mut self) {
        self.in_progress -= 1;
    }
}
