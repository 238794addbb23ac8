//! `plinth vm console`: this terminal as a machine's console, for a while.

mod keys;

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use clap::Args;
use devices::console::escape::{Escape, Typed};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use vmm::process::terminal::RawTerminal;
use vmm::process::termination::TerminationSignals;

use crate::client::Failure;
use crate::client::request::Request;
use crate::error::Error;
use crate::exit::ExitStatus;
use crate::registry::name::VmName;

use super::super::Outcome;
use super::super::connection::{Connection, explain};
use keys::{HELP, KEYS, Key};

/// Attach this terminal to a machine's console
///
/// What the machine said last comes first. Ctrl-A d detaches and leaves the
/// machine running; Ctrl-A h lists the keys. Input from a pipe goes to the
/// guest as it is, and its end does not detach.
///
/// Examples:
///   plinth vm console web
///   echo poweroff | plinth vm console web
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Console {
    /// The machine
    #[arg(value_name = "VM")]
    name: VmName,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The user detached.
    Detached,
    /// A termination signal came.
    Signal,
    /// The machine has ended, or closed the console.
    Closed,
}

impl Console {
    pub(super) fn execute(self) -> Outcome {
        let connection = Connection::open(&self.name)?;
        let registry = connection.registry.clone();
        let request = Request::post("/v1/console").upgrade("plinth-console");
        let console = connection
            .into_client()
            .upgrade(&request)
            .map_err(|failure| explain(failure, &registry, &self.name))?;
        let unusable =
            |error: io::Error| Error::unexpected("this terminal cannot be used").because(error);
        // Before the terminal is changed, which must be undone in any case.
        let signals = TerminationSignals::block().map_err(unusable)?;
        let terminal = RawTerminal::enter(io::stdin()).map_err(unusable)?;
        let is_terminal = terminal.is_some();
        if is_terminal {
            eprint!("attached to '{}': Ctrl-A d detaches\r\n", self.name);
        }
        io::stdout().write_all(console.buffer()).map_err(unusable)?;
        let end = Session {
            console: console.into_inner(),
            signals,
            escape: is_terminal.then(|| Escape::new(KEYS)),
        }
        .run();
        drop(terminal);
        let end = end.map_err(|error| explain(Failure::Broken(error), &registry, &self.name))?;
        if is_terminal {
            eprintln!("\n{}", end.words(&self.name));
        }
        Ok(match end {
            End::Signal => ExitStatus::Ended,
            End::Detached | End::Closed => ExitStatus::Success,
        })
    }
}

impl End {
    fn words(self, name: &VmName) -> String {
        match self {
            Self::Detached | Self::Signal => format!("detached; '{name}' runs on"),
            Self::Closed => format!("'{name}' has closed its console"),
        }
    }
}

/// Bytes between standard input and output and a console.
struct Session {
    console: UnixStream,
    signals: TerminationSignals,
    /// Where input comes from a terminal.
    escape: Option<Escape<Key>>,
}

impl Session {
    fn run(mut self) -> io::Result<End> {
        let mut stdin_open = true;
        let stdin = io::stdin();
        loop {
            let input = if stdin_open {
                PollFlags::IN
            } else {
                PollFlags::empty()
            };
            let mut events = [
                PollFd::new(&self.console, PollFlags::IN),
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(stdin.as_fd(), input),
            ];
            retry_on_intr(|| poll(&mut events, None))?;
            let [console, signals, typed] = events.map(|event| !event.revents().is_empty());
            if signals {
                return Ok(End::Signal);
            }
            if console && !self.show()? {
                return Ok(End::Closed);
            }
            if typed && stdin_open {
                match self.send()? {
                    Input::More => {}
                    Input::Over => stdin_open = false,
                    Input::Detach => return Ok(End::Detached),
                }
            }
        }
    }

    /// Shows what the guest says; false if it says no more.
    fn show(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        let len = self.console.read(&mut bytes)?;
        let mut out = io::stdout().lock();
        out.write_all(&bytes[..len])?;
        out.flush()?;
        Ok(len > 0)
    }

    /// Sends what the user types.
    fn send(&mut self) -> io::Result<Input> {
        let mut bytes = [0; 4096];
        // Not through the buffer of `Stdin`, which poll does not see.
        let len = retry_on_intr(|| rustix::io::read(io::stdin(), &mut bytes[..]))?;
        let typed = &bytes[..len];
        if typed.is_empty() {
            return Ok(Input::Over);
        }
        let Some(escape) = &mut self.escape else {
            self.console.write_all(typed)?;
            return Ok(Input::More);
        };
        let mut guest = Vec::with_capacity(typed.len() + 1);
        let mut detach = false;
        escape.parse(typed, |typed| match typed {
            // The rest is not for this guest any more.
            _ if detach => {}
            Typed::Byte(byte) => guest.push(byte),
            Typed::Key(Key::Help) => eprint!("{HELP}"),
            Typed::Key(Key::Detach) => detach = true,
        });
        self.console.write_all(&guest)?;
        Ok(if detach { Input::Detach } else { Input::More })
    }
}

/// What input there is.
enum Input {
    More,
    Over,
    Detach,
}
