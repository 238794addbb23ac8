//! Measuring how a boot grows with what its machine has: vCPUs, memory, disks,
//! network interfaces.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::benchmark::Benchmark;
use crate::boot::{END_WORDS, FIRST_LINE, IDLE_LINE, IDLE_WORDS, answer, float, probing};
use crate::fio;
use crate::peer::{Aspect, Disk, Guest, Nic, Peer};
use crate::probe::{BootPlan, Plan, Sample};
use crate::report::{Figure, Mode, Outcome, Unit};
use crate::testbed::Testbed;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Virtual CPUs.
    Cpus,
    /// Memory in MiB.
    Memory,
    /// Disks.
    Disks,
    /// Network interfaces.
    Nics,
}

/// What grows, to which sizes, and where.
#[derive(Clone, Debug)]
pub struct GrowthBench {
    /// Where.
    pub testbed: Testbed,
    /// Each with its sizes.
    pub dimensions: Vec<(Dimension, Vec<u32>)>,
    /// What taps are made with: `ip`, of iproute2.
    pub ip: PathBuf,
    /// A static busybox.
    pub busybox: PathBuf,
    /// More words for the guest's kernel.
    pub words: String,
}

const BUSYBOX: &str = "/bench/busybox";
const IMAGE_MIB: u64 = 1;

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cpus, Self::Memory, Self::Disks, Self::Nics];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpus => "vcpus",
            Self::Memory => "memory",
            Self::Disks => "disks",
            Self::Nics => "nics",
        }
    }

    /// For people.
    fn title(self) -> &'static str {
        match self {
            Self::Cpus => "vCPUs",
            Self::Memory => "MiB",
            Self::Disks => "disks",
            Self::Nics => "NICs",
        }
    }

    /// The sizes that are measured unless told otherwise.
    pub fn usual_sizes(self) -> &'static [u32] {
        match self {
            Self::Cpus => &[1, 2, 4, 8],
            Self::Memory => &[128, 512, 2048],
            Self::Disks => &[0, 1, 4, 16],
            Self::Nics => &[0, 1, 4, 8],
        }
    }
}

impl Benchmark for GrowthBench {
    fn name(&self) -> &'static str {
        "growth"
    }

    fn aspect(&self) -> Aspect {
        Aspect::Machine
    }

    fn figures(&self, _: &[Outcome]) -> Vec<Figure> {
        let of = |(dimension, _): &(Dimension, Vec<u32>)| {
            let kinds = [
                (
                    "first-entry",
                    "exec to the first instruction",
                    Unit::Nanoseconds,
                ),
                ("init", "exec to init", Unit::Nanoseconds),
                ("end", "exec to the end, all devices up", Unit::Nanoseconds),
                ("memory-pss", "memory of the VMM (PSS)", Unit::Kibibytes),
            ];
            let figure = |(kind, title, unit)| {
                let name = format!("{}/{kind}", dimension.name());
                Figure::less(&name, title, unit).over(dimension.title())
            };
            kinds.map(figure)
        };
        self.dimensions.iter().flat_map(of).collect()
    }

    fn parameters(&self) -> Vec<String> {
        vec![
            "1 vCPU, 256 MiB and no devices but what is said; the guest has drivers and waits \
             for them"
                .to_owned(),
            match self.testbed.mode {
                Mode::Deterministic => {
                    "each size boots twice: to warm up, and for the memory of the idle monitor; \
                     and for the times"
                }
                Mode::WallClock => "each size boots twice: to warm up; and for the times",
            }
            .to_owned(),
        ]
    }

    fn measure(&self, peer: &Peer, program: &Path) -> Result<Outcome> {
        let command_line = peer.device_command_line(&self.words);
        let mut outcome = Outcome::of(peer, program, command_line);
        for (dimension, sizes) in &self.dimensions {
            for size in sizes {
                let at = format!("{size} {}", dimension.title());
                match self.size(peer, program, *dimension, *size, &mut outcome) {
                    Ok(()) => {}
                    // Not every machine can have as many.
                    Err(error) => outcome.failures.push(format!("{at}: {error:#}")),
                }
            }
        }
        Ok(outcome)
    }
}

