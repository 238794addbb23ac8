//! Rate limits as they are sent: those of a disk, or of a network interface's
//! two directions. What is left out is not limited.

use devices::rate_limit::{BadLimit, Limit, Limits};
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::failure::Failure;
use crate::command::DeviceLimits;
use crate::description::LimitsDescription;

/// Of a network interface.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WireNetLimits {
    receive: Option<LimitsDescription>,
    transmit: Option<LimitsDescription>,
}

/// Reads what `body` holds: a network interface's limits if it names one of
/// its directions, a disk's if not.
pub(super) fn read(body: Body) -> Result<DeviceLimits, Failure> {
    if !body.has("receive") && !body.has("transmit") {
        return check(body.read()?, "").map(DeviceLimits::Disk);
    }
    let net: WireNetLimits = body.read()?;
    Ok(DeviceLimits::Net {
        receive: checked(net.receive, "receive.")?,
        transmit: checked(net.transmit, "transmit.")?,
    })
}

/// The limits that `wire` means, if it is there; `prefix` comes before the
/// names of its fields.
pub(super) fn checked(
    wire: Option<LimitsDescription>,
    prefix: &str,
) -> Result<Option<Limits>, Failure> {
    match wire {
        Some(limits) => check(limits, prefix),
        None => Ok(None),
    }
}

/// `prefix` comes before a field's name.
fn check(limits: LimitsDescription, prefix: &str) -> Result<Option<Limits>, Failure> {
    let operations = limit(
        (limits.operations_per_second, "operations_per_second"),
        (limits.operations_burst, "operations_burst"),
        prefix,
    )?;
    let bytes = limit(
        (limits.bytes_per_second, "bytes_per_second"),
        (limits.bytes_burst, "bytes_burst"),
        prefix,
    )?;
    Ok(Limits::new(operations, bytes))
}

type Field = (Option<u64>, &'static str);

fn limit(rate: Field, burst: Field, prefix: &str) -> Result<Option<Limit>, Failure> {
    let refused = |field: &str, why: &str| {
        let field = format!("{prefix}{field}");
        let message = format!("field '{field}': {why}");
        Failure::in_field(field, message)
    };
    let bad = |field: &'static str| move |error: BadLimit| refused(field, &error.to_string());
    match (rate.0, burst.0) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(refused(
            burst.1,
            &format!("a burst limits nothing without {}", rate.1),
        )),
        (Some(per_second), None) => Limit::per_second(per_second).map(Some).map_err(bad(rate.1)),
        (Some(per_second), Some(at_once)) => Limit::per_second(per_second)
            .map_err(bad(rate.1))?
            .with_burst(at_once)
            .map(Some)
            .map_err(bad(burst.1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<DeviceLimits, Failure> {
        read(Body::parse(text.as_bytes())?)
    }

    #[test]
    fn a_disk_has_limits_of_its_own_and_a_network_interface_of_each_direction() {
        let limit = |rate| Some(Limit::per_second(rate).unwrap());
        let both = Limits::new(limit(3000), limit(1 << 20));
        let text = r#"{"operations_per_second":3000,"bytes_per_second":1048576}"#;
        assert_eq!(parsed(text), Ok(DeviceLimits::Disk(both)));
        assert_eq!(parsed("{}"), Ok(DeviceLimits::Disk(None)));
        let net = DeviceLimits::Net {
            receive: both,
            transmit: None,
        };
        let text = format!("{{\"receive\":{text},\"transmit\":null}}");
        assert_eq!(parsed(&text), Ok(net));
        let burst = limit(100).unwrap().with_burst(7).unwrap();
        let text = r#"{"operations_per_second":100,"operations_burst":7}"#;
        let limits = Limits::new(Some(burst), None);
        assert_eq!(parsed(text), Ok(DeviceLimits::Disk(limits)));
    }

    #[test]
    fn limits_that_cannot_be_are_refused_by_their_fields_names() {
        for (text, field) in [
            (r#"{"operations_per_second":0}"#, "operations_per_second"),
            (r#"{"bytes_per_second":-1}"#, "bytes_per_second"),
            (r#"{"bytes_per_second":1e30}"#, "bytes_per_second"),
            (
                r#"{"bytes_per_second":18446744073709551615}"#,
                "bytes_per_second",
            ),
            (r#"{"operations_burst":1}"#, "operations_burst"),
            (
                r#"{"receive":{"bytes_per_second":0}}"#,
                "receive.bytes_per_second",
            ),
            (r#"{"transmit":{"speed":1}}"#, "transmit.speed"),
            (
                r#"{"receive":null,"bytes_per_second":1}"#,
                "bytes_per_second",
            ),
        ] {
            let failure = parsed(text).unwrap_err();
            let document = serde_json::to_value(failure.document()).unwrap();
            assert_eq!(document["error"]["field"], field, "{text}");
        }
    }
}
