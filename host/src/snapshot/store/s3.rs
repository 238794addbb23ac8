//! A store in a bucket of any object store that speaks S3.
//!
//! Requests are signed by rusty-s3 and sent by ureq, both kept well. They block
//! the thread that makes them, as everything else here does, so that plinth
//! needs no async runtime; object_store, the other candidate, brings one, and
//! three times the crates. TLS is rustls, with the certificates that the system
//! trusts. No other file knows of either crate.
//!
//! An object is there whole or not at all, and durable, once S3 has answered.
//! `If-None-Match: *` keeps what is there; a server that does not know it
//! replaces the object by an equal one.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use rusty_s3::actions::ListObjectsV2;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use ureq::http::{Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, SendBody};

use crate::error::Error;

use super::{Freed, Kind, Name, Object, Put, Store, StoreError, Visitor};

/// Patience with a server, see [`Settings::patience`].
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a signed request is good for.
const VALID: Duration = Duration::from_secs(15 * 60);

/// Pauses before a request is made once more that may go well then.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// Names on a page of a list; more a server need not give (ListObjectsV2,
/// MaxKeys).
const PAGE: usize = 1000;

/// Most bytes of a list or of an error that are looked at.
const MOST_XML: u64 = 4 << 20;

/// How to reach a server, and as whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is, as in `http://127.0.0.1:9000`; `None`: Amazon's of the
    /// region.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: String,
    /// Who asks; `None`: anybody.
    pub credentials: Option<Credentials>,
    /// How long a connection may take, and each wait for the next bytes.
    pub patience: Duration,
}

impl Settings {
    /// As the usual variables say: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL,
    /// AWS_REGION or AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (AWS SDKs and Tools
    /// Reference Guide).
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.trim().is_empty());
        let either = |one, other| variable(one).or_else(|| variable(other));
        let credentials = || {
            let key = variable("AWS_ACCESS_KEY_ID")?;
            let secret = variable("AWS_SECRET_ACCESS_KEY")?;
            Some(match variable("AWS_SESSION_TOKEN") {
                Some(token) => Credentials::new_with_token(key, secret, token),
                None => Credentials::new(key, secret),
            })
        };
        Self {
            endpoint: either("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
            region: either("AWS_REGION", "AWS_DEFAULT_REGION").unwrap_or("us-east-1".into()),
            credentials: credentials(),
            patience: PATIENCE,
        }
    }
}

/// A bucket with objects.
pub struct S3 {
    agent: Agent,
    bucket: Bucket,
    credentials: Option<Credentials>,
    prefix: String,
    page: usize,
    shown: String,
}

impl S3 {
    /// The store in `bucket` whose names begin with `prefix` and a slash.
    ///
    /// # Errors
    /// The endpoint is no URL of a server.
    pub fn new(bucket: &str, prefix: &str, settings: Settings) -> Result<Self, Error> {
        let (style, endpoint) = match settings.endpoint {
            // Servers of one's own seldom have a name for each bucket.
            Some(endpoint) => (UrlStyle::Path, endpoint),
            None => {
                let region = &settings.region;
                let endpoint = format!("https://s3.{region}.amazonaws.com");
                (UrlStyle::VirtualHost, endpoint)
            }
        };
        let wrong = || {
            let what =
                format!("AWS_ENDPOINT_URL is '{endpoint}', which is not the URL of a server");
            Error::configuration(what).remedy("http://HOST:PORT or https://HOST")
        };
        let url = endpoint.parse().map_err(|_| wrong())?;
        let opened = Bucket::new(url, style, bucket.to_owned(), settings.region);
        let opened = opened.map_err(|_| wrong())?;
        let prefix = match prefix {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Ok(Self {
            agent: agent(settings.patience),
            shown: format!("s3://{bucket}/{prefix} at {endpoint}"),
            bucket: opened,
            credentials: settings.credentials,
            prefix,
            page: PAGE,
        })
    }

    fn key(&self, name: &Name) -> String {
        format!("{}{name}", self.prefix)
    }

    fn error(&self, what: String) -> impl FnOnce(io::Error) -> StoreError {
        move |error| StoreError::new(&self.shown, what, error)
    }

    /// Gets an object, until its bytes follow.
    fn get(&self, name: &Name) -> io::Result<Body> {
        let key = self.key(name);
        let action = self.bucket.get_object(self.credentials.as_ref(), &key);
        let response = tried(|| accepted(self.agent.get(signed(&action)).call()))?;
        Ok(response.into_body())
    }

    fn page(&self, prefix: &str, token: Option<&str>) -> io::Result<Page> {
        let mut action = self.bucket.list_objects_v2(self.credentials.as_ref());
        action.with_prefix(prefix);
        action.with_max_keys(self.page);
        if let Some(token) = token {
            action.with_continuation_token(token);
        }
        tried(|| {
            let response = accepted(self.agent.get(signed(&action)).call())?;
            let text = text_of(response)?;
            let page = ListObjectsV2::parse_response(&text).map_err(io::Error::other)?;
            let objects = page.contents.into_iter();
            Ok(Page {
                objects: objects.map(|o| (o.key, o.size.unwrap_or(0))).collect(),
                next: page.next_continuation_token,
            })
        })
    }
}

/// A part of a list.
struct Page {
    objects: Vec<(String, u64)>,
    next: Option<String>,
}

impl Store for S3 {
    fn put(&self, name: &Name, object: Object<'_>) -> Result<Put, StoreError> {
        let key = self.key(name);
        let send = || {
            let action = self.bucket.put_object(self.credentials.as_ref(), &key);
            let mut reader = object.reader();
            let request = self.agent.put(signed(&action));
            let request = request.header("content-length", object.len()?.to_string());
            let request = request.header("if-none-match", "*");
            match accepted(request.send(SendBody::from_reader(&mut reader))) {
                Ok(_) => Ok(Put::Stored),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Put::AlreadyThere),
                Err(error) => Err(error),
            }
        };
        tried(send).map_err(self.error(format!("cannot write {name}")))
    }

