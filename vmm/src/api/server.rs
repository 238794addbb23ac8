//! The control socket's server: one thread, for as long as this value lives.

use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::SystemTime;

use devices::thread;
use rustix::io::ioctl_fionbio;

use super::console::Console;
use super::event_line;
use super::machine::Machine;
use super::mailbox::{Mail, Mailbox};
use super::service::Service;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::operator::Operator;

/// Serves a machine's control socket. Dropping it finishes what is in
/// progress, within two seconds, and ends. After the machine has stopped (and
/// been [waited for](crate::Vm::wait)), nothing is lost by dropping it:
/// clients have had, or get now, their answers and the last event.
#[derive(Debug)]
pub struct Server {
    mailbox: Mailbox,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `listener`, a listening Unix stream socket, by operating
    /// `operator`'s machine. The socket becomes non-blocking. `console` is the
    /// far end of a [served](crate::config::ConsoleConfig::served) console.
    ///
    /// # Errors
    /// The process has no thread or descriptor left.
    pub fn spawn(listener: OwnedFd, operator: &Operator, console: Option<OwnedFd>) -> Result<Self> {
        let failed = Error::host("the control socket's server");
        let refused = |error: rustix::io::Errno| failed(error.into());
        ioctl_fionbio(&listener, true).map_err(refused)?;
        let mailbox = Mailbox::new().map_err(&failed)?;
        let feed = EventFeed(mailbox.clone());
        operator.subscribe(move |event| {
            feed.tell(event);
            true
        });
        let console = console.map(Console::new);
        let machine = Machine::new(operator.clone(), mailbox.clone(), console);
        let service = Service::new(listener, mailbox.clone(), machine);
        let thread = thread::builder("api").spawn(move || service.run());
        Ok(Self {
            mailbox,
            thread: Some(thread.map_err(&failed)?),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.mailbox.post(Mail::Close);
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by then.
            let _ = thread.join();
        }
    }
}

/// What the machine's events go into. Once it is dropped, none follows.
struct EventFeed(Mailbox);

impl EventFeed {
    fn tell(&self, event: &Event) {
        let line = event_line::line(event, SystemTime::now());
        self.0.post(Mail::Event(line));
    }
}

impl Drop for EventFeed {
    fn drop(&mut self) {
        self.0.post(Mail::Ended);
    }
}
