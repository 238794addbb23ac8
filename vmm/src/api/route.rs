//! The list of what can be asked: each method and path, the command that it
//! is, and the response that the command's reply becomes.

use std::os::fd::OwnedFd;

use super::attach;
use super::body::Body;
use super::call::{Action, Call, ask, order, unexpected};
use super::console;
use super::failure::{Code, Failure};
use super::freeze;
use super::limits;
use super::memory::MemoryDocument;
use super::path::{matched, percent_decoded};
use super::request::Head;
use super::response::{Response, Status};
use super::wire::{Balloon, Cpus, Detach, Memory, Size, Stop};
use crate::command::{Command, Reply};
use crate::description::Description;
use crate::device_name::DeviceName;
use crate::error::Error;
use crate::metrics;

/// Something that can be asked.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    lead: fn(Call<'_>) -> Result<Action, Failure>,
}

/// All of it.
pub(super) const ROUTES: &[Route] = &[
    route("GET", "/openapi.json", |call| call.plainly(document())),
    route("GET", "/v1/vm", |call| {
        call.describe(|description| Ok(Response::json(Status::OK, &description)))
    }),
    route("POST", "/v1/vm/pause", |call| {
        call.plainly(order(Command::Pause))
    }),
    route("POST", "/v1/vm/resume", |call| {
        call.plainly(order(Command::Resume))
    }),
    route("POST", "/v1/vm/kill", |call| {
        call.plainly(order(Command::Stop))
    }),
    route("POST", "/v1/vm/stop", |call| {
        let deadline = call.body.read::<Stop>()?.deadline_ms.into();
        Ok(order(Command::Shutdown { deadline }))
    }),
    route("POST", "/v1/vm/press-power-button", |call| {
        call.plainly(order(Command::PressPowerButton))
    }),
    route("POST", "/v1/vm/reset", |call| {
        call.plainly(order(Command::Reset))
    }),
    route("PUT", "/v1/cpus", |call| {
        let count = call.body.read::<Cpus>()?.count.into();
        Ok(order(Command::SetCpus(count)))
    }),
    route("POST", "/v1/devices", |call| {
        let device = attach::read(call.body, call.descriptors)?;
        Ok(ask(Command::Attach(Box::new(device)), attached))
    }),
    route("POST", "/v1/devices/{name}/detach", |call| {
        let device = call.device()?;
        let deadline = call.body.read::<Detach>()?.deadline_ms.into();
        Ok(order(Command::Detach { device, deadline }))
    }),
    route("POST", "/v1/devices/{name}/force-detach", |call| {
        let device = call.device()?;
        call.plainly(order(Command::ForceDetach { device }))
    }),
    route("POST", "/v1/devices/{name}/resize", |call| {
        let device = call.device()?;
        let bytes = call.body.read::<Size>()?.bytes;
        Ok(ask(Command::Resize { device, bytes }, size))
    }),
    route("PUT", "/v1/devices/{name}/limits", |call| {
        let device = call.device()?;
        let limits = limits::read(call.body)?;
        Ok(order(Command::SetLimits { device, limits }))
    }),
    route("POST", "/v1/freeze", |call| {
        let volumes = freeze::read(call.body, call.descriptors)?;
        Ok(ask(Command::Freeze(volumes), freeze::frozen))
    }),
    route("PUT", "/v1/balloon", |call| {
        let target = call.body.read::<Balloon>()?.target_bytes;
        Ok(order(Command::SetBalloon { target }))
    }),
    route("GET", "/v1/memory", |call| call.plainly(memory())),
    route("PUT", "/v1/memory", |call| {
        let bytes = call.body.read::<Memory>()?.bytes;
        Ok(order(Command::SetMemory { bytes }))
    }),
    route("GET", "/metrics", |call| call.plainly(metrics())),
    route("GET", "/v1/devices", |call| {
        call.describe(|description| Ok(Response::json(Status::OK, &description.devices)))
    }),
    route("GET", "/v1/devices/{name}", |call| {
        let name = call.device()?;
        call.describe(move |description| device(&description, &name))
    }),
    route("GET", "/v1/events", |call| call.plainly(Action::Events)),
    route("POST", "/v1/console", |call| {
        call.upgrades_to(console::PROTOCOL)?;
        call.plainly(Action::Console)
    }),
];

