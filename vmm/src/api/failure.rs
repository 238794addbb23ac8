//! Why a request was not carried out, as the client is told.

use std::error::Error as _;

use serde::{Deserialize, Serialize};

use super::response::Status;
use crate::error::{Error, ErrorKind};

/// What kind of failure it is: what a client's program looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Code {
    /// It is not HTTP/1.1.
    MalformedRequest,
    /// A field of the body is missing, unknown or has an impossible value, or
    /// a device cannot stand on the descriptor that was passed.
    BadValue,
    /// Nothing has this path.
    UnknownPath,
    /// No device has this name.
    UnknownDevice,
    /// The path has other methods.
    MethodNotAllowed,
    /// The request was not there in time.
    TooSlow,
    /// The machine's state, or something else in it, stands against it.
    Conflict,
    /// The body's length is not told beforehand.
    LengthRequired,
    /// The body is too long.
    BodyTooLarge,
    /// Request line and headers are too long.
    HeadersTooLarge,
    /// The host refused.
    Host,
    /// A defect of this program.
    Internal,
    /// There is too much in progress already.
    Busy,
    /// The machine has stopped.
    Stopped,
    /// The guest did not answer in time.
    GuestTimeout,
    /// It is another version of HTTP.
    HttpVersion,
}

impl Code {
    /// All of them.
    #[cfg(test)]
    pub(super) const ALL: [Self; 16] = [
        Self::MalformedRequest,
        Self::BadValue,
        Self::UnknownPath,
        Self::UnknownDevice,
        Self::MethodNotAllowed,
        Self::TooSlow,
        Self::Conflict,
        Self::LengthRequired,
        Self::BodyTooLarge,
        Self::HeadersTooLarge,
        Self::Host,
        Self::Internal,
        Self::Busy,
        Self::Stopped,
        Self::GuestTimeout,
        Self::HttpVersion,
    ];

    /// The status that goes with it.
    pub(super) fn status(self) -> Status {
        Status(match self {
            Self::MalformedRequest | Self::BadValue => 400,
            Self::UnknownPath | Self::UnknownDevice => 404,
            Self::MethodNotAllowed => 405,
            Self::TooSlow => 408,
            Self::Conflict => 409,
            Self::LengthRequired => 411,
            Self::BodyTooLarge => 413,
            Self::HeadersTooLarge => 431,
            Self::Host | Self::Internal => 500,
            Self::Busy | Self::Stopped => 503,
            Self::GuestTimeout => 504,
            Self::HttpVersion => 505,
        })
    }
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: Code,
    /// What, which, why, and what to do.
    message: String,
    /// The offending field of the body.
    field: Option<String>,
    /// The methods that a path does have.
    pub(super) allow: Option<String>,
}

/// The body that tells of a failure.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FailureDocument {
    error: FailureFields,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FailureFields {
    code: Code,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            allow: None,
        }
    }

    /// The fault is in `field` of the body.
    pub(super) fn in_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..Self::new(Code::BadValue, message)
        }
    }

    /// The path has only the methods `allow`.
    pub(super) fn method_not_allowed(method: &str, path: &str, allow: String) -> Self {
        Self {
            allow: Some(allow.clone()),
            ..Self::new(
                Code::MethodNotAllowed,
                format!("{path} has no {method}; use {allow}"),
            )
        }
    }

    pub(super) fn document(&self) -> FailureDocument {
        FailureDocument {
            error: FailureFields {
                code: self.code,
                message: self.message.clone(),
                field: self.field.clone(),
            },
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Stopped => Code::Stopped,
            Error::UnknownDevice { .. } => Code::UnknownDevice,
            // The descriptor that was passed is no disk or no tap.
            Error::Device { .. } => Code::BadValue,
            error => match error.kind() {
                ErrorKind::Configuration => Code::Conflict,
                ErrorKind::Host => Code::Host,
                ErrorKind::Guest => Code::GuestTimeout,
                ErrorKind::Internal => Code::Internal,
            },
        };
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message += &format!(": {cause}");
            source = cause.source();
        }
        Self::new(code, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn an_error_of_the_machine_is_told_with_all_its_causes() {
        let error = Error::host("a thread")(io::Error::other("no room"));
        let failure = Failure::from(error);
        assert_eq!(failure.code.status().0, 500);
        let text = serde_json::to_string(&failure.document()).unwrap();
        let expected =
            r#"{"error":{"code":"host","message":"the host refused a thread: no room"}}"#;
        assert_eq!(text, expected);
        assert_eq!(Failure::from(Error::Stopped).code, Code::Stopped);
        let resting = Error::GuestRests("data".parse().unwrap());
        assert_eq!(Failure::from(resting).code, Code::Conflict);
        let unfit = Error::device("disk a")(io::Error::other("it is a directory"));
        assert_eq!(Failure::from(unfit).code.status().0, 400);
    }
}
