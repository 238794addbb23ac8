//! The demo where KVM is real: runs plinth, follows its console, and checks
//! from outside what the guest did inside.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use guest_images::Tool;
use serde_json::Value;

use super::console::Console;
use super::{memory, network, story};

/// Memory of the guest, in MiB.
const MEMORY: u64 = 256;
const CPUS: u32 = 2;
/// Size of the guest's disk, in MiB.
const DISK: u64 = 64;

/// What `plinth run` ends with after Ctrl-A x.
const ENDED_FROM_OUTSIDE: i32 = 5;

/// Play the demo on this very machine; `demo` starts it where KVM is real.
#[derive(Debug, Args)]
pub(crate) struct Stage {
    #[arg(long)]
    plinth: PathBuf,
    #[arg(long)]
    kernel: PathBuf,
    #[arg(long)]
    initrd: PathBuf,
    #[arg(long)]
    shell: bool,
}

/// What the demo measured.
struct Figures {
    init: Duration,
    vmm_kib: u64,
    guest_kib: u64,
    report: Value,
}

impl Stage {
    /// Plays; fails if anything was not as it should be.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let directory = std::env::temp_dir().join(format!("plinth-demo-{}", std::process::id()));
        std::fs::create_dir(&directory).context("making a directory for the demo")?;
        let result = self.play(&directory);
        let _ = std::fs::remove_dir_all(&directory);
        result.map(|()| ExitCode::SUCCESS)
    }

    fn play(&self, directory: &Path) -> Result<()> {
        let disk = directory.join("disk.img");
        make_disk(&disk)?;
        network::set_up()?;
        let report = directory.join("report.json");
        let mut command = self.command(&disk, &report);
        println!("$ {}", shown(&command));
        if self.shell {
            let status = command.status().context("running plinth")?;
            let ended_by_user = status.code() == Some(ENDED_FROM_OUTSIDE);
            ensure!(
                status.success() || ended_by_user,
                "plinth ended with {status}"
            );
            return Ok(());
        }
        let sink = network::listen()?;
        let started = Instant::now();
        let mut vm = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("running plinth")?;
        let followed = follow(&mut vm, started);
        if followed.is_err() {
            let _ = vm.kill();
        }
        let status = vm.wait().context("waiting for plinth")?;
        let (console, init, (vmm_kib, guest_kib), echoed) = followed?;
        ensure!(status.success(), "plinth ended with {status}");
        let sent = sink.join().ok().context("the listener panicked")??;
        check_network(&console, &sent, &echoed)?;
        check_disk(&disk)?;
        let report = std::fs::read_to_string(report).context("reading plinth's report")?;
        summarize(&Figures {
            init,
            vmm_kib,
            guest_kib,
            report: serde_json::from_str(&report).context("reading plinth's report")?,
        });
        Ok(())
    }

    fn command(&self, disk: &Path, report: &Path) -> Command {
        let mut command = Command::new(&self.plinth);
        command
            .arg("run")
            .args(["--cpus", &CPUS.to_string()])
            .args(["--memory", &format!("{MEMORY}M")])
            .arg("--kernel")
            .arg(&self.kernel)
            .arg("--initrd")
            .arg(&self.initrd)
            .args(["--cmdline", &story::command_line(self.shell)])
            // A guest that panics is not to try again.
            .args(["--on-reset", "stop"])
            .args(["--disk", &format!("{},id=demo", disk.display())])
            .args(["--net", &format!("tap={}", network::TAP)])
            .arg("--report")
            .arg(report);
        command
    }
}

type Followed = (Console, Duration, (u64, u64), network::Tally);

/// Follows the guest to its end, with the host's part of the story.
fn follow(vm: &mut Child, started: Instant) -> Result<Followed> {
    let output = vm.stdout.take().context("plinth has no output")?;
    let mut console = Console::read(output);
    let init = console.wait_for("plinth-init: up")? - started;
    console.wait_for("net: listening")?;
    let echoed = network::echo(story::TRANSFER)?;
    console.wait_for(story::RESTING)?;
    let memory = memory::proportional(vm.id(), MEMORY << 20)?;
    console.wait_for("plinth-init: exit 0")?;
    console.wait_for_end();
    Ok((console, init, memory, echoed))
}

fn make_disk(path: &Path) -> Result<()> {
    let file = std::fs::File::create(path).context("making a disk image")?;
    file.set_len(DISK << 20).context("making a disk image")?;
    Tool::new("mke2fs", "e2fsprogs")
        .args(["-q", "-t", "ext4"])
        .args([path])
        .output()?;
    Ok(())
}

/// What the guest sent arrived, and what the host sent came back.
fn check_network(console: &Console, sent: &str, echoed: &str) -> Result<()> {
    for (what, seen) in [("net: sent ", sent), ("net: echoed ", echoed)] {
        let told = console.after(what);
        ensure!(
            told == Some(seen),
            "the guest told {what}{told:?}, the host saw {seen}"
        );
    }
    Ok(())
}

/// Reads the guest's file out of the image, without mounting it.
fn check_disk(disk: &Path) -> Result<()> {
    let output = Tool::new("debugfs", "e2fsprogs")
        .args(["-R", &format!("cat {}", story::FILE)])
        .args([disk])
        .output()?;
    let found = String::from_utf8_lossy(&output);
    ensure!(
        found.trim_end() == story::TEXT,
        "the disk holds {found:?} in {}, not what the guest wrote",
        story::FILE
    );
    Ok(())
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let quote = |word: &std::ffi::OsStr| {
        let word = word.to_string_lossy();
        if word.contains(' ') {
            format!("'{word}'")
        } else {
            word.into_owned()
        }
    };
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(quote).collect::<Vec<_>>().join(" ")
}

fn summarize(figures: &Figures) {
    let count = |name: &str| figures.report[name].as_u64();
    let exits = count("exits").map_or("not told by this kernel".into(), |n| n.to_string());
    let to_vmm: u64 = ["port_exits", "mmio_exits", "other_exits"]
        .iter()
        .filter_map(|name| count(name))
        .sum();
    println!();
    println!("demo: the guest's file is on the disk, and the network carried");
    println!(
        "      {} MiB each way with equal digests on both sides",
        story::TRANSFER >> 20
    );
    match count("first_entry_us") {
        Some(us) => println!("  time to first instruction  {:.1} ms", milliseconds(us)),
        None => println!("  time to first instruction  not measured"),
    }
    println!(
        "  time to init               {} ms",
        figures.init.as_millis()
    );
    println!("  VM exits                   {exits}, of these {to_vmm} to the VMM");
    println!(
        "  memory of the VMM          {} KiB beside {} KiB of guest memory in use",
        figures.vmm_kib, figures.guest_kib
    );
}

fn milliseconds(us: u64) -> f64 {
    // Precise to far below a microsecond for any time that a boot takes.
    #[allow(clippy::cast_precision_loss)]
    let us = us as f64;
    us / 1000.0
}