const fn route(
    method: &'static str,
    path: &'static str,
    lead: fn(Call<'_>) -> Result<Action, Failure>,
) -> Route {
    Route { method, path, lead }
}

/// This interface's description.
fn document() -> Action {
    let document = include_bytes!("openapi.json");
    Action::Respond(Response::of("application/json", document.to_vec()))
}

/// A new device.
fn attached(reply: Reply) -> Result<Response, Failure> {
    match reply {
        Reply::Attached(device) => Ok(Response::json(Status::CREATED, &device)),
        reply => Err(unexpected(&reply)),
    }
}

/// A disk's size.
fn size(reply: Reply) -> Result<Response, Failure> {
    match reply {
        Reply::Capacity(bytes) => Ok(Response::json(Status::OK, &Size { bytes: Some(bytes) })),
        reply => Err(unexpected(&reply)),
    }
}

/// What the machine has done, for Prometheus.
fn metrics() -> Action {
    ask(Command::Measure, |reply| match reply {
        Reply::Measurements(measurements) => {
            let text = metrics::exposition(&measurements);
            Ok(Response::of(metrics::CONTENT_TYPE, text.into_bytes()))
        }
        reply => Err(unexpected(&reply)),
    })
}

/// How much memory there is.
fn memory() -> Action {
    ask(Command::Memory, |reply| match reply {
        Reply::Memory(status) => {
            let document = MemoryDocument::from(&*status);
            Ok(Response::json(Status::OK, &document))
        }
        reply => Err(unexpected(&reply)),
    })
}

fn device(description: &Description, name: &DeviceName) -> Result<Response, Failure> {
    let devices = &description.devices;
    let found = devices.iter().find(|device| device.name == *name);
    let device = found.ok_or_else(|| {
        let known: Vec<_> = devices.iter().map(|d| d.name.to_string()).collect();
        Error::UnknownDevice {
            name: name.clone(),
            known: known.join(", "),
        }
    })?;
    Ok(Response::json(Status::OK, device))
}

/// What the request of `head` and `body` leads to. It takes the `descriptors`
/// that came if it wants some.
pub(super) fn lead(
    head: &Head,
    body: &[u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<Action, Failure> {
    let path = &head.path;
    let matching = || {
        let found = |route: &'static Route| Some((route, matched(route.path, path)?));
        ROUTES.iter().filter_map(found)
    };
    let method = match head.is_head() {
        true => "GET",
        false => &head.method,
    };
    let Some((route, name)) = matching().find(|(route, _)| route.method == method) else {
        let methods: Vec<_> = matching().map(|(route, _)| route.method).collect();
        return Err(match methods[..] {
            [] => unknown_path(path),
            _ => Failure::method_not_allowed(&head.method, path, allowed(&methods)),
        });
    };
    (route.lead)(Call {
        name: percent_decoded(name)?,
        body: Body::parse(body)?,
        descriptors,
        upgrade: head.upgrade.as_deref(),
    })
}

fn unknown_path(path: &str) -> Failure {
    let mut paths: Vec<_> = ROUTES.iter().map(|route| route.path).collect();
    paths.sort_unstable();
    paths.dedup();
    Failure::new(
        Code::UnknownPath,
        format!(
            "nothing has the path '{path}'; there are {}, and GET /openapi.json describes them",
            paths.join(", ")
        ),
    )
}

/// Whatever is there for GET is there for HEAD (RFC 9110 §9.1).
fn allowed(methods: &[&str]) -> String {
    let both = |method: &&str| match *method {
        "GET" => "GET, HEAD".to_owned(),
        other => other.to_owned(),
    };
    methods.iter().map(both).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::{DeviceDescription, DeviceKind, State};
    use proptest::prelude::*;

    fn asked(method: &str, path: &str, body: &str) -> Result<Action, Failure> {
        let head = Head {
            method: method.into(),
            path: path.into(),
            len: 0,
            body_len: body.len(),
            close: false,
            expects_continue: false,
            upgrade: None,
        };
        lead(&head, body.as_bytes(), &mut Vec::new())
    }

    fn failure(method: &str, path: &str, body: &str) -> Failure {
        asked(method, path, body).err().unwrap()
    }

    #[test]
    fn a_device_is_found_by_its_name() {
        let found = asked("GET", "/v1/devices/a%2Fb%3a", "").unwrap();
        let Action::Ask(Command::Describe, translate) = found else {
            panic!("it is a question to the machine");
        };
        let device = DeviceDescription::new("a/b:".parse().unwrap(), DeviceKind::Net);
        let description = Description {
            state: State::Paused,
            cpus: 1,
            max_cpus: 1,
            memory_bytes: 1,
            devices: vec![device.clone()],
        };
        let response = translate(Reply::Description(Box::new(description.clone())));
        assert_eq!(response, Ok(Response::json(Status::OK, &device)));
        let unknown = super::device(&description, &"a".parse().unwrap()).unwrap_err();
        assert_eq!(unknown.code, Code::UnknownDevice);
        let unknown = format!("{unknown:?}");
        assert!(unknown.contains("there are a/b:"), "{unknown}");
    }

    #[test]
    fn what_is_not_there_is_told_from_what_is_used_wrongly() {
        let nowhere = failure("GET", "/v1", "");
        assert_eq!(nowhere.code, Code::UnknownPath);
        let text = format!("{nowhere:?}");
        assert!(text.contains("/v1/cpus, /v1/devices, "), "{text}");
        let wrong = failure("DELETE", "/v1/vm", "");
        assert_eq!(wrong.code, Code::MethodNotAllowed);
        assert_eq!(wrong.allow.as_deref(), Some("GET, HEAD"));
        let wrong = failure("HEAD", "/v1/vm/pause", "");
        assert_eq!(wrong.allow.as_deref(), Some("POST"));
        let escape = failure("GET", "/v1/devices/%", "");
        assert_eq!(escape.code, Code::MalformedRequest);
        let field = failure("POST", "/v1/vm/pause", r#"{"now":true}"#);
        assert_eq!(field.code, Code::BadValue);
        let not_upgraded = failure("POST", "/v1/console", "");
        assert_eq!(not_upgraded.code, Code::MalformedRequest);
    }

    proptest! {
        #[test]
        fn any_path_leads_somewhere_or_is_refused(path in "(/|v1|vm|devices|%|\\PC){0,9}") {
            let _ = asked("GET", &path, "");
        }
    }
}
