//! Under which conditions something was measured.

use std::fs;

use serde::{Deserialize, Serialize};

/// How time is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// In instructions, by an emulator with one CPU.
    #[default]
    Deterministic,
    /// By the host's clock, with the processor's own virtualization.
    WallClock,
}

/// Where, how and with what something was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// How time is counted.
    pub mode: Mode,
    /// The processor, how many there are, and how much memory.
    pub machine: String,
    /// The kernel of this host.
    pub host_kernel: String,
    /// The kernel of the emulated machine in which monitors run, if they do.
    pub outer_kernel: Option<String>,
    /// The guests' kernel.
    pub guest_kernel: String,
    /// What emulates, if something does.
    pub emulator: Option<String>,
    /// The commit of plinth, and whether it was changed since.
    pub plinth: String,
    /// When it began, as `YYYY-MM-DDThh:mm:ssZ`.
    pub began: String,
}

impl Mode {
    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Deterministic => {
                "deterministic: one emulated CPU, on which an instruction takes a nanosecond"
            }
            Self::WallClock => "wall clock: hardware KVM, runs of all peers interleaved",
        }
    }
}

impl Conditions {
    /// What can be read from this host; the rest is left empty.
    pub fn here(mode: Mode) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            mode,
            machine: machine(&read("/proc/cpuinfo"), &read("/proc/meminfo")),
            host_kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            ..Self::default()
        }
    }

    /// All of it for people, a line each.
    pub fn lines(&self) -> Vec<String> {
        let named = |name: &str, value: &Option<String>| {
            let value = value.as_deref()?;
            Some(format!("{name}: {value}"))
        };
        let lines = [
            Some(format!("mode: {}", self.mode.title())),
            Some(format!("machine: {}", self.machine)),
            Some(format!("host kernel: {}", self.host_kernel)),
            named("outer kernel", &self.outer_kernel),
            Some(format!("guest kernel: {}", self.guest_kernel)),
            named("emulator", &self.emulator),
            Some(format!("plinth: {}", self.plinth)),
            Some(format!("began: {}", self.began)),
        ];
        lines.into_iter().flatten().collect()
    }
}

fn machine(cpuinfo: &str, meminfo: &str) -> String {
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let is_processor = |line: &&str| line.starts_with("processor");
    let count = cpuinfo.lines().filter(is_processor).count();
    let model = value(cpuinfo, "model name").unwrap_or_else(|| "an unknown processor".to_owned());
    let memory = value(meminfo, "MemTotal").unwrap_or_default();
    let kib = memory.trim_end_matches(" kB").parse::<u64>();
    let gib = kib.map_or(0, |kib| (kib + (1 << 19)) >> 20);
    format!("{count} CPUs of {model}, {gib} GiB of memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named() {
        let cpuinfo =
            "processor\t: 0\nmodel name\t: A CPU\n\nprocessor\t: 1\nmodel name\t: A CPU\n";
        let named = machine(cpuinfo, "MemTotal:       16384000 kB\nMemFree: 1 kB\n");
        assert_eq!(named, "2 CPUs of A CPU, 16 GiB of memory");
        assert!(!Conditions::here(Mode::WallClock).host_kernel.is_empty());
    }
}
