//! A client's requests, one at a time, and what they are answered: the part of a
//! [`Connection`] that knows what is asked.

use std::time::Instant;

use super::{Connection, State};
use crate::api::call::Action;
use crate::api::console;
use crate::api::event_stream::{self, EventStream};
use crate::api::failure::Failure;
use crate::api::machine::Machine;
use crate::api::request::{self, Head};
use crate::api::response::Response;
use crate::api::route;
use crate::command::Reply;
use crate::error::Result;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Connection {
    /// Takes a request out of what has come, if it is whole; `told` to go on if
    /// it is not. Returns whether there was anything to do.
    pub(super) fn read_request(&mut self, told: bool, now: Instant, machine: &mut Machine) -> bool {
        match request::parse(&self.incoming) {
            Ok(Some(head)) if self.incoming.len() >= head.len + head.body_len => {
                self.take_request(&head, now, machine);
            }
            Ok(Some(head)) if head.expects_continue && !told => {
                self.send(CONTINUE, now);
                self.state = State::Reading { told: true };
            }
            Ok(_) if self.ended => self.state = State::Closed,
            Ok(_) => return false,
            Err(failure) => self.respond(&Response::from(&failure), true, now),
        }
        true
    }

    fn take_request(&mut self, head: &Head, now: Instant, machine: &mut Machine) {
        let rest = self.incoming.split_off(head.len + head.body_len);
        let request = std::mem::replace(&mut self.incoming, rest);
        self.since = now;
        let action = route::lead(head, &request[head.len..], &mut self.descriptors);
        if self.incoming.is_empty() {
            // They came with this request, which did not want them.
            self.descriptors.clear();
        }
        if let Err(failure) = action.and_then(|action| self.begin(action, head, now, machine)) {
            let response = Response::from(&failure).only_head(head.is_head());
            self.respond(&response, head.close, now);
        }
    }

    fn begin(
        &mut self,
        action: Action,
        head: &Head,
        now: Instant,
        machine: &mut Machine,
    ) -> std::result::Result<(), Failure> {
        match action {
            Action::Respond(response) => {
                self.respond(&response.only_head(head.is_head()), head.close, now);
            }
            Action::Ask(command, translate) => {
                machine.ask(self.id, command)?;
                self.state = State::Waiting {
                    translate,
                    close: head.close,
                    head_only: head.is_head(),
                };
            }
            Action::Events if head.is_head() => {
                self.send(event_stream::HEAD, now);
                self.state = State::Closing;
            }
            Action::Events => {
                machine.listen()?;
                self.send(event_stream::HEAD, now);
                self.state = State::Events(EventStream::default());
            }
            Action::Console => {
                let console = machine.console.as_mut().ok_or_else(console::elsewhere)?;
                let at = console.attach(self.id)?;
                self.send(console::HEAD, now);
                self.state = State::Console { at };
            }
        }
        Ok(())
    }

    /// The machine has answered.
    pub(in crate::api) fn answer(
        &mut self,
        outcome: Result<Reply>,
        now: Instant,
        machine: &mut Machine,
    ) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Waiting {
                translate,
                close,
                head_only,
            } => {
                let response = outcome.map_err(Failure::from).and_then(translate);
                let response = response.unwrap_or_else(|failure| Response::from(&failure));
                self.respond(&response.only_head(head_only), close, now);
                self.advance(now, machine);
            }
            // Only who waits is answered.
            other => self.state = other,
        }
    }

    /// Sends `response`; with `close`, it is the last.
    pub(super) fn respond(&mut self, response: &Response, close: bool, now: Instant) {
        if self.outgoing.is_empty() {
            self.since = now;
        }
        response.write(self.outgoing.at(now), close);
        self.state = match close {
            true => State::Closing,
            false => State::Reading { told: false },
        };
    }
}
