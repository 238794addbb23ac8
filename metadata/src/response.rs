//! A response of the metadata service, and how it is written (RFC 9112 §4).

use crate::options::HopLimit;

/// Status codes that are sent (RFC 9110 §15, RFC 6585 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Here it is.
    Ok = 200,
    /// The request is none, or lacks a time to live that can be.
    BadRequest = 400,
    /// The token is missing, ended, or none.
    Unauthorized = 401,
    /// The service is turned off, or the request came through a proxy.
    Forbidden = 403,
    /// The instance has no such thing.
    NotFound = 404,
    /// That cannot be done with this path.
    MethodNotAllowed = 405,
    /// The request has a body, and a long one.
    ContentTooLarge = 413,
    /// Too many headers, or too long.
    HeadersTooLarge = 431,
    /// The body is encoded.
    NotImplemented = 501,
    /// The guest asks too often.
    Unavailable = 503,
    /// Neither HTTP/1.0 nor 1.1.
    HttpVersion = 505,
}

impl Status {
    fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::BadRequest => "Bad Request",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::ContentTooLarge => "Content Too Large",
            Self::HeadersTooLarge => "Request Header Fields Too Large",
            Self::NotImplemented => "Not Implemented",
            Self::Unavailable => "Service Unavailable",
            Self::HttpVersion => "HTTP Version Not Supported",
        }
    }
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// How it went.
    pub status: Status,
    /// What was asked for, or the status in words.
    pub body: Vec<u8>,
    /// The methods that the path has, with a 405.
    pub allow: Option<&'static str>,
    /// With a token: how many seconds it lives.
    pub time_to_live: Option<u32>,
    /// With a token: how far the packets of this response may go, which the
    /// caller sets on its socket (`IP_TTL`) before it sends it.
    pub hop_limit: Option<HopLimit>,
}

impl Response {
    /// `body` was asked for, and here it is.
    pub fn of(body: Vec<u8>) -> Self {
        Self {
            status: Status::Ok,
            body,
            allow: None,
            time_to_live: None,
            hop_limit: None,
        }
    }

    /// No, and why in one line.
    pub fn refusal(status: Status) -> Self {
        Self {
            status,
            ..Self::of(format!("{}\n", status.reason()).into_bytes())
        }
    }

    /// Appends the response to `out`; without the body if only the head was
    /// asked for. Its headers are the same then (RFC 9110 §9.3.2).
    pub fn write(&self, out: &mut Vec<u8>, connection: Option<&'static str>, head_only: bool) {
        let (status, length) = (self.status, self.body.len());
        let kind = match str::from_utf8(&self.body) {
            Ok(_) => "text/plain",
            Err(_) => "application/octet-stream",
        };
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n",
            status as u16,
            status.reason()
        );
        if let Some(allow) = self.allow {
            head += &format!("Allow: {allow}\r\n");
        }
        if let Some(seconds) = self.time_to_live {
            head += &format!("X-Aws-Ec2-Metadata-Token-Ttl-Seconds: {seconds}\r\n");
        }
        if let Some(connection) = connection {
            head += &format!("Connection: {connection}\r\n");
        }
        head += "\r\n";
        out.extend(head.as_bytes());
        if !head_only {
            out.extend(&self.body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(response: &Response, connection: Option<&'static str>, head_only: bool) -> String {
        let mut out = Vec::new();
        response.write(&mut out, connection, head_only);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_body_comes_with_its_type_and_length() {
        let response = Response::of("i-1".into());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(text(&response, None, false), format!("{head}i-1"));
        assert_eq!(text(&response, None, true), head);
        let mut out = Vec::new();
        Response::of(vec![0xFF]).write(&mut out, None, true);
        assert!(
            String::from_utf8(out)
                .unwrap()
                .contains("application/octet-stream")
        );
    }

    #[test]
    fn a_refusal_says_what_would_do() {
        let response = Response {
            allow: Some("PUT"),
            ..Response::refusal(Status::MethodNotAllowed)
        };
        let expected = "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain\r\n\
                        Content-Length: 19\r\nAllow: PUT\r\nConnection: close\r\n\r\n\
                        Method Not Allowed\n";
        assert_eq!(text(&response, Some("close"), false), expected);
    }
}
