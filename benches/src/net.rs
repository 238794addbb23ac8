//! Measuring networks: `guest traffic` in a guest of each peer and, at the other
//! end of its tap, in the host.
//!
//! A deterministic machine has one CPU: guest, monitor, host kernel and the program at the
//! other end share it. What is measured is what a packet costs all of them
//! together, without what they could do at the same time; a flood of packets
//! leaves its receiver only what its sender does not take. What counts is what
//! arrived, as its receiver says.

mod pattern;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_images::run_word;
use outer::Finished;
use serde::Serialize;

use crate::benchmark::Benchmark;
use crate::peer::{Aspect, Guest, Nic, OtherEnd, Peer};
use crate::report::{Figure, Mode, Outcome};
use crate::tap::{self, MAC, TAP};
use crate::testbed::{Run, Testbed, bounds};

pub use pattern::{PATTERNS, Pattern};

const PROGRAM: &str = "/bench/guest";

/// The guest's address, and that of the other end.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 20), Ipv4Addr::new(192, 0, 2, 10)];
const PORT: u16 = 5000;

/// For how long a pattern is tried before it is measured, in milliseconds.
const WARM_UP: u32 = 50;

/// What the host's kernel needs for taps and for networks of security groups.
const MODULES: [&str; 7] = [
    "crc32c_generic",
    "tun",
    "vhost_net",
    "nf_tables",
    "nft_ct",
    "nf_conntrack_netlink",
    "af_packet",
];

/// What networks are measured with, and where.
#[derive(Clone, Debug)]
pub struct NetBench {
    /// Where.
    pub testbed: Testbed,
    /// The guests' static `init` binary, which is `guest traffic` as well.
    pub init: PathBuf,
    /// What taps are made with: `ip`, of iproute2.
    pub ip: PathBuf,
    /// What plinth makes networks with.
    pub nft: PathBuf,
    /// What is measured, in order.
    pub patterns: Vec<Pattern>,
    /// For how long each time, in milliseconds of the guest.
    pub milliseconds: u32,
    /// More words for the guest's kernel.
    pub words: String,
    /// For how long, in the host's time, a measurement is silent at most besides the
    /// time that a pattern takes.
    pub stall_bound: Duration,
}

/// What arrived of one pattern.
#[derive(Clone, Debug, Serialize)]
struct Seen {
    /// Which.
    pattern: &'static str,
    /// Bytes of a stream, or datagrams.
    arrived: u64,
    /// In this time, in nanoseconds of the receiver.
    nanoseconds: u64,
    /// Whether it does not count.
    warm_up: bool,
}

impl Benchmark for NetBench {
    fn name(&self) -> &'static str {
        "net"
    }

    fn aspect(&self) -> Aspect {
        Aspect::Network
    }

    fn figures(&self, _: &[Outcome]) -> Vec<Figure> {
        self.patterns.iter().map(Pattern::figure).collect()
    }

    fn parameters(&self) -> Vec<String> {
        vec![
            format!(
                "guest traffic in a guest with 1 vCPU and 256 MiB, for {} ms of the guest each; {}",
                self.milliseconds,
                match self.testbed.mode {
                    Mode::Deterministic =>
                        "guest, monitor, host kernel and the other end share one CPU",
                    Mode::WallClock =>
                        "taps and networks are in a network namespace of the run's own",
                }
            ),
            format!("each pattern runs for {WARM_UP} ms first, to warm up"),
        ]
    }

    fn measure(&self, peer: &Peer, program: &Path) -> Result<Outcome> {
        let command_line = peer.device_command_line(&self.words);
        let mut outcome = Outcome::of(peer, program, command_line);
        let scratch = tempfile::tempdir().context("making a scratch directory")?;
        let run = self.prepared(peer, program, scratch.path())?;
        let finished = self.testbed.run(run, &mut outcome.stalls)?;
        let seen = self.read(&finished)?;
        let counted = seen.iter().filter(|seen| !seen.warm_up);
        for (pattern, seen) in self.patterns.iter().zip(counted) {
            let value = pattern.value(seen.arrived, seen.nanoseconds);
            outcome.add(pattern.name, None, value);
        }
        outcome.raw.push(serde_json::to_value(&seen)?);
        Ok(outcome)
    }
}

