//! Measurements of devices, gathered from the host's side of each.

use std::sync::Arc;
use std::time::Duration;

use devices::block::handle::BlockHandle;
use devices::net::handle::NetHandle;
use devices::rate_limit::{Limiter, Throttled};
use devices::rng::RngCounters;
use devices::virtio_console::counters::ConsoleCounters;
use devices::vsock;

use super::{
    ConsoleMeasurements, DirectionMeasurements, DiskMeasurements, NetMeasurements,
    OperationMeasurements, RngMeasurements, ThrottledMeasurements, VsockMeasurements,
};
use crate::device_name::DeviceName;

impl DiskMeasurements {
    /// Of the disk called `name`.
    pub(crate) fn of(name: DeviceName, disk: &BlockHandle) -> Self {
        let counters = disk.counters();
        let latency = &counters.latency;
        let operation =
            |kind, count, bytes, latency: &devices::histogram::Histogram| OperationMeasurements {
                kind,
                count,
                bytes,
                latency: latency.snapshot(),
            };
        let bytes = |counter: &devices::counter::Counter| Some(counter.get());
        let cleared = counters.discards.get() + counters.zeroes.get();
        Self {
            name,
            capacity_bytes: disk.capacity(),
            operations: vec![
                operation(
                    "read",
                    counters.reads.get(),
                    bytes(&counters.read_bytes),
                    &latency.read,
                ),
                operation(
                    "write",
                    counters.writes.get(),
                    bytes(&counters.written_bytes),
                    &latency.write,
                ),
                operation("flush", counters.flushes.get(), None, &latency.flush),
                operation(
                    "discard",
                    cleared,
                    bytes(&counters.cleared_bytes),
                    &latency.discard,
                ),
            ],
            errors: [
                ("disk", counters.disk_errors.get()),
                ("refused", counters.refused.get()),
                ("malformed", counters.malformed.get()),
            ],
            waiting: disk.waits().operations(),
            held: disk.waits().held.get(),
            throttled: disk.throttled().into(),
        }
    }
}

impl NetMeasurements {
    /// Of the network interface called `name`.
    pub(crate) fn of(name: DeviceName, net: &NetHandle) -> Self {
        let (receive, transmit) = (&net.counters().receive, &net.counters().transmit);
        let throttled = |limiter: &Arc<Limiter>| limiter.throttled().into();
        Self {
            name,
            receive: DirectionMeasurements {
                packets: receive.packets.get(),
                bytes: receive.bytes.get(),
                drops: vec![
                    ("no-buffer", receive.no_buffer.get()),
                    ("oversized", receive.oversized.get()),
                    ("port-error", receive.port_error.get()),
                    ("bad-buffer", receive.bad_buffer.get()),
                ],
                throttled: throttled(net.receive()),
            },
            transmit: DirectionMeasurements {
                packets: transmit.packets.get(),
                bytes: transmit.bytes.get(),
                drops: vec![
                    ("malformed", transmit.malformed.get()),
                    ("oversized", transmit.oversized.get()),
                    ("port-busy", transmit.port_busy.get()),
                    ("port-error", transmit.port_error.get()),
                ],
                throttled: throttled(net.transmit()),
            },
            refused_commands: net.counters().refused_commands.get(),
        }
    }
}

impl RngMeasurements {
    /// Of the source of random numbers called `name`.
    pub(crate) fn of(name: DeviceName, rng: &RngCounters) -> Self {
        Self {
            name,
            requests: rng.requests(),
            bytes: rng.bytes(),
            unfilled: rng.unfilled(),
        }
    }
}

impl VsockMeasurements {
    /// Of the vsock device called `name`.
    pub(crate) fn of(name: DeviceName, vsock: &vsock::counters::Counters) -> Self {
        let (to_guest, from_guest) = (&vsock.received_packets, &vsock.sent_packets);
        Self {
            name,
            directions: [
                ("receive", to_guest.get(), vsock.received_bytes.get()),
                ("transmit", from_guest.get(), vsock.sent_bytes.get()),
            ],
            connections: [
                ("guest", vsock.guest_connections.get()),
                ("host", vsock.host_connections.get()),
            ],
            refused: [
                ("refused", vsock.refused.get()),
                ("late-greeting", vsock.late_greetings.get()),
            ],
            faults: vsock.faults.get(),
        }
    }
}

impl ConsoleMeasurements {
    /// Of the virtio console called `name`.
    pub(crate) fn of(name: DeviceName, console: &ConsoleCounters) -> Self {
        Self {
            name,
            directions: [
                ("receive", console.received_bytes()),
                ("transmit", console.sent_bytes()),
            ],
            lost_bytes: console.lost_bytes(),
            faults: console.faults(),
        }
    }
}

impl From<&Throttled> for ThrottledMeasurements {
    fn from(throttled: &Throttled) -> Self {
        Self {
            operations: throttled.operations.get(),
            time: Duration::from_nanos(throttled.nanoseconds.get()),
        }
    }
}
