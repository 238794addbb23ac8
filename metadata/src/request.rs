//! A request to the metadata service: its head, parsed and vetted (RFC 9112 §2
//! to §6). What is ambiguous or too much is refused here, with the response
//! that says so.

use httparse::{EMPTY_HEADER, Header};

use crate::response::{Response, Status};

/// Most bytes of a request's first line and headers.
pub const MAX_HEAD: usize = 8 << 10;

/// Most bytes of its body, which no request needs.
pub const MAX_BODY: usize = 1 << 10;

/// More headers than this are not a client's that means well.
const MAX_HEADERS: usize = 64;

/// What is to be done with the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read it.
    Get,
    /// Read it, but tell only the head of the answer.
    Head,
    /// Make it: a token.
    Put,
    /// Something that nothing here can do.
    Other,
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is to be done.
    pub method: Method,
    /// With what: as sent, but without a host before it and a query after it.
    pub path: String,
    /// `X-aws-ec2-metadata-token`.
    pub token: Option<Vec<u8>>,
    /// `X-aws-ec2-metadata-token-ttl-seconds`.
    pub time_to_live: Option<String>,
    /// Whether it says that it came through a proxy (`X-Forwarded-For`).
    pub forwarded: bool,
    /// Whether the client waits for the connection to be kept, and was made
    /// before that was the rule (HTTP/1.0).
    pub keep_alive: bool,
    /// No request follows on this connection.
    pub close: bool,
    /// Bytes of this head.
    pub len: usize,
    /// Bytes of the body that follows.
    pub body_len: usize,
}

/// Reads a head from the beginning of `bytes`; none if it is not whole yet.
///
/// # Errors
/// It is no request, or more than is taken: the response to it, after which
/// nobody knows where another request would begin.
pub fn parse(bytes: &[u8]) -> Result<Option<Request>, Response> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let window = &bytes[..bytes.len().min(MAX_HEAD)];
    let len = match request.parse(window) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Response::refusal(Status::HeadersTooLarge));
        }
        Err(httparse::Error::Version) => return Err(Response::refusal(Status::HttpVersion)),
        Err(_) => return Err(bad()),
    };
    let old = request.version == Some(0);
    let headers = Headers(request.headers);
    // RFC 9112 §3.2; whose name it has does not matter.
    if headers.only("host")?.is_none() && !old {
        return Err(bad());
    }
    if headers.any("transfer-encoding") {
        return Err(Response::refusal(Status::NotImplemented));
    }
    let keep_alive = old && headers.lists("connection", "keep-alive");
    Ok(Some(Request {
        method: method(request.method.unwrap_or_default()),
        path: path(request.path.unwrap_or_default()).to_owned(),
        token: headers.only("x-aws-ec2-metadata-token")?.map(Into::into),
        time_to_live: headers
            .only("x-aws-ec2-metadata-token-ttl-seconds")?
            .map(|value| String::from_utf8_lossy(value).into_owned()),
        forwarded: headers.any("x-forwarded-for"),
        keep_alive,
        close: headers.lists("connection", "close") || (old && !keep_alive),
        len,
        body_len: body_len(headers.only("content-length")?)?,
    }))
}

fn bad() -> Response {
    Response::refusal(Status::BadRequest)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "PUT" => Method::Put,
        _ => Method::Other,
    }
}

/// The path of a request's target, which may have the scheme and a host before
/// it (RFC 9112 §3.2.2) and a query after it.
fn path(target: &str) -> &str {
    let scheme = target.get(..7);
    let path = match scheme.filter(|scheme| scheme.eq_ignore_ascii_case("http://")) {
        Some(scheme) => {
            let rest = &target[scheme.len()..];
            rest.find('/').map_or("/", |at| &rest[at..])
        }
        None => target,
    };
    path.split(['?', '#']).next().unwrap_or(path)
}

fn body_len(value: Option<&[u8]>) -> Result<usize, Response> {
    let Some(value) = value else {
        return Ok(0);
    };
    // `parse` would take a sign.
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(value)
        .ok()
        .filter(|_| digits)
        .ok_or_else(bad)?;
    // A number that does not fit is too large, too.
    match text.parse().unwrap_or(usize::MAX) {
        len @ 0..=MAX_BODY => Ok(len),
        _ => Err(Response::refusal(Status::ContentTooLarge)),
    }
}