impl GrowthBench {
    fn size(
        &self,
        peer: &Peer,
        program: &Path,
        dimension: Dimension,
        size: u32,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let scratch = tempfile::tempdir().context("making a scratch directory")?;
        let guest = self.testbed.guest(program, scratch.path())?;
        let guest = grown(guest, dimension, size);
        let launch = |words: &str| {
            let words = format!("{words} {}", self.words);
            peer.launch(&Guest {
                command_line: peer.device_command_line(&words),
                ..guest.clone()
            })
        };
        let (boot, idle) = (launch(END_WORDS)?, launch(IDLE_WORDS)?);
        let traced = self.testbed.mode == Mode::Deterministic;
        let plan = Plan::Boot(BootPlan {
            idle: idle.argv,
            idle_line: IDLE_LINE.to_owned(),
            boot: boot.argv,
            first_line: FIRST_LINE.to_owned(),
            traced,
            ..BootPlan::default()
        });
        let mut run = probing(&self.testbed, program, &plan)?;
        run.files = [boot.files, idle.files].concat();
        if !guest.disks.is_empty() {
            let disk = fio::disk(IMAGE_MIB << 20, scratch.path())?;
            for one in &guest.disks {
                match self.testbed.mode {
                    Mode::Deterministic => run.files.push((one.image.clone(), disk.clone())),
                    Mode::WallClock => drop(std::fs::copy(&disk, &one.image)?),
                }
            }
        }
        if !guest.nics.is_empty() {
            let shell = [BUSYBOX, "sh", "-c", &self.taps(&guest.nics), "sh"];
            run.command.splice(..0, shell.map(str::to_owned));
            run.programs.push(&self.ip);
            run.files.push((BUSYBOX.to_owned(), self.busybox.clone()));
            run.modules = &["tun"];
        }
        run.memory_mib += guest.memory_mib;
        let finished = self.testbed.run(run, &mut outcome.stalls)?;
        let sample: Sample = answer(&finished)?;
        let at = Some(u64::from(size));
        let mut add = |kind: &str, value| {
            let name = format!("{}/{kind}", dimension.name());
            outcome.add(&name, at, float(value));
        };
        add("init", sample.init_ns);
        add("end", sample.end_ns);
        if traced {
            add("first-entry", sample.first_entry_ns);
            add("memory-pss", sample.memory.pss_kib);
        }
        outcome.raw.push(serde_json::to_value(&sample)?);
        Ok(())
    }

    /// Makes the taps, and does what it is given.
    fn taps(&self, nics: &[Nic]) -> String {
        let ip = self.ip.display();
        let mut script = String::new();
        for nic in nics {
            let tap = &nic.tap;
            write!(
                script,
                "{ip} tuntap add {tap} mode tap vnet_hdr && {ip} link set {tap} up && "
            )
            .expect("a String takes everything");
        }
        script + "exec \"$@\""
    }
}

/// `guest` with so much of what grows.
fn grown<'a>(guest: Guest<'a>, dimension: Dimension, size: u32) -> Guest<'a> {
    match dimension {
        Dimension::Cpus => Guest {
            cpus: size,
            ..guest
        },
        Dimension::Memory => Guest {
            memory_mib: size,
            ..guest
        },
        Dimension::Disks => Guest {
            disks: (0..size)
                .map(|number| Disk {
                    image: format!("{}/disk-{number}", guest.scratch_inside),
                    mib: IMAGE_MIB,
                })
                .collect(),
            ..guest
        },
        Dimension::Nics => Guest {
            nics: (0..size)
                .map(|number| Nic {
                    tap: format!("tap{number}"),
                    mac: format!("02:00:00:00:01:{number:02x}"),
                })
                .collect(),
            ..guest
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::nothing;

    #[test]
    fn a_guest_grows_in_one_dimension() {
        let testbed = nothing();
        let guest = testbed.guest(Path::new("/m"), Path::new("/s")).unwrap();
        let sizes = |guest: Guest<'_>| {
            let devices = (guest.disks.len(), guest.nics.len());
            (guest.cpus, guest.memory_mib, devices)
        };
        let grown = |dimension| sizes(grown(guest.clone(), dimension, 3));
        assert_eq!(grown(Dimension::Cpus), (3, 256, (0, 0)));
        assert_eq!(grown(Dimension::Memory), (1, 3, (0, 0)));
        assert_eq!(grown(Dimension::Disks), (1, 256, (3, 0)));
        assert_eq!(grown(Dimension::Nics), (1, 256, (0, 3)));
    }

    #[test]
    fn no_two_figures_are_called_alike() {
        let bench = GrowthBench {
            testbed: nothing(),
            dimensions: Dimension::ALL.map(|one| (one, vec![1])).into(),
            ip: PathBuf::new(),
            busybox: PathBuf::new(),
            words: String::new(),
        };
        let figures = bench.figures(&[]);
        let mut names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 16);
    }
}
