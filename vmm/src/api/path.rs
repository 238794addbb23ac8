//! Paths of requests, matched with patterns in which `{name}` stands for one
//! segment of any text.

use super::failure::{Code, Failure};

/// If `path` has the form of `pattern`, the segment that stands for `{name}`,
/// as it was sent; empty if there is none.
pub(super) fn matched<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let mut name = "";
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        match expected {
            "{name}" if !segment.is_empty() => name = segment,
            _ if segment == expected => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(name)
}

/// `text` with its percent escapes resolved (RFC 3986 §2.1).
pub(super) fn percent_decoded(text: &str) -> Result<String, Failure> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let escape = rest.split_at_checked(2).and_then(|(digits, after)| {
            rest = after;
            let high = char::from(digits[0]).to_digit(16)?;
            let low = char::from(digits[1]).to_digit(16)?;
            u8::try_from(high << 4 | low).ok()
        });
        bytes.push(escape.ok_or_else(bad_escape)?);
    }
    String::from_utf8(bytes).map_err(|_| bad_escape())
}

fn bad_escape() -> Failure {
    let message = "the path has a '%' that is not followed by two digits of a byte of UTF-8";
    Failure::new(Code::MalformedRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_one_segment_and_not_empty() {
        let pattern = "/v1/devices/{name}/limits";
        assert_eq!(matched(pattern, "/v1/devices/a%2Fb/limits"), Some("a%2Fb"));
        assert_eq!(matched("/v1/vm", "/v1/vm"), Some(""));
        for path in [
            "/v1/devices//limits",
            "/v1/devices/a/b/limits",
            "/v1/devices/a",
            "",
        ] {
            assert_eq!(matched(pattern, path), None, "{path}");
        }
        for path in ["/v1/vm/", "/v1/vm?x", "//v1/vm", "v1/vm", "/V1/vm"] {
            assert_eq!(matched("/v1/vm", path), None, "{path}");
        }
    }

    #[test]
    fn an_escape_that_is_none_is_refused() {
        for text in ["%", "%4", "%zz", "%ff", "a%2"] {
            let failure = percent_decoded(text).unwrap_err();
            assert_eq!(failure.code, Code::MalformedRequest, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_decoded_or_refused(text in "(%|\\PC){0,9}") {
            let _ = percent_decoded(&text);
        }

        #[test]
        fn what_is_escaped_comes_back(text in "\\PC{0,20}") {
            let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(percent_decoded(&escaped).unwrap(), text);
        }
    }
}
