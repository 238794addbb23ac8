//! A machine by its name, and its answers to what is asked of it.

use std::time::Duration;

use serde_json::Value;

use super::request::Request;
use super::{Client, Failure, PATIENCE, Refusal};
use crate::error::Error;
use crate::registry::Registry;
use crate::registry::machine::Machine;
use crate::registry::name::VmName;

/// A living machine that is listening.
#[derive(Debug)]
pub struct Connection {
    /// Where it was found.
    pub registry: Registry,
    /// What it was when it was found.
    pub machine: Machine,
    client: Client,
}

impl Connection {
    /// Connects to the machine called `name`.
    ///
    /// # Errors
    /// There is none, it has ended, or it does not listen.
    pub fn open(name: &VmName) -> Result<Self, Error> {
        let registry = Registry::of_this_user()?;
        let machine = registry.find(name)?;
        machine.expect_alive()?;
        let client = Client::connect(&machine.socket())
            .map_err(|failure| explain(failure, &registry, name))?;
        Ok(Self {
            registry,
            machine,
            client,
        })
    }

    /// What the machine is called.
    pub fn name(&self) -> &VmName {
        self.machine.name()
    }

    /// Has `request` carried out.
    ///
    /// # Errors
    /// It was not.
    pub fn ask(&mut self, request: &Request<'_>) -> Result<(), Error> {
        self.ask_with_patience(request, PATIENCE)
    }

    /// Has `request` carried out, which may take until `patience` ends.
    ///
    /// # Errors
    /// It was not.
    pub fn ask_with_patience(
        &mut self,
        request: &Request<'_>,
        patience: Duration,
    ) -> Result<(), Error> {
        self.try_ask(request, patience)
            .map_err(|failure| self.explain(failure))
            .map(drop)
    }

    /// Has `request` carried out; why it was not is for the caller to say.
    pub fn try_ask(
        &mut self,
        request: &Request<'_>,
        patience: Duration,
    ) -> Result<Vec<u8>, Failure> {
        self.client.ask(request, patience)
    }

    /// Asks for a text.
    ///
    /// # Errors
    /// It was refused.
    pub fn text(&mut self, request: &Request<'_>) -> Result<String, Error> {
        let bytes = self
            .try_ask(request, PATIENCE)
            .map_err(|failure| self.explain(failure))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Asks for a JSON document.
    ///
    /// # Errors
    /// It was refused, or is none.
    pub fn document(&mut self, request: &Request<'_>) -> Result<Value, Error> {
        self.document_with_patience(request, PATIENCE)
    }

    /// Asks for a JSON document, which may take until `patience` ends.
    ///
    /// # Errors
    /// It was refused, or is none.
    pub fn document_with_patience(
        &mut self,
        request: &Request<'_>,
        patience: Duration,
    ) -> Result<Value, Error> {
        let bytes = self
            .try_ask(request, patience)
            .map_err(|failure| self.explain(failure))?;
        serde_json::from_slice(&bytes)
            .map_err(|_| self.explain(Failure::Nonsense("it is not JSON")))
    }

    /// Hands the connection over to who speaks another way on it.
    pub fn into_client(self) -> Client {
        self.client
    }

    /// What a failure means to the user.
    pub fn explain(&self, failure: Failure) -> Error {
        explain(failure, &self.registry, self.name())
    }
}

/// What a failure to talk to the machine `name` means to the user. A machine
/// that has ended meanwhile is the commonest reason.
pub fn explain(failure: Failure, registry: &Registry, name: &VmName) -> Error {
    let failure = match failure {
        Failure::Refused(refusal) => return refused(&refusal, name),
        failure => failure,
    };
    let ended = registry
        .find(name)
        .and_then(|machine| machine.expect_alive());
    match ended {
        Err(error) => error,
        Ok(()) => Error::unexpected(format!("machine '{name}' cannot be talked to"))
            .because(failure)
            .remedy(format!(
                "once more; plinth vm kill {name} ends a machine that does not answer"
            )),
    }
}

fn refused(refusal: &Refusal, name: &VmName) -> Error {
    let message = format!("machine '{name}': {}", refusal.message);
    // A fault of the request's is the user's; of the server's it is not.
    if refusal.status < 500 {
        Error::configuration(message)
    } else {
        Error::unexpected(message)
    }
}
