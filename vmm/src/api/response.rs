//! A response, and how it is written (RFC 9112 §4).

use serde::Serialize;

use super::failure::Failure;

/// Status codes that are sent, with their reason phrases (RFC 9110 §15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u16);

impl Status {
    pub(super) const OK: Self = Self(200);
    pub(super) const CREATED: Self = Self(201);
    pub(super) const NO_CONTENT: Self = Self(204);

    fn reason(self) -> &'static str {
        match self.0 {
            200 => "OK",
            201 => "Created",
            204 => "No Content",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            409 => "Conflict",
            411 => "Length Required",
            413 => "Content Too Large",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            505 => "HTTP Version Not Supported",
            _ => "Internal Server Error",
        }
    }
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: Status,
    /// What the body is; none of either to have no body.
    content: Option<(&'static str, Vec<u8>)>,
    /// With a 405.
    allow: Option<String>,
    /// Only the head is sent, and says what would follow.
    head_only: bool,
}

impl Response {
    /// It was done, and there is nothing to say.
    pub(super) fn done() -> Self {
        Self {
            status: Status::NO_CONTENT,
            content: None,
            allow: None,
            head_only: false,
        }
    }

    /// `body`, which is `content_type`.
    pub(super) fn of(content_type: &'static str, body: Vec<u8>) -> Self {
        Self {
            status: Status::OK,
            content: Some((content_type, body)),
            allow: None,
            head_only: false,
        }
    }

    /// `value` as JSON.
    pub(super) fn json(status: Status, value: &impl Serialize) -> Self {
        let mut body =
            serde_json::to_vec(value).expect("values of this interface have text for keys");
        body.push(b'\n');
        Self {
            status,
            ..Self::of("application/json", body)
        }
    }

    /// The same with only its head, if that is all that was asked for: its
    /// headers are those of the whole (RFC 9110 §9.3.2).
    pub(super) fn only_head(self, head_only: bool) -> Self {
        Self { head_only, ..self }
    }

    /// Appends the response to `out`. `close` says that it is the last one on
    /// its connection.
    pub(super) fn write(&self, out: &mut Vec<u8>, close: bool) {
        let status = self.status;
        let mut head = format!("HTTP/1.1 {} {}\r\n", status.0, status.reason());
        if let Some((content_type, body)) = &self.content {
            let length = body.len();
            head += &format!("Content-Type: {content_type}\r\nContent-Length: {length}\r\n");
        } else if status != Status::NO_CONTENT {
            head += "Content-Length: 0\r\n";
        }
        if let Some(allow) = &self.allow {
            head += &format!("Allow: {allow}\r\n");
        }
        if close {
            head += "Connection: close\r\n";
        }
        head += "\r\n";
        out.extend(head.as_bytes());
        if let Some((_, body)) = &self.content
            && !self.head_only
        {
            out.extend(body);
        }
    }
}

impl From<&Failure> for Response {
    fn from(failure: &Failure) -> Self {
        Self {
            allow: failure.allow.clone(),
            ..Self::json(failure.code.status(), &failure.document())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(response: &Response, close: bool) -> String {
        let mut out = Vec::new();
        response.write(&mut out, close);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_body_comes_with_its_type_and_length() {
        let response = Response::json(Status(201), &[1, 2]);
        let expected = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n\
                        Content-Length: 6\r\n\r\n[1,2]\n";
        assert_eq!(text(&response, false), expected);
    }

    #[test]
    fn a_head_alone_tells_how_long_the_body_would_be() {
        let response = Response::json(Status(200), &[1, 2]).only_head(true);
        let expected = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                        Content-Length: 6\r\n\r\n";
        assert_eq!(text(&response, false), expected);
    }

    #[test]
    fn nothing_to_say_has_neither_body_nor_length() {
        let expected = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        assert_eq!(text(&Response::done(), true), expected);
    }
}
