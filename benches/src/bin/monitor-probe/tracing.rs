//! The kernel's event tracing (Documentation/trace/ftrace.rst), on the clock
//! that the probe uses. A trace that lost an event is refused.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// KiB of trace that a boot may make.
const BUFFER_KIB: &str = "65536";

/// The tracing directory.
pub(crate) struct Tracing {
    root: PathBuf,
}

/// One event of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// On the monotonic clock; traces show whole microseconds.
    pub(crate) time_ns: u64,
    pub(crate) thread: u32,
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

impl Tracing {
    /// Sets tracing up, with nothing traced yet.
    pub(crate) fn open() -> Result<Self> {
        let tracing = Self {
            root: "/sys/kernel/tracing".into(),
        };
        tracing.write("tracing_on", "0")?;
        tracing.write("trace_clock", "mono")?;
        tracing.write("buffer_size_kb", BUFFER_KIB)?;
        tracing.write("options/irq-info", "0")?;
        tracing.write("options/overwrite", "0")?;
        // What this process and its future children do, and nothing else.
        tracing.write("options/event-fork", "1")?;
        tracing.write("set_event_pid", &std::process::id().to_string())?;
        Ok(tracing)
    }

    /// Makes an event `probes/NAME` out of a function, see kprobetrace.rst.
    pub(crate) fn define(&self, definition: &str) -> Result<()> {
        self.write("kprobe_events", definition)
    }

    /// Starts an empty trace of `events`, each `SYSTEM:NAME` or
    /// `SYSTEM:*`.
    pub(crate) fn start(&self, events: &[&str]) -> Result<()> {
        self.write("trace", "")?;
        self.write("set_event", "")?;
        for event in events {
            self.append("set_event", event)?;
        }
        self.write("tracing_on", "1")
    }

    /// Stops tracing; the trace as text.
    pub(crate) fn stop(&self) -> Result<String> {
        self.write("tracing_on", "0")?;
        self.write("set_event", "")?;
        let state = self.read("per_cpu/cpu0/stats")?;
        for lost in ["overrun: 0", "dropped events: 0"] {
            ensure!(
                state.lines().any(|line| line == lost),
                "the trace is incomplete:\n{state}"
            );
        }
        self.read("trace")
    }

    fn append(&self, name: &str, value: &str) -> Result<()> {
        let path = self.root.join(name);
        File::options()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()))
            .with_context(|| format!("adding {value:?} to {}", path.display()))
    }

    fn write(&self, name: &str, value: &str) -> Result<()> {
        let path = self.root.join(name);
        // Opening to truncate is what empties the lists among these files.
        File::create(&path)
            .and_then(|mut file| file.write_all(value.as_bytes()))
            .with_context(|| format!("writing {value:?} to {}", path.display()))
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.root.join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }
}

/// The events in a trace, in order.
pub(crate) fn events(trace: &str) -> impl Iterator<Item = Event<'_>> {
    trace.lines().filter_map(parse)
}

/// `  COMMAND-THREAD  [CPU]  SECONDS.MICROSECONDS: NAME: TEXT`, where a
/// command may hold spaces; system calls are `NAME(TEXT)`.
fn parse(line: &str) -> Option<Event<'_>> {
    let (thread, rest) = line.split_once(" [0")?;
    let (_, thread) = thread.rsplit_once('-')?;
    let (_, rest) = rest.split_once("] ")?;
    let (time, rest) = rest.trim_start().split_once(": ")?;
    let (seconds, micros) = time.split_once('.')?;
    let end = rest.find([':', '('])?;
    Some(Event {
        time_ns: seconds.parse::<u64>().ok()? * 1_000_000_000 + micros.parse::<u64>().ok()? * 1000,
        thread: thread.trim().parse().ok()?,
        name: &rest[..end],
        text: rest[end + 1..].trim_start(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_and_a_system_call_are_parsed() {
        let trace = "# tracer: nop\n\
            \x20          vcpu 0-123     [000]     12.345678: kvm_exit: vcpu 0 reason npf\n\
            \x20           boot-7       [000]      1.000001: sys_openat(dfd: 3, mode: 0)\n";
        let found: Vec<_> = events(trace).collect();
        let exit = Event {
            time_ns: 12_345_678_000,
            thread: 123,
            name: "kvm_exit",
            text: "vcpu 0 reason npf",
        };
        let call = Event {
            time_ns: 1_000_001_000,
            thread: 7,
            name: "sys_openat",
            text: "dfd: 3, mode: 0)",
        };
        assert_eq!(found, [exit, call]);
    }
}
