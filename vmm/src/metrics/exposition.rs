//! What the measurements are called where Prometheus reads them: `plinth_`,
//! what it is of, what it is, its unit.

mod streams;

use std::time::{SystemTime, UNIX_EPOCH};

use super::openmetrics::Exposition;
use super::{
    DirectionMeasurements, DiskMeasurements, Measurements, NetMeasurements, ThrottledMeasurements,
    VcpuMeasurements,
};
use crate::memory::MemoryStatus;

/// `measurements` as OpenMetrics text.
pub fn exposition(measurements: &Measurements) -> String {
    let mut text = Exposition::default();
    about(&mut text, measurements.built);
    vcpus(&mut text, &measurements.vcpus);
    if let Some(status) = &measurements.memory {
        memory(&mut text, status);
    }
    disks(&mut text, &measurements.disks);
    nets(&mut text, &measurements.nets);
    streams::rngs(&mut text, &measurements.rngs);
    streams::vsocks(&mut text, &measurements.vsocks);
    streams::consoles(&mut text, &measurements.consoles);
    text.finish()
}

fn about(text: &mut Exposition, built: Option<SystemTime>) {
    let version = env!("CARGO_PKG_VERSION");
    text.info("plinth_build", "The program.")
        .sample(&[("version", version)], 1);
    let since = built.and_then(|built| built.duration_since(UNIX_EPOCH).ok());
    let help = "When the machine was built, in seconds since 1970.";
    text.gauge("plinth_start_time_seconds", "seconds", help)
        .duration(&[], since.unwrap_or_default());
}

fn vcpus(text: &mut Exposition, vcpus: &[VcpuMeasurements]) {
    let named: Vec<_> = vcpus
        .iter()
        .map(|vcpu| (vcpu.id.to_string(), vcpu))
        .collect();
    let help = "Exits from the guest, to KVM or further.";
    let mut family = text.counter("plinth_vcpu_exits", "", help);
    for (id, vcpu) in &named {
        if let Some(exits) = vcpu.exits {
            family.sample(&[("vcpu", id)], exits);
        }
    }
    let help = "Exits of some kinds, as KVM counts them; kinds overlap.";
    let mut family = text.counter("plinth_vcpu_exits_by_reason", "", help);
    for (id, vcpu) in &named {
        for (reason, count) in &vcpu.exits_by_reason {
            family.sample(&[("vcpu", id), ("reason", reason)], count);
        }
    }
    let help = "Exits to the VM process.";
    let mut family = text.counter("plinth_vcpu_user_exits", "", help);
    for (id, vcpu) in &named {
        for (reason, count) in &vcpu.user_exits {
            family.sample(&[("vcpu", id), ("reason", reason)], count);
        }
    }
    let help = "CPU time of the vCPU's thread, in the guest and for it.";
    let mut family = text.counter("plinth_vcpu_cpu_seconds", "seconds", help);
    for (id, vcpu) in &named {
        family.duration(&[("vcpu", id)], vcpu.cpu_time);
    }
    let help = "Time for which the guest had halted the vCPU and it slept.";
    let mut family = text.counter("plinth_vcpu_halted_seconds", "seconds", help);
    for (id, vcpu) in &named {
        if let Some(halted) = vcpu.halted {
            family.duration(&[("vcpu", id)], halted);
        }
    }
}

fn memory(text: &mut Exposition, memory: &MemoryStatus) {
    let help = "Memory that the guest has: at boot, and plugged since.";
    text.gauge("plinth_memory_bytes", "bytes", help)
        .sample(&[], memory.plugged_bytes);
    let help = "Guest memory that takes memory of the host.";
    text.gauge("plinth_memory_resident_bytes", "bytes", help)
        .sample(&[], memory.resident_bytes);
    let Some(balloon) = &memory.balloon else {
        return;
    };
    let help = "What the balloon should hold.";
    text.gauge("plinth_balloon_target_bytes", "bytes", help)
        .sample(&[], balloon.target_bytes);
    let help = "What the balloon holds, as the guest says.";
    text.gauge("plinth_balloon_actual_bytes", "bytes", help)
        .sample(&[], balloon.actual_bytes);
    let help = "Put into the balloon.";
    text.counter("plinth_balloon_inflated_bytes", "bytes", help)
        .sample(&[], balloon.inflated_bytes);
    let help = "Taken out of the balloon.";
    text.counter("plinth_balloon_deflated_bytes", "bytes", help)
        .sample(&[], balloon.deflated_bytes);
    let help = "Reported free by the guest and given back to the host.";
    text.counter("plinth_balloon_reported_bytes", "bytes", help)
        .sample(&[], balloon.reported_bytes);
}

