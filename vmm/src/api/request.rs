//! A request's head: its first line and headers, parsed and vetted
//! (RFC 9112 §2 to §6). Pure: bytes in, a [`Head`] or a [`Failure`] out.

use httparse::{EMPTY_HEADER, Header};

use super::failure::{Code, Failure};

/// Most bytes of a request's first line and headers.
pub(super) const MAX_HEAD: usize = 8 << 10;

/// Most bytes of its body.
pub(super) const MAX_BODY: usize = 64 << 10;

/// More headers than this are not a client's that means well.
const MAX_HEADERS: usize = 64;

/// What comes before a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: String,
    /// As sent: still percent-encoded, and without a host before it.
    pub(super) path: String,
    /// Bytes of this head.
    pub(super) len: usize,
    /// Bytes of the body that follows.
    pub(super) body_len: usize,
    /// No request follows on this connection.
    pub(super) close: bool,
    /// The client sends the body only when told to.
    pub(super) expects_continue: bool,
    /// What the connection is to become, if anything.
    pub(super) upgrade: Option<String>,
}

impl Head {
    /// Whether only the answer's own head is wanted (RFC 9110 §9.3.2).
    pub(super) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

/// Reads a head from the beginning of `bytes`; none if it is not whole yet.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Head>, Failure> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let window = &bytes[..bytes.len().min(MAX_HEAD)];
    let len = match request.parse(window) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) => {
            return Err(Failure::new(
                Code::HeadersTooLarge,
                format!("the request line and headers have more than {MAX_HEAD} bytes; send less"),
            ));
        }
        Err(error) => return Err(malformed(error)),
    };
    if request.version != Some(1) {
        let why = "only HTTP/1.1 is spoken here";
        return Err(Failure::new(Code::HttpVersion, why));
    }
    let headers = Headers(request.headers);
    if headers.only("host")?.is_none() {
        return Err(bad("a Host header is missing; any value serves"));
    }
    if headers.any("transfer-encoding") {
        return Err(Failure::new(
            Code::LengthRequired,
            "a body of unknown length is not taken; send it with Content-Length",
        ));
    }
    Ok(Some(Head {
        method: request.method.unwrap_or_default().to_owned(),
        path: origin_form(request.path.unwrap_or_default()).to_owned(),
        len,
        body_len: body_len(headers.only("content-length")?)?,
        close: headers.lists("connection", "close"),
        expects_continue: headers.lists("expect", "100-continue"),
        upgrade: match headers.lists("connection", "upgrade") {
            true => headers.only("upgrade")?.map(str::to_owned),
            false => None,
        },
    }))
}

/// The path of a request's target, which a client may send with the scheme and
/// a host before it (RFC 9112 §3.2.2).
fn origin_form(target: &str) -> &str {
    let scheme = target
        .get(..7)
        .filter(|s| s.eq_ignore_ascii_case("http://"));
    let Some(scheme) = scheme else {
        return target;
    };
    let rest = &target[scheme.len()..];
    rest.find('/').map_or("/", |at| &rest[at..])
}

fn bad(message: impl Into<String>) -> Failure {
    Failure::new(Code::MalformedRequest, message)
}

fn malformed(error: httparse::Error) -> Failure {
    match error {
        httparse::Error::TooManyHeaders => Failure::new(
            Code::HeadersTooLarge,
            format!("the request has more than {MAX_HEADERS} headers; send fewer"),
        ),
        error => bad(format!("this is not an HTTP/1.1 request: {error}")),
    }
}

fn body_len(value: Option<&str>) -> Result<usize, Failure> {
    let Some(value) = value else {
        return Ok(0);
    };
    // `parse` would take a sign.
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad("Content-Length is not a number"));
    }
    // A number that does not fit is too large, too.
    let len = value.parse().unwrap_or(usize::MAX);
    if len > MAX_BODY {
        return Err(Failure::new(
            Code::BodyTooLarge,
            format!("the body has more than {MAX_BODY} bytes; no request needs that"),
        ));
    }
    Ok(len)
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
    fn only(&self, name: &'static str) -> Result<Option<&'a str>, Failure> {
        let mut all = self.all(name);
        let Some(value) = all.next() else {
            return Ok(None);
        };
        if all.next().is_some() {
            return Err(bad(format!("the header {name} is there twice")));
        }
        let text = str::from_utf8(value);
        text.map(|text| Some(text.trim()))
            .map_err(|_| bad(format!("the header {name} is not text")))
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

    fn head(text: &str) -> Head {
        parse(text.as_bytes()).unwrap().unwrap()
    }

    fn refusal(text: &str) -> Code {
        parse(text.as_bytes()).unwrap_err().code
    }

    #[test]
    fn a_head_tells_what_is_wanted_and_where_it_ends() {
        let text = "PUT /v1/cpus HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\
                    Connection: close, Upgrade\r\nUpgrade: tea\r\nExpect: 100-continue\r\n\r\n";
        let expected = Head {
            method: "PUT".into(),
            path: "/v1/cpus".into(),
            len: text.len(),
            body_len: 11,
            close: true,
            expects_continue: true,
            upgrade: Some("tea".into()),
        };
        assert_eq!(head(&format!("{text}{{\"count\":4}}GET")), expected);
        for end in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..end]), Ok(None), "at {end}");
        }
    }

    #[test]
    fn a_host_before_the_path_is_left_out() {
        for (target, path) in [
            ("/v1/vm", "/v1/vm"),
            ("http://vm/v1/vm", "/v1/vm"),
            ("HTTP://vm:80/v1/devices/a%2Fb", "/v1/devices/a%2Fb"),
            ("http://vm", "/"),
            ("*", "*"),
        ] {
            let head = head(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!(head.path, path);
        }
    }

    #[test]
    fn an_upgrade_is_one_only_if_connection_says_so() {
        let head = head("POST / HTTP/1.1\r\nHost: x\r\nUpgrade: tea\r\n\r\n");
        assert_eq!(head.upgrade, None);
    }

    #[test]
    fn what_is_ambiguous_or_too_much_is_refused() {
        let with =
            |header: &str| refusal(&format!("GET / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n"));
        for header in [
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: +1",
        ] {
            assert_eq!(with(header), Code::MalformedRequest);
        }
        for length in ["65537", "99999999999999999999999999"] {
            let header = format!("Content-Length: {length}");
            assert_eq!(with(&header), Code::BodyTooLarge);
        }
        assert_eq!(with("Transfer-Encoding: chunked"), Code::LengthRequired);
        assert_eq!(with(&"A: b\r\n".repeat(64)), Code::HeadersTooLarge);
        assert_eq!(with(&"A".repeat(MAX_HEAD)), Code::HeadersTooLarge);
        assert_eq!(refusal("GET / HTTP/1.1\r\n\r\n"), Code::MalformedRequest);
        assert_eq!(refusal("GET / HTTP/1.0\r\n\r\n"), Code::HttpVersion);
        assert_eq!(refusal("\u{16}\u{3}\u{1}"), Code::MalformedRequest);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_head_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_headers_are_good_or_bad(
            lines in prop::collection::vec("(Host|Connection|Content-Length|Upgrade|[a-z]{1,9}):\\PC{0,9}", 0..9)
        ) {
            let text = format!("GET / HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"));
            if let Ok(Some(head)) = parse(text.as_bytes()) {
                prop_assert_eq!(head.len, text.len());
                prop_assert!(head.body_len <= MAX_BODY);
            }
        }
    }
}
