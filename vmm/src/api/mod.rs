//! The control socket: HTTP/1.1 with JSON over a Unix stream socket, so that
//! curl is a client. `GET /openapi.json` describes it.
//!
//! A request is translated into a [`Command`](crate::Command) and the
//! [`Reply`](crate::Reply) into a response: [`route`] is the list of both, and
//! nothing is decided here. One thread serves all clients and waits in one
//! place; the machine's control thread answers through a mailbox. So no
//! client, however slow or hostile, holds up another, the control thread or a
//! vCPU.
//!
//! What bounds a client: 8 KiB of request head, 64 KiB of body, 10 s to send a
//! request and to take something of an answer, 60 s to take all of it, one
//! request in progress, one descriptor; and all of them together: 16 clients, 8
//! of which listen to events.

mod attach;
mod body;
mod call;
mod connection;
mod console;
mod event_line;
mod event_stream;
mod failure;
mod flaw;
mod freeze;
mod json;
mod limits;
mod machine;
mod mailbox;
mod memory;
#[cfg(test)]
mod openapi;
mod outgoing;
mod path;
mod request;
mod response;
mod route;
mod server;
mod service;
mod socket;
mod wire;

pub use server::Server;
pub use socket::MAX_DESCRIPTORS;
