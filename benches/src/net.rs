//! Measuring networks: `guest traffic` in a guest of each peer and, at the other
//! end of its tap, in the host, in a deterministic machine, in which time is
//! counted in instructions.
//!
//! That machine has one CPU: guest, monitor, host kernel and the program at the
//! other end share it. What is measured is what a packet costs all of them
//! together, without what they could do at the same time; a flood of packets
//! leaves its receiver only what its sender does not take. What counts is what
//! arrived, as its receiver says.

mod pattern;
mod table;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_images::{Kernel, run_word};
use outer::{Command, Deterministic, Finished};
use serde::Serialize;

use crate::peer::{self, Guest, Launch, Nic, Peer};
use crate::{libraries, retry};

use pattern::Figure;
pub use pattern::{PATTERNS, Pattern};
pub use table::table;

const VMLINUX: &str = "/guest/vmlinux";
const BZIMAGE: &str = "/guest/bzimage";
const INITRAMFS: &str = "/guest/initramfs";
const BUSYBOX: &str = "/bench/busybox";
const PROGRAM: &str = "/bench/guest";

const TAP: &str = "tap0";
const MAC: &str = "02:00:00:00:00:07";

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
    /// The emulator, where it is not to be the installed one.
    pub emulator: Option<PathBuf>,
    /// The outer machine's kernel.
    pub outer_kernel: Kernel,
    /// The static `outer-agent` binary.
    pub agent: PathBuf,
    /// The guest's kernel.
    pub kernel: Kernel,
    /// The guest's initramfs.
    pub initramfs: PathBuf,
    /// The guests' static `init` binary, which is `guest traffic` as well.
    pub init: PathBuf,
    /// A static busybox.
    pub busybox: PathBuf,
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
    /// For how long, in the host's time, a measurement is silent at most.
    pub stall_bound: Duration,
}

/// What arrived by a peer's network interface.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The peer.
    pub peer: String,
    /// As it says itself.
    pub version: String,
    /// What was set and why.
    pub settings: String,
    /// The guest's kernel command line, but for what its init is told.
    pub command_line: String,
    /// One for each pattern, in order.
    pub seen: Vec<Seen>,
    /// Machines that stalled and were tried again.
    pub stalls: u32,
}

/// What arrived of one pattern.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// Which.
    pub pattern: &'static str,
    /// Bytes of a stream, or datagrams.
    pub arrived: u64,
    /// In this time, in nanoseconds of the receiver.
    pub nanoseconds: u64,
    /// What that makes, in the pattern's unit.
    pub figure: f64,
}

impl NetBench {
    /// Measures `peer`, whose program is `program`.
    pub fn measure(&self, peer: &Peer, program: &Path) -> Result<Outcome> {
        let scratch = tempfile::tempdir().context("making a scratch directory")?;
        let machine = self.machine(peer, program, scratch.path())?;
        let mut stalls = 0;
        let finished = retry::run(&machine, &mut stalls)?;
        Ok(Outcome {
            peer: peer.name.to_owned(),
            version: peer::version(program),
            settings: peer.settings.to_owned(),
            command_line: peer.device_command_line(&self.words),
            seen: self.read(&finished)?,
            stalls,
        })
    }

