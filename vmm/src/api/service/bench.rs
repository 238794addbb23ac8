//! A service without a machine and without a thread, for tests: they play the
//! control thread and the clock, and nothing happens but at their word.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use serde_json::Value;
use tempfile::TempDir;

use crate::api::console::Console;
use crate::api::machine::Machine;
use crate::api::mailbox::{Mail, Mailbox};
use crate::api::service::Service;
use crate::command::{Answer, Command};
use crate::control::Message;
use crate::event::Event;
use crate::operator::Operator;

/// The service, with the other ends of all that it holds.
pub(super) struct Bench {
    pub(super) service: Service,
    pub(super) now: Instant,
    pub(super) over: bool,
    mailbox: Mailbox,
    messages: Receiver<Message>,
    directory: TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with_console(None)
    }

    pub(super) fn with_console(console: Option<OwnedFd>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("api.sock")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (sender, messages) = channel();
        let mailbox = Mailbox::new().unwrap();
        let machine = Machine::new(
            Operator { sender },
            mailbox.clone(),
            console.map(Console::new),
        );
        Self {
            service: Service::new(listener.into(), mailbox.clone(), machine),
            now: Instant::now(),
            over: false,
            mailbox,
            messages,
            directory,
        }
    }

    /// Has the service do all that there is to do now.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            let overdue = self.service.deadline().is_some_and(|at| at <= self.now);
            let ready = self.service.wait(Some(Duration::ZERO)).unwrap();
            if !overdue && ready.is_nothing() {
                return;
            }
            self.over |= self.service.serve(&ready, self.now).is_break();
        }
        panic!("the service never comes to rest");
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    pub(super) fn client(&mut self) -> Client {
        let stream = UnixStream::connect(self.directory.path().join("api.sock")).unwrap();
        stream.set_nonblocking(true).unwrap();
        self.settle();
        Client {
            stream,
            received: Vec::new(),
        }
    }

    /// What the machine is asked next, if anything.
    pub(super) fn asked(&mut self) -> Option<(Command, Answer)> {
        self.settle();
        match self.messages.try_recv() {
            Ok(Message::Command(command, answer)) => Some((command, answer)),
            _ => None,
        }
    }

    /// What the first client is waited for.
    pub(super) fn interest(&self) -> PollFlags {
        self.service.connections[&0].interest(&self.service.machine)
    }

    pub(super) fn happens(&mut self, event: &Event) {
        let line = crate::api::event_line::line(event, std::time::UNIX_EPOCH);
        self.mailbox.post(Mail::Event(line));
        self.settle();
    }

    pub(super) fn post(&mut self, mail: Mail) {
        self.mailbox.post(mail);
        self.settle();
    }

    /// Sends `request` and gives what comes back at once.
    pub(super) fn exchange(&mut self, client: &mut Client, request: &str) -> String {
        client.send(request.as_bytes());
        self.settle();
        client.receive()
    }
}

/// A client of the service.
pub(super) struct Client {
    pub(super) stream: UnixStream,
    received: Vec<u8>,
}

impl Client {
    /// Sends as much as the socket takes.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write(bytes);
    }

    /// All that has come.
    pub(super) fn receive(&mut self) -> String {
        // An end or an error: there is no more.
        let _ = self.stream.read_to_end(&mut self.received);
        String::from_utf8(std::mem::take(&mut self.received)).unwrap()
    }

    pub(super) fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0))
    }
}

/// A request as a client writes it.
pub(super) fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: vm\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// The status and the body of a response that is all there is.
pub(super) fn parsed(response: &str) -> (u16, Value) {
    let (head, body) = response.split_once("\r\n\r\n").expect(response);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}
