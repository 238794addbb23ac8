//! What a monitor is asked by way of its socket.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request, and how monitors are sent it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// HTTP/1.1. Any status of 2xx is success.
    Http {
        /// GET, PUT or POST.
        method: String,
        /// Where.
        path: String,
        /// JSON, if anything.
        body: Option<Value>,
        /// What goes with it (`SCM_RIGHTS`).
        descriptor: Option<Descriptor>,
    },
    /// A command of QEMU's machine protocol (its docs/interop/qmp-spec.rst).
    Qmp {
        /// Which.
        command: String,
        /// Its arguments, if it has any.
        arguments: Option<Value>,
    },
}

/// Something to be opened and sent along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Descriptor {
    /// A file, for reading and writing.
    File(String),
    /// A tap, by its name.
    Tap(String),
}

impl Request {
    /// HTTP without a descriptor.
    pub(crate) fn http(method: &str, path: &str, body: Option<Value>) -> Self {
        Self::Http {
            method: method.to_owned(),
            path: path.to_owned(),
            body,
            descriptor: None,
        }
    }

    /// The same with a descriptor; a command of QMP has none.
    pub(crate) fn with(self, opened: Descriptor) -> Self {
        match self {
            Self::Http {
                method, path, body, ..
            } => Self::Http {
                method,
                path,
                body,
                descriptor: Some(opened),
            },
            qmp @ Self::Qmp { .. } => qmp,
        }
    }

    /// A command of QMP.
    pub(crate) fn qmp(command: &str, arguments: Option<Value>) -> Self {
        Self::Qmp {
            command: command.to_owned(),
            arguments,
        }
    }
}
