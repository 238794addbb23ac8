use super::super::{
    ConsoleMeasurements, OperationMeasurements, RngMeasurements, VsockMeasurements,
};
use super::*;
use devices::histogram::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A machine with something of everything.
fn measurements() -> Measurements {
    let throttled = ThrottledMeasurements {
        operations: 4,
        time: Duration::from_millis(1500),
    };
    let direction = DirectionMeasurements {
        packets: 10,
        bytes: 1000,
        drops: vec![("oversized", 1), ("port-busy", 0)],
        throttled,
    };
    let mut buckets = [0; devices::histogram::BOUNDS.len() + 1];
    buckets[0] = 2;
    buckets[devices::histogram::BOUNDS.len()] = 1;
    Measurements {
        built: Some(UNIX_EPOCH + Duration::from_millis(1500)),
        vcpus: vec![VcpuMeasurements {
            id: 0,
            exits: Some(100),
            exits_by_reason: vec![("halt".into(), 7), ("io".into(), 9)],
            user_exits: [("port", 1), ("mmio", 2), ("other", 3)],
            cpu_time: Duration::from_secs(3),
            halted: Some(Duration::from_nanos(5)),
        }],
        memory: Some(MemoryStatus {
            boot_bytes: 1 << 29,
            resident_bytes: 1 << 20,
            requested_bytes: 1 << 30,
            plugged_bytes: 1 << 30,
            most_bytes: 1 << 31,
            balloon: Some(crate::memory::BalloonStatus {
                target_bytes: 5,
                actual_bytes: 4,
                inflated_bytes: 3,
                deflated_bytes: 2,
                reported_bytes: 1,
                statistics: None,
            }),
        }),
        disks: vec![DiskMeasurements {
            name: "a\\\"b".parse().unwrap(),
            capacity_bytes: 512,
            operations: vec![OperationMeasurements {
                kind: "read",
                count: 3,
                bytes: Some(4096),
                latency: Snapshot {
                    buckets,
                    sum: Duration::from_secs(12),
                },
            }],
            errors: [("disk", 0), ("refused", 1), ("malformed", 2)],
            waiting: 1,
            held: 2,
            throttled,
        }],
        nets: vec![NetMeasurements {
            name: "net0".parse().unwrap(),
            receive: direction.clone(),
            transmit: direction,
            refused_commands: 9,
        }],
        rngs: vec![RngMeasurements {
            name: "rng".parse().unwrap(),
            requests: 2,
            bytes: 64,
            unfilled: 1,
        }],
        vsocks: vec![VsockMeasurements {
            name: "vsock".parse().unwrap(),
            directions: [("receive", 1, 2), ("transmit", 3, 4)],
            connections: [("guest", 5), ("host", 6)],
            refused: [("refused", 7), ("late-greeting", 8)],
            faults: 9,
        }],
        consoles: vec![ConsoleMeasurements {
            name: "console".parse().unwrap(),
            directions: [("receive", 10), ("transmit", 11)],
            lost_bytes: 12,
            faults: 13,
        }],
    }
}

/// Reads OpenMetrics text strictly, as its specification's grammar has it:
/// each family's metadata first, all its samples together, names and values
/// that belong to its type. Gives samples by name and labels.
fn checked(text: &str) -> BTreeMap<String, f64> {
    let lines = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    let (mut name, mut kind, mut unit) = (String::new(), String::new(), String::new());
    for line in lines.lines() {
        if let Some(metadata) = line.strip_prefix("# ") {
            let mut words = metadata.splitn(3, ' ');
            let mut word = || words.next().expect(line);
            match word() {
                "TYPE" => {
                    (name, kind, unit) = (word().into(), word().into(), String::new());
                    assert!(families.insert(name.clone()), "{name} comes twice");
                    assert!(is_name(&name), "{line}");
                }
                "UNIT" => {
                    assert_eq!(word(), name);
                    unit = word().into();
                    assert!(name.ends_with(&format!("_{unit}")), "{line}");
                }
                "HELP" => {
                    assert_eq!(word(), name);
                    assert!(word().ends_with('.'), "{line}");
                }
                _ => panic!("{line}"),
            }
            continue;
        }
        let (labelled, value) = line.rsplit_once(' ').expect(line);
        let (metric, labels) = labelled.split_once('{').unwrap_or((labelled, "}"));
        check_labels(labels);
        let suffix = metric.strip_prefix(&name).expect(line);
        let allowed: &[&str] = match &*kind {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => panic!("{kind}"),
        };
        assert!(allowed.contains(&suffix), "{line}");
        assert!(kind != "histogram" || unit == "seconds", "{line}");
        let value: f64 = value.parse().expect(line);
        assert!(value >= 0.0 && value.is_finite(), "{line}");
        let before = samples.insert(labelled.to_owned(), value);
        assert!(before.is_none(), "{line} comes twice");
    }
    samples
}