    fn machine(&self, peer: &Peer, program: &Path, scratch: &Path) -> Result<Deterministic> {
        let inside = program.to_str().context("a program's path is not UTF-8")?;
        let [own, other] = ADDRESSES;
        let launch = peer.launch(&Guest {
            program: inside,
            vmlinux: VMLINUX,
            bzimage: BZIMAGE,
            initramfs: INITRAMFS,
            command_line: self.command_line(peer, own, &self.script()),
            memory_mib: 256,
            disk: None,
            nic: Some(Nic {
                tap: TAP,
                mac: MAC,
                addresses: ADDRESSES,
                server: &self.command_line(peer, other, &format!("guest traffic serve {PORT}")),
                busybox: &self.busybox,
            }),
            scratch,
        })?;
        let script = self.host_script();
        let words = ["sh", "-c", &script, "sh"].map(str::to_owned);
        let words: Vec<String> = words.into_iter().chain(launch.argv.clone()).collect();
        Ok(Deterministic {
            emulator: self.emulator.clone(),
            kernel: self.outer_kernel.clone(),
            agent: self.agent.clone(),
            memory_mib: 3072,
            seed: 1,
            modules: MODULES.map(str::to_owned).into(),
            files: self.files(program, launch)?,
            command: Command::new(BUSYBOX).args(words),
            stall_bound: self.stall_bound,
            total_bound: self.stall_bound * 4,
        })
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
    fn host_script(&self) -> String {
        let [_, other] = ADDRESSES;
        format!(
            "i={}; $i link set lo up && $i tuntap add {TAP} mode tap vnet_hdr && \
             $i address add {other}/24 dev {TAP} && $i link set {TAP} up || exit; \
             {PROGRAM} traffic serve {PORT} </dev/null >/dev/null & s=$!; \
             \"$@\"; e=$?; kill $s; wait; exit $e",
            self.ip.display()
        )
    }

    fn files(&self, program: &Path, launch: Launch) -> Result<Vec<(String, PathBuf)>> {
        let mut files = vec![
            (VMLINUX.to_owned(), self.kernel.vmlinux.clone()),
            (BZIMAGE.to_owned(), self.kernel.bzimage.clone()),
            (INITRAMFS.to_owned(), self.initramfs.clone()),
            (PROGRAM.to_owned(), self.init.clone()),
            (BUSYBOX.to_owned(), self.busybox.clone()),
        ];
        for program in [&self.ip, &self.nft, program] {
            files.push((program.display().to_string(), program.to_owned()));
            let libraries = libraries::of(program)?.into_iter();
            files.extend(libraries.map(|path| (path.display().to_string(), path)));
        }
        files.extend(launch.files);
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// What `guest traffic` says on the guest's console, between the words of
    /// others: of each pattern the warm-up, and then what counts.
    fn read(&self, finished: &Finished) -> Result<Vec<Seen>> {
        let console = String::from_utf8_lossy(&finished.output.stdout);
        let seen: Vec<Seen> = console.lines().filter_map(Seen::parse).collect();
        let names = seen.iter().map(|seen| seen.pattern);
        let expected = self.patterns.iter().flat_map(|pattern| [pattern.name; 2]);
        ensure!(
            names.eq(expected),
            "the guest did not report on each pattern; the monitor ended, {}, with\n{console}\n{}",
            finished.status,
            String::from_utf8_lossy(&finished.output.stderr)
        );
        Ok(seen.into_iter().skip(1).step_by(2).collect())
    }
}

impl Seen {
    /// What a line says, if it is a report.
    fn parse(line: &str) -> Option<Self> {
        let (name, counted) = line.trim_end().strip_prefix("traffic: ")?.split_once(' ')?;
        let (arrived, time) = counted.strip_suffix(" ns")?.split_once(" in ")?;
        let pattern = Pattern::named(name)?;
        let (arrived, nanoseconds) = (arrived.parse().ok()?, time.parse().ok()?);
        (arrived > 0 && nanoseconds > 0).then(|| Self {
            pattern: pattern.name,
            arrived,
            nanoseconds,
            figure: figure(pattern.figure, arrived, nanoseconds),
        })
    }
}

fn figure(figure: Figure, arrived: u64, nanoseconds: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // Both are far below 2⁵².
    let (arrived, nanoseconds) = (arrived as f64, nanoseconds as f64);
    match figure {
        Figure::Time => nanoseconds / arrived / 1e3,
        Figure::Gigabits => arrived * 8.0 / nanoseconds,
        Figure::Rate => arrived * 1e9 / nanoseconds,
    }
}

#[cfg(test)]
mod tests;