    fn open(&self, name: &Name) -> Result<Box<dyn Read + '_>, StoreError> {
        let body = self.get(name);
        let body = body.map_err(self.error(format!("cannot open {name}")))?;
        Ok(Box::new(body.into_with_config().limit(u64::MAX).reader()))
    }

    fn read(&self, name: &Name, most: usize) -> Result<Vec<u8>, StoreError> {
        let whole = || {
            let mut bytes = Vec::new();
            let mut body = self.get(name)?;
            let reader = body.with_config().limit(u64::MAX).reader();
            reader.take(most as u64 + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        tried(whole).map_err(self.error(format!("cannot read {name}")))
    }

    fn exists(&self, name: &Name) -> Result<bool, StoreError> {
        let key = self.key(name);
        let action = self.bucket.head_object(self.credentials.as_ref(), &key);
        match tried(|| accepted(self.agent.head(signed(&action)).call())) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.error(format!("cannot look for {name}"))(error)),
        }
    }

    fn list(&self, kind: Kind, each: &mut Visitor<'_>) -> Result<(), StoreError> {
        let prefix = format!("{}{}/", self.prefix, kind.folder());
        let mut token = None;
        loop {
            let page = self.page(&prefix, token.as_deref());
            let page = page.map_err(self.error(format!("cannot list {}", kind.folder())))?;
            for (key, bytes) in page.objects {
                let name = key.strip_prefix(&self.prefix).unwrap_or_default();
                if let Ok(name) = name.parse() {
                    each(name, bytes)?;
                }
            }
            match page.next {
                Some(next) => token = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn delete(&self, name: &Name) -> Result<bool, StoreError> {
        // S3 does not say whether there was anything.
        if !self.exists(name)? {
            return Ok(false);
        }
        let key = self.key(name);
        let action = self.bucket.delete_object(self.credentials.as_ref(), &key);
        let deleted = tried(|| accepted(self.agent.delete(signed(&action)).call()));
        deleted.map_err(self.error(format!("cannot delete {name}")))?;
        Ok(true)
    }

    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn sweep(&self) -> Result<Freed, StoreError> {
        Ok(Freed::default())
    }
}

fn agent(patience: Duration) -> Agent {
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

fn signed<'a>(action: &impl S3Action<'a>) -> String {
    action.sign(VALID).into()
}

/// Makes a request, and again if it may go well then.
fn tried<T>(request: impl Fn() -> io::Result<T>) -> io::Result<T> {
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
fn accepted(response: Result<Response<Body>, ureq::Error>) -> io::Result<Response<Body>> {
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

fn text_of(response: Response<Body>) -> io::Result<String> {
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

#[cfg(test)]
mod tests;
