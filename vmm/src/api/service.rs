//! All clients of a machine, served by one thread that waits in one place.
//!
//! [`wait`](Service::wait) and [`serve`](Service::serve) take turns. Serving
//! never blocks, and is told the time.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::connection::Connection;
use super::machine::{MAX_LISTENERS, Machine};
use super::mailbox::{Mail, Mailbox};
use super::socket::Socket;

/// Most clients at a time.
pub(super) const MAX_CONNECTIONS: usize = 16;

const _: () = assert!(MAX_LISTENERS * 2 <= MAX_CONNECTIONS);

/// How long the end may wait for clients that are slow.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// How long to leave new clients alone when there is no descriptor for one.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Clients, and what they come through.
pub(super) struct Service {
    listener: OwnedFd,
    mailbox: Mailbox,
    machine: Machine,
    connections: BTreeMap<u64, Connection>,
    next: u64,
    /// No event follows.
    events_ended: bool,
    /// When it is over in any case.
    end: Option<Instant>,
    /// No client is let in before.
    closed_until: Option<Instant>,
}

/// What happened while the service waited.
#[derive(Debug, Default)]
pub(super) struct Ready {
    listener: bool,
    mailbox: bool,
    console: bool,
    clients: Vec<(u64, PollFlags)>,
}

#[cfg(test)]
impl Ready {
    fn is_nothing(&self) -> bool {
        let clients = self.clients.iter();
        !(self.listener || self.mailbox || self.console)
            && clients.fold(true, |no, (_, flags)| no && flags.is_empty())
    }
}

impl Service {
    /// Serves whoever connects to `listener`, which does not block.
    pub(super) fn new(listener: OwnedFd, mailbox: Mailbox, machine: Machine) -> Self {
        Self {
            listener,
            mailbox,
            machine,
            connections: BTreeMap::new(),
            next: 0,
            events_ended: false,
            end: None,
            closed_until: None,
        }
    }

    /// Serves until it is told to close.
    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            let patience = self.deadline().map(|at| at.saturating_duration_since(now));
            let ready = match self.wait(patience) {
                Ok(ready) => ready,
                Err(error) => {
                    log::error!("the control socket is closed: {error}");
                    return;
                }
            };
            if self.serve(&ready, Instant::now()).is_break() {
                return;
            }
        }
    }

    /// Waits until something happens, or for `patience` if there is any.
    pub(super) fn wait(&self, patience: Option<Duration>) -> io::Result<Ready> {
        let listens = self.end.is_none() && self.closed_until.is_none();
        let listener = match listens {
            true => PollFlags::IN,
            false => PollFlags::empty(),
        };
        let mut fds = vec![
            PollFd::new(&self.listener, listener),
            PollFd::new(&self.mailbox, PollFlags::IN),
        ];
        let console = self.machine.console.as_ref();
        let console = console.and_then(|console| Some((console, console.interest()?)));
        fds.extend(console.map(|(console, interest)| PollFd::new(console, interest)));
        let machine = &self.machine;
        let clients = self.connections.values();
        fds.extend(clients.map(|client| PollFd::new(client, client.interest(machine))));
        let timeout = patience.map(Timespec::try_from).transpose();
        match poll(&mut fds, timeout.map_err(io::Error::other)?.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let mut happened = fds.iter().map(PollFd::revents);
        let mut is_ready = || happened.next().is_some_and(|flags| !flags.is_empty());
        Ok(Ready {
            listener: is_ready() && listens,
            mailbox: is_ready(),
            console: console.is_some() && is_ready(),
            clients: self.connections.keys().copied().zip(happened).collect(),
        })
    }

    /// When something is to be done if nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let clients = self.connections.values().filter_map(Connection::deadline);
        clients.chain(self.end).chain(self.closed_until).min()
    }

    /// Does what there is to do at `now`. Breaks when it is over.
    pub(super) fn serve(&mut self, ready: &Ready, now: Instant) -> ControlFlow<()> {
        if let Some(console) = &mut self.machine.console
            && ready.console
        {
            console.serve();
        }
        if ready.mailbox {
            for mail in self.mailbox.take() {
                self.receive(mail, now);
            }
        }
        for (client, flags) in &ready.clients {
            self.count_listeners();
            if let Some(connection) = self.connections.get_mut(client) {
                connection.serve(*flags, now, &mut self.machine);
                if self.events_ended {
                    connection.end_events(now);
                }
            }
        }
        let farewell = self.end.is_some();
        self.connections.retain(|id, connection| {
            let over = connection.is_over(farewell);
            if over && let Some(console) = &mut self.machine.console {
                console.detach(*id);
            }
            !over
        });
        if self.closed_until.is_some_and(|until| until <= now) {
            self.closed_until = None;
        }
        if ready.listener {
            self.accept(now);
        }
        match self.end {
            Some(end) if end <= now || self.connections.is_empty() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Some may have gone.
    fn count_listeners(&mut self) {
        let listeners = self.connections.values().filter(|client| client.listens());
        self.machine.listeners = listeners.count();
    }

    fn receive(&mut self, mail: Mail, now: Instant) {
        self.count_listeners();
        let all = self.connections.values_mut();
        match mail {
            Mail::Answer { client, outcome } => {
                self.machine.answered();
                if let Some(connection) = self.connections.get_mut(&client) {
                    connection.answer(outcome, now, &mut self.machine);
                }
            }
            Mail::Event(line) => all.for_each(|connection| connection.event(&line, now)),
            Mail::Lost(count) => all.for_each(|connection| connection.lose_events(count)),
            Mail::Ended => {
                all.for_each(|connection| connection.end_events(now));
                self.events_ended = true;
            }
            Mail::Close => {
                all.for_each(|connection| connection.close(now));
                if let Some(console) = &mut self.machine.console {
                    console.close();
                }
                self.end = Some(now + FAREWELL);
            }
        }
    }

    /// Lets new clients in. When there is no room, whoever has been idle
    /// longest has to go.
    fn accept(&mut self, now: Instant) {
        loop {
            let full = self.connections.len() >= MAX_CONNECTIONS;
            let longest_idle = self.longest_idle();
            if full && longest_idle.is_none() {
                // New ones wait in the kernel.
                self.closed_until = Some(now + EXHAUSTED);
                return;
            }
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match accept_with(&self.listener, flags) {
                Ok(client) => {
                    if let Some(idle) = longest_idle.filter(|_| full) {
                        self.connections.remove(&idle);
                    }
                    let connection = Connection::new(self.next, Socket::new(client), now);
                    self.connections.insert(self.next, connection);
                    self.next += 1;
                }
                Err(Errno::AGAIN) => return,
                // The client has gone already.
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => {
                    log::warn!("a client of the control socket cannot be served: {error}");
                    self.closed_until = Some(now + EXHAUSTED);
                    return;
                }
            }
        }
    }

    fn longest_idle(&self) -> Option<u64> {
        let all = self.connections.iter();
        let idle = all.filter_map(|(id, client)| Some((client.idle_since()?, *id)));
        idle.min().map(|(_, id)| id)
    }
}

#[cfg(test)]
mod bench;
#[cfg(test)]
mod tests;
