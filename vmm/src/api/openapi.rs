//! The document that describes this interface, checked against it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::attach::{NewDisk, NewNet};
use super::event_line::{EventLine, LOST};
use super::failure::{Code, FailureDocument};
use super::limits::WireNetLimits;
use super::memory::{BalloonDocument, GuestMemory, MemoryDocument};
use super::route::ROUTES;
use super::wire::{Balloon, Cpus, Detach, Freeze, Frozen, Memory, Size, Stop};
use crate::description::{Description, DeviceDescription, DeviceKind, LimitsDescription};
use crate::event::tests::{every_event, every_stop_reason};

fn document() -> Value {
    serde_json::from_str(include_str!("openapi.json")).unwrap()
}

#[test]
fn every_route_is_described_and_everything_described_is_a_route() {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let routes = ROUTES.iter();
    let routed = routes.map(|route| (route.method.to_owned(), route.path.to_owned()));
    assert_eq!(described, routed.collect());
}

#[test]
fn each_path_with_a_name_says_so() {
    for (path, methods) in document()["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().values() {
            let named = method.get("parameters").is_some();
            assert_eq!(named, path.contains("{name}"), "{path}");
        }
    }
}

/// What comes of `example` when it is read and written again.
type RoundTrip = fn(&Value) -> Value;

fn round_trip<T: DeserializeOwned + Serialize>(example: &Value) -> Value {
    let read: T = serde_json::from_value(example.clone()).unwrap();
    serde_json::to_value(&read).unwrap()
}

/// The same of a type whose kind is read before it.
fn beside_kind<T: DeserializeOwned + Serialize>(example: &Value) -> Value {
    let mut rest = example.clone();
    let kind = rest.as_object_mut().unwrap().remove("kind").unwrap();
    let mut written = round_trip::<T>(&rest);
    written["kind"] = kind;
    written
}

#[test]
fn each_schema_has_the_fields_of_its_type() {
    let types: BTreeMap<&str, RoundTrip> = BTreeMap::from([
        ("Balloon", round_trip::<Balloon> as RoundTrip),
        ("BalloonStatus", round_trip::<BalloonDocument>),
        ("Cpus", round_trip::<Cpus>),
        ("Description", round_trip::<Description>),
        ("DeviceDescription", round_trip::<DeviceDescription>),
        ("Detach", round_trip::<Detach>),
        ("Event", round_trip::<EventLine>),
        ("Failure", round_trip::<FailureDocument>),
        ("Freeze", round_trip::<Freeze>),
        ("Frozen", round_trip::<Frozen>),
        ("GuestMemory", round_trip::<GuestMemory>),
        ("Limits", round_trip::<LimitsDescription>),
        ("Memory", round_trip::<Memory>),
        ("MemoryStatus", round_trip::<MemoryDocument>),
        ("NetLimits", round_trip::<WireNetLimits>),
        ("NewDisk", beside_kind::<NewDisk>),
        ("NewNet", beside_kind::<NewNet>),
        ("Size", round_trip::<Size>),
        ("Stop", round_trip::<Stop>),
    ]);
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let described: Vec<_> = schemas.keys().map(String::as_str).collect();
    assert_eq!(described, types.keys().copied().collect::<Vec<_>>());
    for (name, schema) in schemas {
        // The example has every field, and the type knows them all.
        let example = &schema["example"];
        assert_eq!(types[name.as_str()](example), *example, "{name}");
        let fields = |value: &Value| -> BTreeSet<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(fields(&schema["properties"]), fields(example), "{name}");
        for required in schema["required"].as_array().unwrap() {
            assert!(fields(example).contains(required.as_str().unwrap()));
        }
    }
}

/// What `field` of `schema` may be.
fn choices(schema: &str, field: &str) -> Vec<String> {
    let document = document();
    let field = &document["components"]["schemas"][schema]["properties"][field];
    let choices = field["enum"].as_array().unwrap();
    choices
        .iter()
        .map(|c| c.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_event_and_reason_to_stop_is_listed() {
    let events: Vec<_> = every_event().iter().map(|event| event.name()).collect();
    assert_eq!(choices("Event", "event"), [events, vec![LOST]].concat());
    let reasons: Vec<_> = every_stop_reason().iter().map(|r| r.name()).collect();
    assert_eq!(choices("Event", "reason"), reasons);
}

#[test]
fn every_kind_of_device_is_listed() {
    for kind in choices("DeviceDescription", "kind") {
        serde_json::from_value::<DeviceKind>(kind.into()).unwrap();
    }
    let unknown = serde_json::from_value::<DeviceKind>("tape".into()).unwrap_err();
    // Serde lists all.
    let all = unknown.to_string().matches('`').count() / 2 - 1;
    assert_eq!(choices("DeviceDescription", "kind").len(), all);
}

#[test]
fn every_code_is_described_with_its_status() {
    let document = document();
    let codes = &document["components"]["schemas"]["Failure"]["properties"]["error"];
    let listed = codes["properties"]["code"]["enum"].as_array().unwrap();
    let all: Vec<_> = Code::ALL
        .iter()
        .map(|code| serde_json::to_value(code).unwrap())
        .collect();
    assert_eq!(*listed, all);
    let text = document["components"]["responses"]["Failure"]["description"]
        .as_str()
        .unwrap();
    for code in Code::ALL {
        let name = serde_json::to_value(code).unwrap();
        let entry = format!("{} {}", name.as_str().unwrap(), code.status().0);
        assert!(text.contains(&entry), "{entry}");
    }
}
