//! A store in a bucket of any object store that speaks S3.
//!
//! Requests are signed by rusty-s3 and sent by ureq, both kept well. They block
//! the thread that makes them, as everything else here does, so that plinth
//! needs no async runtime; object_store, the other candidate, brings one, and twice
//! the crates. TLS is rustls, with the certificates that the system
//! trusts. Nothing outside of this folder knows of either crate.
//!
//! An object is there whole or not at all, and durable, once S3 has answered.
//! `If-None-Match: *` keeps what is there; a server that does not know it
//! replaces the object by an equal one.

mod http;
mod settings;

use std::io::{self, Read};

use rusty_s3::actions::ListObjectsV2;
use rusty_s3::{Bucket, Credentials, UrlStyle};
use ureq::{Agent, Body, SendBody};

use crate::error::Error;

use super::{Freed, Kind, Name, Object, Put, Store, StoreError, Visitor};

use http::{accepted, agent, signed, text_of, tried};

pub use settings::Settings;

/// Names on a page of a list; more a server need not give (ListObjectsV2,
/// MaxKeys).
const PAGE: usize = 1000;

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

#[cfg(test)]
mod tests;
