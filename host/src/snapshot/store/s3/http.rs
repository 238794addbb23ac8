//! Requests to an S3 server: signed, made again where that may help, and their
//! answers understood.

use std::io;
use std::thread;
use std::time::Duration;

use rusty_s3::S3Action;
use ureq::http::{Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// How long a signed request is good for.
const VALID: Duration = Duration::from_secs(15 * 60);

/// Pauses before a request is made once more that may go well then.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// Most bytes of a list or of an error that are looked at.
const MOST_XML: u64 = 4 << 20;

/// Makes requests, with so much patience for each connection and wait.
pub(super) fn agent(patience: Duration) -> Agent {
    let certificates = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
    let config = Agent::config_builder()
        .tls_config(certificates.build())
        .http_status_as_error(false)
        .timeout_resolve(Some(patience))
        .timeout_connect(Some(patience))
        .timeout_recv_response(Some(patience))
        .timeout_per_read(Some(patience))
        .timeout_per_write(Some(patience))
        // One for each thread of an upload.
        .max_idle_connections_per_host(16)
        .build();
    Agent::new_with_config(config)
}

/// Where `action` is to be sent.
pub(super) fn signed<'a>(action: &impl S3Action<'a>) -> String {
    action.sign(VALID).into()
}

/// Makes a request, and again if it may go well then.
pub(super) fn tried<T>(request: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for pause in PAUSES {
        match request() {
            Err(error) if is_passing(&error) => thread::sleep(pause),
            result => return result,
        }
    }
    request()
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ResourceBusy
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
    )
}

/// The response, if it says yes.
pub(super) fn accepted(
    response: Result<Response<Body>, ureq::Error>,
) -> io::Result<Response<Body>> {
    let response = response.map_err(|error| match error {
        ureq::Error::Timeout(_) => io::Error::new(io::ErrorKind::TimedOut, error),
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
            io::Error::new(io::ErrorKind::HostUnreachable, error)
        }
        error => error.into_io(),
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let kind = match status {
        StatusCode::NOT_FOUND => io::ErrorKind::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => io::ErrorKind::PermissionDenied,
        StatusCode::PRECONDITION_FAILED => io::ErrorKind::AlreadyExists,
        StatusCode::INSUFFICIENT_STORAGE => io::ErrorKind::StorageFull,
        // Two who write the same at the same time get a conflict.
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => io::ErrorKind::ResourceBusy,
        status if status.is_server_error() => io::ErrorKind::ResourceBusy,
        _ => io::ErrorKind::Other,
    };
    let said = text_of(response).unwrap_or_default();
    let said = match (element(&said, "Code"), element(&said, "Message")) {
        (Some(code), Some(message)) => format!(": {code}: {message}"),
        (Some(code), None) => format!(": {code}"),
        _ => String::new(),
    };
    let said = format!("the server answered {status}{said}");
    Err(io::Error::new(kind, said))
}

/// The text of a response that is not long.
pub(super) fn text_of(response: Response<Body>) -> io::Result<String> {
    let body = response.into_body().into_with_config().limit(MOST_XML);
    body.lossy_utf8(true)
        .read_to_string()
        .map_err(ureq::Error::into_io)
}

/// What stands between the tags `name` in `xml`, cut to what fits a line.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.chars().take(200).collect())
}