fn is_name(text: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let start = text.bytes().next().is_some_and(letters);
    start
        && text
            .bytes()
            .all(|byte| letters(byte) || byte.is_ascii_digit())
}

/// `name="value",…}` with values escaped.
fn check_labels(mut labels: &str) {
    while labels != "}" {
        let (name, rest) = labels.split_once("=\"").expect(labels);
        assert!(is_name(name), "{labels}");
        let mut escaped = false;
        let end = rest.find(|letter| {
            let end = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            end
        });
        let rest = &rest[end.expect(labels) + 1..];
        labels = rest.strip_prefix(',').unwrap_or(rest);
    }
}

#[test]
fn everything_is_there_in_a_form_that_openmetrics_allows() {
    let samples = checked(&exposition(&measurements()));
    for (sample, value) in [
        ("plinth_start_time_seconds", 1.5),
        ("plinth_vcpu_exits_total{vcpu=\"0\"}", 100.0),
        (
            "plinth_vcpu_exits_by_reason_total{vcpu=\"0\",reason=\"halt\"}",
            7.0,
        ),
        (
            "plinth_vcpu_user_exits_total{vcpu=\"0\",reason=\"mmio\"}",
            2.0,
        ),
        ("plinth_vcpu_cpu_seconds_total{vcpu=\"0\"}", 3.0),
        ("plinth_memory_bytes", 1_073_741_824.0),
        ("plinth_memory_resident_bytes", 1_048_576.0),
        ("plinth_balloon_reported_bytes_total", 1.0),
        (
            "plinth_disk_bytes_total{disk=\"a\\\\\\\"b\",operation=\"read\"}",
            4096.0,
        ),
        (
            "plinth_disk_throttled_seconds_total{disk=\"a\\\\\\\"b\"}",
            1.5,
        ),
        (
            "plinth_net_packets_total{net=\"net0\",direction=\"receive\"}",
            10.0,
        ),
        (
            "plinth_net_drops_total{net=\"net0\",direction=\"transmit\",reason=\"oversized\"}",
            1.0,
        ),
        ("plinth_net_refused_commands_total{net=\"net0\"}", 9.0),
        ("plinth_rng_bytes_total{rng=\"rng\"}", 64.0),
        (
            "plinth_vsock_bytes_total{vsock=\"vsock\",direction=\"transmit\"}",
            4.0,
        ),
        (
            "plinth_vsock_connections_total{vsock=\"vsock\",initiator=\"host\"}",
            6.0,
        ),
        (
            "plinth_vsock_refusals_total{vsock=\"vsock\",reason=\"late-greeting\"}",
            8.0,
        ),
        (
            "plinth_console_bytes_total{console=\"console\",direction=\"receive\"}",
            10.0,
        ),
        ("plinth_console_lost_bytes_total{console=\"console\"}", 12.0),
    ] {
        assert_eq!(samples.get(sample), Some(&value), "{sample}");
    }
    let bucket = |le: &str| {
        let labels = "disk=\"a\\\\\\\"b\",operation=\"read\"";
        samples[&format!("plinth_disk_latency_seconds_bucket{{{labels},le=\"{le}\"}}")]
    };
    assert_eq!(bucket("0.000001"), 2.0);
    assert_eq!(bucket("10.0"), 2.0);
    assert_eq!(bucket("+Inf"), 3.0);
}

#[test]
fn a_machine_of_nothing_is_in_order_too() {
    checked(&exposition(&Measurements::default()));
}
