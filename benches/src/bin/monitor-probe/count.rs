//! Counting what a traced boot did.

use benches::probe::Sample;

use crate::tracing::{Event, events};

/// Fills in the counts of `sample`.
pub(crate) fn count(trace: &str, sample: &mut Sample) {
    let own = std::process::id();
    // KVM traces a write before it exits for it, and a read after.
    let mut write = None;
    let mut waits_for_read = false;
    let mut entered = false;
    // What comes before the first exec is the probe's own.
    let monitors = events(trace)
        .filter(|event| event.thread != own)
        .skip_while(|event| event.name != "sys_execve");
    for event in monitors {
        match event.name {
            "kvm_entry" => entered = true,
            "kvm_exit" => sample.exits.add(word_after(event.text, "reason")),
            "kvm_pio" | "kvm_mmio" => {
                let access = access(event);
                if waits_for_read {
                    sample.user_exits.add(access);
                    waits_for_read = false;
                } else {
                    write = Some(access);
                }
            }
            "kvm_userspace_exit" => match word_after(event.text, "reason") {
                "KVM_EXIT_IO" | "KVM_EXIT_MMIO" => match write.take() {
                    Some(access) => sample.user_exits.add(access),
                    None => waits_for_read = true,
                },
                reason => sample.user_exits.add(reason),
            },
            name => {
                if let Some(call) = name.strip_prefix("sys_") {
                    sample.system_calls.add(call);
                    if !entered {
                        sample.start_calls.add(call);
                    }
                }
            }
        }
        if event.name == "kvm_exit" {
            // What was traced before was for an access that KVM handled.
            write = None;
        }
    }
}

/// `pio_write at 0x3f8 size 1 count 1 val 0x41`, or
/// `mmio unsatisfied-read len 4 gpa 0xfeb00070 val 0xf`: what and where.
fn access(event: Event<'_>) -> String {
    let kind = if event.text.contains("write") {
        "write"
    } else {
        "read"
    };
    match event.name {
        "kvm_pio" => format!("port {kind} {}", word_after(event.text, "at")),
        _ => format!("mmio {kind} {}", word_after(event.text, "gpa")),
    }
}

fn word_after<'a>(text: &'a str, key: &str) -> &'a str {
    let mut words = text.split_whitespace().skip_while(|word| *word != key);
    words.nth(1).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_told_by_what_the_guest_accessed() {
        let events = [
            "sys_prctl(option: 1, arg2: 9)",
            "sys_execve(filename: 55d0, argv: 55d1, envp: 55d2)",
            "sys_ioctl(fd: 3, cmd: ae80, arg: 0)",
            "kvm_entry: vcpu 0, rip 0x1000000",
            "kvm_exit: vcpu 0 reason io rip 0x1 info1 0x0",
            "kvm_pio: pio_write at 0x3f8 size 1 count 1 val 0x41",
            "kvm_userspace_exit: reason KVM_EXIT_IO (2)",
            "sys_ioctl(fd: 3, cmd: ae80, arg: 0)",
            "kvm_exit: vcpu 0 reason io rip 0x1 info1 0x0",
            "kvm_pio: pio_write at 0x20 size 1 count 1 val 0x11",
            "kvm_exit: vcpu 0 reason npf rip 0x1 info1 0x0",
            "kvm_mmio: mmio unsatisfied-read len 4 gpa 0xfeb00000 val 0x0",
            "kvm_userspace_exit: reason KVM_EXIT_MMIO (6)",
            "kvm_exit: vcpu 0 reason io rip 0x1 info1 0x0",
            "kvm_userspace_exit: reason KVM_EXIT_IO (2)",
            "kvm_pio: pio_read at 0x3fd size 1 count 1 val 0x60",
        ];
        let lines = events.map(|event| format!("    vcpu0-4000000 [000]  1.000001: {event}\n"));
        let mut sample = Sample::default();
        count(&lines.concat(), &mut sample);
        assert_eq!(sample.exits.0["io"], 3);
        assert_eq!(sample.user_exits.ranked().len(), 3);
        for access in [
            "port write 0x3f8",
            "port read 0x3fd",
            "mmio read 0xfeb00000",
        ] {
            assert_eq!(sample.user_exits.0[access], 1, "{access}");
        }
        assert_eq!(sample.system_calls.0["ioctl"], 2);
        assert_eq!(sample.start_calls.sum(), 2, "from exec to the first entry");
        assert!(!sample.system_calls.0.contains_key("prctl"), "before exec");
    }
}
