//! A way to operate a machine: commands go in, answers and events come out.
//!
//! Clones reach the same machine and do not keep it alive: once it has
//! stopped, every command is answered with [`Error::Stopped`].

use std::sync::mpsc::{Receiver, Sender, channel};

use crate::command::{Answer, Command, Reply};
use crate::control::Message;
use crate::description::Description;
use crate::error::{Error, Result};
use crate::event::Event;

/// A machine's operator. Each method is a [`Command`] and waits until it is
/// carried out, for which commands before it are finished first.
#[derive(Clone, Debug)]
pub struct Operator {
    pub(crate) sender: Sender<Message>,
}

impl Operator {
    /// Has `command` carried out; its outcome goes to `receive`, on the
    /// control thread, which must not be held up. It comes in any case, and
    /// once.
    pub fn submit(&self, command: Command, receive: impl FnOnce(Result<Reply>) + Send + 'static) {
        let message = Message::Command(command, Answer::new(receive));
        // If the machine has stopped, the answer is dropped, and says so.
        let _ = self.sender.send(message);
    }

    /// Has `command` carried out and waits for the outcome.
    ///
    /// # Errors
    /// The machine has stopped, or what the command says.
    pub fn execute(&self, command: Command) -> Result<Reply> {
        let (sender, outcome) = channel();
        self.submit(command, move |reply| drop(sender.send(reply)));
        outcome.recv().unwrap_or(Err(Error::Stopped))
    }

    /// What the machine is and what state it is in.
    ///
    /// # Errors
    /// The machine has stopped.
    pub fn describe(&self) -> Result<Description> {
        match self.execute(Command::Describe)? {
            Reply::Description(description) => Ok(*description),
            reply => Err(Error::unexpected_reply(&reply)),
        }
    }

    /// Brings vCPUs to rest, then devices, finishing what they have in
    /// flight. Guest memory does not change until [`resume`](Self::resume).
    ///
    /// # Errors
    /// The machine has stopped, or a device could not finish in time and now
    /// needs a reset by its driver.
    pub fn pause(&self) -> Result<()> {
        self.execute(Command::Pause).map(drop)
    }

    /// Has a paused machine go on.
    ///
    /// # Errors
    /// The machine has stopped.
    pub fn resume(&self) -> Result<()> {
        self.execute(Command::Resume).map(drop)
    }

    /// Ends the machine at once, as if its power were cut. What the guest had
    /// in flight on disks is finished first.
    ///
    /// # Errors
    /// The machine has stopped already.
    pub fn stop(&self) -> Result<()> {
        self.execute(Command::Stop).map(drop)
    }

    /// Hears of everything that will happen to the machine. The channel
    /// closes when it has stopped.
    pub fn events(&self) -> Receiver<Event> {
        let (sender, receiver) = channel();
        // If the machine has stopped, the sender is dropped: a closed channel.
        let _ = self.sender.send(Message::Subscribe(Box::new(move |event| {
            sender.send(event.clone()).is_ok()
        })));
        receiver
    }

    /// Has `hear` called with everything that will happen to the machine, on
    /// the control thread, which must not be held up, until it returns false.
    pub fn subscribe(&self, hear: impl FnMut(&Event) -> bool + Send + 'static) {
        let _ = self.sender.send(Message::Subscribe(Box::new(hear)));
    }
}