impl NetBench {
    fn prepared<'a>(&'a self, peer: &Peer, program: &'a Path, scratch: &Path) -> Result<Run<'a>> {
        let [own, other] = ADDRESSES;
        let launch = peer.launch(&Guest {
            command_line: self.command_line(peer, own, &self.script()),
            nics: vec![Nic {
                tap: TAP.to_owned(),
                mac: MAC.to_owned(),
            }],
            other_end: Some(OtherEnd {
                addresses: ADDRESSES,
                server: &self.command_line(peer, other, &format!("guest traffic serve {PORT}")),
            }),
            ..self.testbed.guest(program, scratch)?
        })?;
        let mut files = launch.files;
        files.push((PROGRAM.to_owned(), self.init.clone()));
        let [stall_bound, total_bound] = self.bounds();
        let mut run = Run {
            programs: vec![program, &self.nft],
            files,
            modules: &MODULES,
            memory_mib: 3072,
            command: launch.argv,
            environment: launch.environment,
            stall_bound,
            total_bound,
        };
        tap::among(&self.testbed, &mut run, &self.ip, &self.host_script()?)?;
        Ok(run)
    }

    /// For how long a run is silent at most, and for how long it lasts.
    fn bounds(&self) -> [Duration; 2] {
        let pattern = Duration::from_millis(u64::from(WARM_UP) + u64::from(self.milliseconds));
        bounds(self.stall_bound, pattern, self.patterns.len())
    }

    /// The kernel's for a guest at `address` whose init runs `script`.
    fn command_line(&self, peer: &Peer, address: Ipv4Addr, script: &str) -> String {
        peer.device_command_line(&format!(
            "plinth.root=none plinth.then=reboot plinth.ip={address}/24 {} {}",
            self.words,
            run_word(script)
        ))
    }

    /// What the guest's init runs: each pattern for a moment, so that nobody is
    /// measured while caches and windows fill, and then for its time.
    fn script(&self) -> String {
        let [_, other] = ADDRESSES;
        let names: Vec<&str> = self.patterns.iter().map(|pattern| pattern.name).collect();
        format!(
            "for p in {}; do for t in {WARM_UP} {}; do \
             guest traffic $p {other}:{PORT} $t; done; done",
            names.join(" "),
            self.milliseconds
        )
    }

    /// What the host runs: makes the tap, and serves there while what the script is
    /// given runs.
    fn host_script(&self) -> Result<String> {
        let [_, other] = ADDRESSES;
        let program = self.testbed.place(PROGRAM, &self.init)?;
        Ok(format!(
            "{}{ip} link set lo up && {ip} address add {other}/24 dev {TAP} || exit; \
             {program} traffic serve {PORT} </dev/null >/dev/null & s=$!; \
             \"$@\"; e=$?; kill $s; wait; exit $e",
            tap::make(&self.ip, &[TAP]),
            ip = self.ip.display()
        ))
    }

    /// What `guest traffic` says on the guest's console, between the words of
    /// others: of each pattern the warm-up, and then what counts.
    fn read(&self, finished: &Finished) -> Result<Vec<Seen>> {
        let console = String::from_utf8_lossy(&finished.output.stdout);
        let mut seen: Vec<Seen> = console.lines().filter_map(Seen::parse).collect();
        let names = seen.iter().map(|seen| seen.pattern);
        let expected = self.patterns.iter().flat_map(|pattern| [pattern.name; 2]);
        ensure!(
            names.eq(expected),
            "the guest did not report on each pattern; the monitor ended, {}, with\n{console}\n{}",
            finished.status,
            String::from_utf8_lossy(&finished.output.stderr)
        );
        seen.iter_mut()
            .step_by(2)
            .for_each(|seen| seen.warm_up = true);
        Ok(seen)
    }
}

impl Seen {
    /// What a line says, if it is a report.
    fn parse(line: &str) -> Option<Self> {
        let (name, counted) = line.trim_end().strip_prefix("traffic: ")?.split_once(' ')?;
        let (arrived, time) = counted.strip_suffix(" ns")?.split_once(" in ")?;
        let pattern = Pattern::named(name)?;
        let (arrived, nanoseconds) = (arrived.parse().ok()?, time.parse().ok()?);
        (arrived > 0 && nanoseconds > 0).then_some(Self {
            pattern: pattern.name,
            arrived,
            nanoseconds,
            warm_up: false,
        })
    }
}

#[cfg(test)]
mod tests;