fn disks(text: &mut Exposition, disks: &[DiskMeasurements]) {
    let named: Vec<_> = disks
        .iter()
        .map(|disk| (disk.name.to_string(), disk))
        .collect();
    let mut family = text.gauge("plinth_disk_capacity_bytes", "bytes", "Size of the disk.");
    for (name, disk) in &named {
        family.sample(&[("disk", name)], disk.capacity_bytes);
    }
    let help = "Operations that succeeded.";
    let mut family = text.counter("plinth_disk_operations", "", help);
    for (name, disk) in &named {
        for operation in &disk.operations {
            let labels = [("disk", &**name), ("operation", operation.kind)];
            family.sample(&labels, operation.count);
        }
    }
    let help = "Bytes of operations that succeeded.";
    let mut family = text.counter("plinth_disk_bytes", "bytes", help);
    for (name, disk) in &named {
        for operation in &disk.operations {
            if let Some(bytes) = operation.bytes {
                family.sample(&[("disk", name), ("operation", operation.kind)], bytes);
            }
        }
    }
    let help = "How long operations took, from the driver's request to its completion.";
    let mut family = text.histogram("plinth_disk_latency_seconds", help);
    for (name, disk) in &named {
        for operation in &disk.operations {
            let labels = [("disk", &**name), ("operation", operation.kind)];
            family.snapshot(&labels, &operation.latency);
        }
    }
    let mut family = text.counter("plinth_disk_errors", "", "Requests that failed.");
    for (name, disk) in &named {
        for (reason, count) in disk.errors {
            family.sample(&[("disk", name), ("reason", reason)], count);
        }
    }
    let help = "Operations that wait for the host, which failed them.";
    let mut family = text.gauge("plinth_disk_waiting_operations", "", help);
    for (name, disk) in &named {
        family.sample(&[("disk", name)], disk.waiting);
    }
    let help = "Operations that had to wait for the host.";
    let mut family = text.counter("plinth_disk_held_operations", "", help);
    for (name, disk) in &named {
        family.sample(&[("disk", name)], disk.held);
    }
    let all = named
        .iter()
        .map(|(name, disk)| (vec![("disk", &**name)], disk.throttled));
    held_back(text, "plinth_disk", &all.collect::<Vec<_>>());
}

fn nets(text: &mut Exposition, nets: &[NetMeasurements]) {
    let directions: Vec<_> = nets
        .iter()
        .flat_map(|net| {
            let name = net.name.to_string();
            [
                (name.clone(), "receive", &net.receive),
                (name, "transmit", &net.transmit),
            ]
        })
        .collect();
    let help = "Packets that passed; receive is to the guest.";
    let mut family = text.counter("plinth_net_packets", "", help);
    for (name, direction, done) in &directions {
        family.sample(&[("net", name), ("direction", direction)], done.packets);
    }
    let help = "Bytes of packets that passed, without headers of the device.";
    let mut family = text.counter("plinth_net_bytes", "bytes", help);
    for (name, direction, done) in &directions {
        family.sample(&[("net", name), ("direction", direction)], done.bytes);
    }
    let help = "Packets, or for bad-buffer buffers, that were dropped.";
    let mut family = text.counter("plinth_net_drops", "", help);
    for (name, direction, done) in &directions {
        let done: &DirectionMeasurements = done;
        for (reason, count) in &done.drops {
            let labels = [
                ("net", &**name),
                ("direction", direction),
                ("reason", reason),
            ];
            family.sample(&labels, count);
        }
    }
    let all = directions.iter().map(|(name, direction, done)| {
        (
            vec![("net", &**name), ("direction", *direction)],
            done.throttled,
        )
    });
    held_back(text, "plinth_net", &all.collect::<Vec<_>>());
    let help = "Commands on the control queue that made no sense.";
    let mut family = text.counter("plinth_net_refused_commands", "", help);
    for net in nets {
        family.sample(&[("net", &net.name.to_string())], net.refused_commands);
    }
}

/// The labels of something with limits, and what these held back.
type Throttled<'a> = (Vec<(&'a str, &'a str)>, ThrottledMeasurements);

fn held_back(text: &mut Exposition, of: &str, all: &[Throttled<'_>]) {
    let name = format!("{of}_throttled_operations");
    let mut family = text.counter(&name, "", "What had to wait for a rate limit.");
    for (labels, throttled) in all {
        family.sample(labels, throttled.operations);
    }
    let name = format!("{of}_throttled_seconds");
    let help = "How long it had to wait, all together.";
    let mut family = text.counter(&name, "seconds", help);
    for (labels, throttled) in all {
        family.duration(labels, throttled.time);
    }
}

#[cfg(test)]
mod tests;