struct Headers<'a>(&'a [Header<'a>]);

impl<'a> Headers<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let named = move |header: &&Header<'_>| header.name.eq_ignore_ascii_case(name);
        self.0.iter().filter(named).map(|header| header.value)
    }

    fn any(&self, name: &'static str) -> bool {
        self.all(name).next().is_some()
    }

    /// The header's value, if it is there. Twice is one too many: two readers
    /// of the request might each take another.
    fn only(&self, name: &'static str) -> Result<Option<&'a [u8]>, Response> {
        let mut all = self.all(name);
        let value = all.next();
        match all.next() {
            None => Ok(value),
            Some(_) => Err(bad()),
        }
    }

    /// Whether `token` is in the header's list.
    fn lists(&self, name: &'static str, token: &str) -> bool {
        let tokens = self.all(name).flat_map(|value| value.split(|b| *b == b','));
        let mut tokens = tokens.map(<[u8]>::trim_ascii);
        tokens.any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(text: &str) -> Request {
        parse(text.as_bytes()).unwrap().unwrap()
    }

    fn refusal(text: &str) -> Status {
        parse(text.as_bytes()).unwrap_err().status
    }

    #[test]
    fn a_request_for_a_token_is_all_there() {
        let text = "PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\n\
                    X-aws-ec2-metadata-token-ttl-seconds: 21600\r\nContent-Length: 2\r\n\r\n";
        let expected = Request {
            method: Method::Put,
            path: "/latest/api/token".into(),
            token: None,
            time_to_live: Some("21600".into()),
            forwarded: false,
            keep_alive: false,
            close: false,
            len: text.len(),
            body_len: 2,
        };
        assert_eq!(request(&format!("{text}xxGET")), expected);
        for end in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..end]), Ok(None), "at {end}");
        }
    }

    #[test]
    fn connections_are_kept_by_the_rules_of_their_version() {
        let with = |version: &str, header: &str| {
            let request = request(&format!(
                "GET / HTTP/{version}\r\nHost: x\r\n{header}\r\n\r\n"
            ));
            (request.keep_alive, request.close)
        };
        assert_eq!(with("1.1", "A: b"), (false, false));
        assert_eq!(with("1.1", "Connection: TE, Close"), (false, true));
        assert_eq!(with("1.0", "A: b"), (false, true));
        assert_eq!(with("1.0", "Connection: keep-alive"), (true, false));
    }

    #[test]
    fn only_the_path_of_a_target_matters() {
        for (target, path) in [
            ("/latest/user-data?x=1", "/latest/user-data"),
            ("http://169.254.169.254/latest/", "/latest/"),
            ("HTTP://x", "/"),
            ("*", "*"),
        ] {
            assert_eq!(
                request(&format!("GET {target} HTTP/1.0\r\n\r\n")).path,
                path
            );
        }
    }

    #[test]
    fn what_is_ambiguous_or_too_much_is_refused() {
        let with =
            |header: &str| refusal(&format!("GET / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n"));
        for header in [
            "Host: y",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: +1",
            "Content-Length:",
            "X-aws-ec2-metadata-token: a\r\nX-Aws-Ec2-Metadata-Token: b",
        ] {
            assert_eq!(with(header), Status::BadRequest, "{header}");
        }
        for length in ["1025", "99999999999999999999999999"] {
            assert_eq!(
                with(&format!("Content-Length: {length}")),
                Status::ContentTooLarge
            );
        }
        assert_eq!(with("Transfer-Encoding: chunked"), Status::NotImplemented);
        assert_eq!(with(&"A: b\r\n".repeat(64)), Status::HeadersTooLarge);
        assert_eq!(with(&"A".repeat(MAX_HEAD)), Status::HeadersTooLarge);
        assert_eq!(refusal("GET / HTTP/1.1\r\n\r\n"), Status::BadRequest);
        assert_eq!(refusal("GET / HTTP/2.0\r\n\r\n"), Status::HttpVersion);
        assert_eq!(refusal("\u{16}\u{3}\u{1}"), Status::BadRequest);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_headers_are_good_or_bad(
            lines in prop::collection::vec(
                "(Host|Connection|Content-Length|X-aws-ec2-metadata-token|[a-z]{1,9}):\\PC{0,9}", 0..9
            )
        ) {
            let text = format!("GET / HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"));
            if let Ok(Some(request)) = parse(text.as_bytes()) {
                prop_assert_eq!(request.len, text.len());
                prop_assert!(request.body_len <= MAX_BODY);
            }
        }
    }
}
