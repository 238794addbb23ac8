//! The kernel's event tracing (Documentation/trace/ftrace.rst), on the clock
//! that the probe uses, in an instance of its own, so that nobody else's is touched. A
//! trace that lost an event is refused.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// What the instance is called.
const INSTANCE: &str = "instances/plinth-bench";

/// An instance of tracing, which goes where it is dropped.
pub(crate) struct Tracing {
    /// The tracing directory.
    all: PathBuf,
    /// The instance's.
    root: PathBuf,
    /// Events that were made out of functions; all instances have them.
    defined: Vec<&'static str>,
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
    /// Sets tracing up at `all`, with nothing traced yet and so much room for each CPU.
    pub(crate) fn open(all: &Path, kib_each: u32) -> Result<Self> {
        let root = all.join(INSTANCE);
        match fs::create_dir(&root) {
            // A probe that was killed has left it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.with_context(|| format!("making {}", root.display()))?,
        }
        let tracing = Self {
            all: all.to_owned(),
            root,
            defined: Vec::new(),
        };
        tracing.write("tracing_on", "0")?;
        tracing.write("trace_clock", "mono")?;
        tracing.write("buffer_size_kb", &kib_each.to_string())?;
        tracing.write("options/irq-info", "0")?;
        tracing.write("options/overwrite", "0")?;
        // What this process and its future children do, and nothing else.
        tracing.write("options/event-fork", "1")?;
        tracing.write("set_event_pid", &std::process::id().to_string())?;
        Ok(tracing)
    }

    /// Makes an event `name`, as `GROUP/NAME`, out of that of `functions` which this
    /// kernel has, with these arguments; see kprobetrace.rst.
    pub(crate) fn define(
        &mut self,
        name: &'static str,
        functions: &[&str],
        arguments: &str,
    ) -> Result<()> {
        self.undefine(name);
        let define = |function: &&str| {
            let definition = format!("p:{name} {function} {arguments}");
            append(&self.all.join("kprobe_events"), &definition)
        };
        let mut tried = functions.iter().map(define);
        let defined = tried.find(Result::is_ok).or_else(|| tried.next_back());
        defined.unwrap_or_else(|| {
            bail!("this kernel has none of {functions:?}, which tells guests' memory")
        })?;
        self.defined.push(name);
        Ok(())
    }

    /// Takes an event away, if it is there.
    fn undefine(&self, name: &str) {
        let _ = append(&self.all.join("kprobe_events"), &format!("-:{name}"));
    }

    /// Starts an empty trace of `events`, each `SYSTEM:NAME` or
    /// `SYSTEM:*`.
    pub(crate) fn start(&self, events: &[&str]) -> Result<()> {
        self.write("trace", "")?;
        self.write("set_event", "")?;
        for event in events {
            append(&self.root.join("set_event"), event)?;
        }
        self.write("tracing_on", "1")
    }

    /// Stops tracing; the trace as text.
    pub(crate) fn stop(&self) -> Result<String> {
        self.write("tracing_on", "0")?;
        self.write("set_event", "")?;
        let cpus = self.root.join("per_cpu");
        let cpus = fs::read_dir(&cpus).with_context(|| format!("reading {}", cpus.display()))?;
        for cpu in cpus {
            let path = cpu?.path().join("stats");
            let state = fs::read_to_string(&path);
            let state = state.with_context(|| format!("reading {}", path.display()))?;
            for lost in ["overrun: 0", "dropped events: 0"] {
                ensure!(
                    state.lines().any(|line| line == lost),
                    "the trace is incomplete:\n{state}"
                );
            }
        }
        self.read("trace")
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

impl Drop for Tracing {
    fn drop(&mut self) {
        // An event that is traced cannot be taken away.
        let _ = self.write("set_event", "");
        for name in &self.defined {
            self.undefine(name);
        }
        let _ = fs::remove_dir(&self.root);
    }
}

/// Adds a line to one of the lists among tracing's files.
fn append(path: &Path, line: &str) -> Result<()> {
    File::options()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .with_context(|| format!("adding {line:?} to {}", path.display()))
}

/// The events in a trace, in order.
pub(crate) fn events(trace: &str) -> impl Iterator<Item = Event<'_>> {
    trace.lines().filter_map(parse)
}

/// `  COMMAND-THREAD  [CPU]  SECONDS.MICROSECONDS: NAME: TEXT`, where a
/// command may hold spaces; system calls are `NAME(TEXT)`.
fn parse(line: &str) -> Option<Event<'_>> {
    let is_cpu = |text: &str| text.len() >= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    let (thread, rest) = line.match_indices(" [").find_map(|(at, _)| {
        let (cpu, rest) = line[at + 2..].split_once("] ")?;
        is_cpu(cpu).then_some((&line[..at], rest))
    })?;
    let (_, thread) = thread.rsplit_once('-')?;
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
            \x20      vcpu [0]-123     [128]     12.345678: kvm_exit: vcpu 0 reason npf\n\
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
