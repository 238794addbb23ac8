//! The list of what can be asked: each method and path, the command that it
//! is, and the response that the command's reply becomes.

use super::body::Body;
use super::failure::{Code, Failure};
use super::response::{Response, Status};
use super::wire::Nothing;
use crate::command::{Command, Reply};
use crate::description::Description;
use crate::error::Error;

/// A request as a route sees it.
#[derive(Debug)]
pub(super) struct Call {
    /// What stands for `{name}` in the path.
    name: String,
    pub(super) body: Body,
}

/// What a request leads to.
pub(super) enum Action {
    /// The machine knows it.
    Ask(Command, Translate),
    /// The answer is a stream of events.
    Events,
}

/// Makes a response of a command's reply.
pub(super) type Translate = Box<dyn FnOnce(Reply) -> Result<Response, Failure> + Send>;

struct Route {
    method: &'static str,
    /// `{name}` stands for one segment of any text.
    path: &'static str,
    call: fn(Call) -> Result<Action, Failure>,
}

const fn route(
    method: &'static str,
    path: &'static str,
    call: fn(Call) -> Result<Action, Failure>,
) -> Route {
    Route { method, path, call }
}

const ROUTES: &[Route] = &[
    route("GET", "/v1/vm", |call| {
        call.describe(|description| Ok(Response::json(Status::OK, &description)))
    }),
    route("POST", "/v1/vm/pause", |call| call.simply(Command::Pause)),
    route("POST", "/v1/vm/resume", |call| call.simply(Command::Resume)),
    route("POST", "/v1/vm/kill", |call| call.simply(Command::Stop)),
    route("GET", "/v1/devices", |call| {
        call.describe(|description| Ok(Response::json(Status::OK, &description.devices)))
    }),
    route("GET", "/v1/devices/{name}", |call| {
        let name = call.name.clone();
        call.describe(move |description| device(&description, &name))
    }),
    route("GET", "/v1/events", |call| {
        call.body.read::<Nothing>()?;
        Ok(Action::Events)
    }),
];

impl Call {
    /// A command without fields and with nothing to answer.
    fn simply(self, command: Command) -> Result<Action, Failure> {
        self.body.read::<Nothing>()?;
        Ok(ask_to(command))
    }

    /// A question that the machine's description answers.
    fn describe(
        self,
        answer: impl FnOnce(Description) -> Result<Response, Failure> + Send + 'static,
    ) -> Result<Action, Failure> {
        self.body.read::<Nothing>()?;
        let translate = move |reply| match reply {
            Reply::Description(description) => answer(*description),
            reply => Err(unexpected(&reply)),
        };
        Ok(Action::Ask(Command::Describe, Box::new(translate)))
    }
}

/// Has something done.
fn ask_to(command: Command) -> Action {
    let translate = |reply| match reply {
        Reply::Done => Ok(Response::done()),
        reply => Err(unexpected(&reply)),
    };
    Action::Ask(command, Box::new(translate))
}

fn unexpected(reply: &Reply) -> Failure {
    Error::unexpected_reply(reply).into()
}

fn device(description: &Description, name: &str) -> Result<Response, Failure> {
    let mut devices = description.devices.iter();
    match devices.find(|device| device.name.to_string() == name) {
        Some(device) => Ok(Response::json(Status::OK, device)),
        None => Err(Failure::new(
            Code::UnknownDevice,
            format!("there is no device '{name}'; GET /v1/devices lists them"),
        )),
    }
}

/// What the request `method` of `path` with `body` leads to.
pub(super) fn lead(method: &str, path: &str, body: &[u8]) -> Result<Action, Failure> {
    let matching = || {
        let named = |route| Some((route, matched(route, path)?));
        ROUTES.iter().filter_map(move |route: &Route| named(route))
    };
    let Some((route, name)) = matching().find(|(route, _)| route.method == method) else {
        let methods: Vec<_> = matching().map(|(route, _)| route.method).collect();
        return Err(match methods[..] {
            [] => Failure::new(
                Code::UnknownPath,
                format!("nothing has the path '{path}'; GET /openapi.json lists all"),
            ),
            _ => Failure::method_not_allowed(method, path, methods.join(", ")),
        });
    };
    let name = percent_decoded(name)?;
    let body = Body::parse(body)?;
    (route.call)(Call { name, body })
}

/// If `route` has `path`, what stands for `{name}` in it.
fn matched<'a>(route: &Route, path: &'a str) -> Option<&'a str> {
    let mut name = "";
    let mut segments = path.split('/');
    for pattern in route.path.split('/') {
        let segment = segments.next()?;
        match pattern {
            "{name}" if !segment.is_empty() => name = segment,
            _ if segment == pattern => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(name)
}

/// `text` with its percent escapes resolved (RFC 3986 §2.1).
fn percent_decoded(text: &str) -> Result<String, Failure> {
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

    fn failure(method: &str, path: &str, body: &str) -> Failure {
        lead(method, path, body.as_bytes()).err().unwrap()
    }

    #[test]
    fn a_path_is_found_and_its_name_decoded() {
        let found = lead("GET", "/v1/devices/a%2Fb%3a", b"").unwrap();
        let Action::Ask(Command::Describe, translate) = found else {
            panic!("it is a question to the machine");
        };
        let description = Description {
            state: crate::description::State::Paused,
            cpus: 1,
            memory_bytes: 1,
            devices: vec![crate::description::DeviceDescription {
                name: "a/b:".parse().unwrap(),
                kind: crate::description::DeviceKind::Net,
            }],
        };
        let response = translate(Reply::Description(Box::new(description.clone()))).unwrap();
        assert_eq!(
            response,
            Response::json(Status::OK, &description.devices[0])
        );
        let unknown = device(&description, "a").unwrap_err();
        assert_eq!(unknown.code, Code::UnknownDevice);
    }

    #[test]
    fn what_is_not_there_is_told_from_what_is_used_wrongly() {
        for path in [
            "/",
            "",
            "/v1",
            "/v1/vm/",
            "//v1/vm",
            "/v1/devices/",
            "/v1/vm?x",
            "/V1/vm",
        ] {
            assert_eq!(failure("GET", path, "").code, Code::UnknownPath, "{path}");
        }
        let wrong = failure("DELETE", "/v1/vm", "");
        assert_eq!(wrong.code, Code::MethodNotAllowed);
        assert_eq!(wrong.allow.as_deref(), Some("GET"));
        for escape in ["%", "%4", "%zz", "%ff"] {
            let code = failure("GET", &format!("/v1/devices/{escape}"), "").code;
            assert_eq!(code, Code::MalformedRequest, "{escape}");
        }
        let field = failure("POST", "/v1/vm/pause", r#"{"now":true}"#);
        assert_eq!(field.code, Code::BadValue);
    }

    proptest! {
        #[test]
        fn any_path_leads_somewhere_or_is_refused(path in "(/|v1|vm|devices|%|\\PC){0,9}") {
            let _ = lead("GET", &path, b"");
        }

        #[test]
        fn what_is_escaped_comes_back(text in "\\PC{0,20}") {
            let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(percent_decoded(&escaped).unwrap(), text);
        }
    }
}
