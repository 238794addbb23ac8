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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Message;
    use crate::event::StopReason;
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::mpsc::channel;

    /// A machine's end as it is in the VM process: a client waits for it, and
    /// another listens.
    #[test]
    fn dropping_it_after_the_machine_has_stopped_loses_no_answer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (sender, messages) = channel();
        let server = Server::spawn(listener.into(), &Operator { sender }, None).unwrap();
        let Message::Subscribe(mut subscriber) = messages.recv().unwrap() else {
            panic!("events come first");
        };
        let client = |request: &str| {
            let mut stream = UnixStream::connect(&path).unwrap();
            let head = format!("{request} HTTP/1.1\r\nHost: vm\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream
        };
        let mut listening = client("GET /v1/events");
        let mut head = [0; 17];
        listening.read_exact(&mut head).unwrap();
        let mut waiting = client("POST /v1/vm/kill");
        let Message::Command(_, answer) = messages.recv().unwrap() else {
            panic!("then the command");
        };
        subscriber(&Event::Stopped(StopReason::Stopped));
        drop(subscriber);
        answer.send(Ok(crate::command::Reply::Done));
        drop(messages);
        drop(server);
        let mut text = String::new();
        waiting.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 204 "), "{text}");
        text.clear();
        listening.read_to_string(&mut text).unwrap();
        assert!(text.contains("\"event\":\"stopped\""), "{text}");
        assert!(text.ends_with("0\r\n\r\n"), "{text}");
    }
}
