//! A request as its route sees it, and what a route may make of it.

use std::os::fd::OwnedFd;

use super::body::Body;
use super::failure::{Code, Failure};
use super::response::Response;
use super::wire::Nothing;
use crate::command::{Command, Reply};
use crate::description::Description;
use crate::device_name::{BadDeviceName, DeviceName};
use crate::error::Error;

/// A request to one route.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// What stands for `{name}` in the path.
    pub(super) name: String,
    pub(super) body: Body,
    /// The descriptors that came with it, to be taken by a route that wants
    /// some.
    pub(super) descriptors: &'a mut Vec<OwnedFd>,
    /// What the connection is to become.
    pub(super) upgrade: Option<&'a str>,
}

/// What a request leads to.
pub(super) enum Action {
    /// The answer is known.
    Respond(Response),
    /// The machine knows it.
    Ask(Command, Translate),
    /// The answer is a stream of events.
    Events,
    /// The connection becomes the console.
    Console,
}

/// Makes a response of a command's reply.
pub(super) type Translate = Box<dyn FnOnce(Reply) -> Result<Response, Failure> + Send>;

impl Call<'_> {
    /// There are no fields, and nothing but `action` to be done.
    pub(super) fn plainly(self, action: Action) -> Result<Action, Failure> {
        self.body.read::<Nothing>()?;
        Ok(action)
    }

    /// A question that the machine's description answers.
    pub(super) fn describe(
        self,
        answer: impl FnOnce(Description) -> Result<Response, Failure> + Send + 'static,
    ) -> Result<Action, Failure> {
        self.plainly(ask(Command::Describe, |reply| match reply {
            Reply::Description(description) => answer(*description),
            reply => Err(unexpected(&reply)),
        }))
    }

    /// The device that the path names.
    pub(super) fn device(&self) -> Result<DeviceName, Failure> {
        let name = self.name.parse();
        name.map_err(|error: BadDeviceName| Failure::new(Code::UnknownDevice, error.to_string()))
    }

    /// The connection is to become `protocol`.
    pub(super) fn upgrades_to(&self, protocol: &str) -> Result<(), Failure> {
        if self.upgrade == Some(protocol) {
            return Ok(());
        }
        Err(Failure::new(
            Code::MalformedRequest,
            format!(
                "the connection is to become another here; \
                 send Connection: Upgrade and Upgrade: {protocol}"
            ),
        ))
    }
}

/// Has `command` carried out, and `translate` its reply.
pub(super) fn ask(
    command: Command,
    translate: impl FnOnce(Reply) -> Result<Response, Failure> + Send + 'static,
) -> Action {
    Action::Ask(command, Box::new(translate))
}

/// Has `command` carried out, which has nothing to tell.
pub(super) fn order(command: Command) -> Action {
    ask(command, |reply| match reply {
        Reply::Done => Ok(Response::done()),
        reply => Err(unexpected(&reply)),
    })
}

pub(super) fn unexpected(reply: &Reply) -> Failure {
    Error::unexpected_reply(reply).into()
}
