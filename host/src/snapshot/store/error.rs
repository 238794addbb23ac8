//! Why a store did not do what it was asked.

use std::io;

use crate::error::Error;

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No such object.
    Missing,
    /// No room.
    Full,
    /// Not for this user.
    Denied,
    /// Nobody answers.
    Unreachable,
    /// Something else.
    Other,
}

/// A failure of a store.
#[derive(Debug, thiserror::Error)]
#[error("snapshot store {store}: {what}")]
pub struct StoreError {
    /// What kind of trouble it is.
    pub trouble: Trouble,
    /// Which store.
    store: String,
    /// What could not be done with which object.
    what: String,
    /// Why.
    source: io::Error,
}

impl StoreError {
    /// `store` cannot do `what` because of `source`, of which the trouble is
    /// told.
    pub(super) fn new(store: &str, what: String, source: io::Error) -> Self {
        let trouble = match source.kind() {
            io::ErrorKind::NotFound => Trouble::Missing,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Trouble::Full,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Trouble::Denied,
            io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted => Trouble::Unreachable,
            _ => Trouble::Other,
        };
        Self {
            trouble,
            store: store.into(),
            what,
            source,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let remedy = match error.trouble {
            Trouble::Full => Some("making room, or plinth snapshot collect"),
            Trouble::Denied => Some("credentials or permissions for it, or another --store"),
            Trouble::Unreachable => Some("the same once it answers, or another --store"),
            Trouble::Missing | Trouble::Other => None,
        };
        let message = error.to_string();
        let error = Self::host(message).because(error.source);
        match remedy {
            Some(remedy) => error.remedy(remedy),
            None => error,
        }
    }
}
