//! Measuring how a boot grows with what its machine has: vCPUs, memory, disks,
//! network interfaces.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use guest_images::run_word;
use serde_json::json;

use crate::benchmark::Benchmark;
use crate::fio;
use crate::float::float;
use crate::guest::IDLE_WORDS;
use crate::known::Known;
use crate::peer::{Aspect, Disk, Guest, Nic, Peer};
use crate::probe::{BootPlan, Plan};
use crate::report::{Figure, Mode, Outcome, Unit};
use crate::tap;
use crate::testbed::Testbed;
use crate::traces;
use crate::watch::probing;

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
    /// More words for the guest's kernel.
    pub words: String,
    /// Where to write the trace and the console of each boot, which is called by its
    /// peer, what grows, its size and its word.
    pub traces: Option<PathBuf>,
}

const IMAGE_MIB: u64 = 1;

/// How many boots there are of each number of vCPUs where instructions are counted.
/// An interval takes six samples.
const VARIANTS: u32 = 7;

/// What is measured at each size: what it is called, what it is, in what.
const FIGURES: [(&str, &str, Unit); 8] = [
    (
        "first-entry",
        "exec to the first instruction",
        Unit::Nanoseconds,
    ),
    ("init", "exec to init", Unit::Nanoseconds),
    ("end", "exec to the end, all devices up", Unit::Nanoseconds),
    ("exits", "VM exits", Unit::Count),
    ("user-exits", "  of these to user space", Unit::Count),
    ("system-calls", "system calls", Unit::Count),
    ("memory-pss", "memory of the VMM (PSS)", Unit::Kibibytes),
    (
        "memory-private",
        "  of it not shared with anyone",
        Unit::Kibibytes,
    ),
];

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

    /// What the kernel is told besides, which means nothing, boot by boot: several
    /// vCPUs that share one CPU wait for each other, for how long is chance, and a boot
    /// that is counted would repeat one chance for ever.
    fn variants(self, mode: Mode) -> Vec<String> {
        match (self, mode) {
            (Self::Cpus, Mode::Deterministic) => (1..=VARIANTS)
                .map(|variant| format!("bench.variant={variant}"))
                .collect(),
            _ => vec![String::new()],
        }
    }

    /// The largest size that anything here can be measured at.
    pub fn largest(self) -> u32 {
        match self {
            Self::Cpus => 255,
            // In MiB: 1 TiB.
            Self::Memory => 1 << 20,
            // Their names, and addresses, have room for so many.
            Self::Disks | Self::Nics => 256,
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
            let figure = |(kind, title, unit)| {
                let name = format!("{}/{kind}", dimension.name());
                Figure::less(&name, title, unit).over(dimension.title())
            };
            FIGURES.map(figure)
        };
        self.dimensions.iter().flat_map(of).collect()
    }

    fn parameters(&self) -> Vec<String> {
        let boots = match self.testbed.mode {
            Mode::Deterministic => {
                "each size boots three times: to warm up, and for the memory of the idle \
                 monitor; for the times; and traced, for the counts"
            }
            Mode::WallClock => {
                "each size boots twice: once traced, for the first instruction and the memory \
                 of the idle monitor; once untraced, for the other times. Nothing is counted \
                 by the clock"
            }
        };
        let mut parameters = vec![
            "1 vCPU, 256 MiB and no devices but what is said; the guest has drivers, and ends \
             well only if it finds all that it was given"
                .to_owned(),
            boots.to_owned(),
        ];
        let mut dimensions = self.dimensions.iter();
        if dimensions.any(|(one, _)| one.variants(self.testbed.mode).len() > 1) {
            parameters.push(format!(
                "of each number of vCPUs {VARIANTS} runs, which differ by a word of the \
                 kernel's command line that means nothing"
            ));
        }
        parameters
    }

    fn measure(&self, peer: &Peer, program: &Path) -> Result<Outcome> {
        let command_line = peer.device_command_line(&self.words);
        let mut outcome = Outcome::of(peer, program, command_line);
        let known = Known::of(&self.testbed, &mut outcome.notes);
        for (dimension, sizes) in &self.dimensions {
            for size in sizes {
                let at = format!("{size} {}", dimension.title());
                let grown = (*dimension, *size);
                let variants = dimension.variants(self.testbed.mode);
                let mut runs = variants.iter();
                let done = runs.try_for_each(|word| {
                    self.size(peer, program, grown, word, &known, &mut outcome)
                });
                // Not every machine can have as many.
                if let Err(error) = done {
                    outcome.failures.push(format!("{at}: {error:#}"));
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
        (dimension, size): (Dimension, u32),
        variant: &str,
        known: &Known,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let scratch = tempfile::tempdir().context("making a scratch directory")?;
        let guest = self.testbed.guest(program, scratch.path())?;
        let guest = grown(guest, dimension, size);
        let launch = |words: &str| {
            let words = [words, variant, &self.words].join(" ");
            peer.launch(&Guest {
                command_line: peer.device_command_line(&words),
                ..guest.clone()
            })
        };
        let end = format!(
            "plinth.root=none plinth.then=reboot {}",
            run_word(&has_all(&guest))
        );
        let (boot, idle) = (launch(&end)?, launch(IDLE_WORDS)?);
        let plan = BootPlan {
            raw_trace: self.traces.is_some(),
            ..known.plan(&idle, &boot)
        };
        let mut run = probing(&self.testbed, program, &Plan::Boot(plan))?;
        run.files = [boot.files, idle.files].concat();
        run.environment = boot.environment;
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
            let taps: Vec<&str> = guest.nics.iter().map(|nic| nic.tap.as_str()).collect();
            let script = tap::make(&self.ip, &taps) + "exec \"$@\"";
            tap::among(&self.testbed, &mut run, &self.ip, &script)?;
            run.modules = &["tun"];
        }
        run.memory_mib += guest.memory_mib;
        let finished = self.testbed.run(run, &mut outcome.stalls)?;
        let of = [peer.name, dimension.name(), &size.to_string(), variant];
        let of: Vec<&str> = of.into_iter().filter(|one| !one.is_empty()).collect();
        let name = of.join("-");
        let sample = traces::sample(&finished, self.traces.as_deref(), &name)?;
        let at = Some(u64::from(size));
        for (kind, value) in known.figures(&sample) {
            if FIGURES.iter().any(|(shown, ..)| *shown == kind) {
                let name = format!("{}/{kind}", dimension.name());
                outcome.add(&name, at, float(value));
            }
        }
        outcome.raw.push(json!({
            "grows": dimension.name(),
            "size": size,
            "word": variant,
            "sample": sample,
        }));
        Ok(())
    }
}

/// What the guest's shell runs: fails, and says so, unless the guest has all that
/// `guest` is given. It starts no program and prints nothing if that is so, since what
/// it does is in the time to the end. Some memory is the kernel's own.
fn has_all(guest: &Guest<'_>) -> String {
    let cpus = match guest.cpus {
        1 => "0".to_owned(),
        count => format!("0-{}", count - 1),
    };
    let (disks, nics, kib) = (
        guest.disks.len(),
        guest.nics.len(),
        u64::from(guest.memory_mib) << 10,
    );
    format!(
        "n() {{ [ -e $1 ] || set --; n=$#; }}; \
         n /sys/class/block/vd*; d=$n; n /sys/class/net/eth*; \
         read c </sys/devices/system/cpu/online; read x m x </proc/meminfo; \
         [ \"$d $n $c\" = \"{disks} {nics} {cpus}\" ] && [ $m -le {kib} ] && [ $m -gt {} ] || \
         {{ echo has $d disks, $n NICs, CPUs $c, $m KiB; exit 1; }}",
        kib / 2
    )
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
    fn boots_that_chance_decides_differ_where_they_are_counted() {
        let mut words = Dimension::Cpus.variants(Mode::Deterministic);
        words.dedup();
        assert_eq!(words.len(), 7);
        let same_length = |word: &String| word.len() == words[0].len();
        assert!(words.iter().all(same_length), "{words:?}");
        for (dimension, mode) in [
            (Dimension::Cpus, Mode::WallClock),
            (Dimension::Disks, Mode::Deterministic),
        ] {
            assert_eq!(dimension.variants(mode).len(), 1);
        }
    }

    #[test]
    fn no_two_figures_are_called_alike() {
        let bench = GrowthBench {
            testbed: nothing(),
            dimensions: Dimension::ALL.map(|one| (one, vec![1])).into(),
            ip: PathBuf::new(),
            words: String::new(),
            traces: None,
        };
        let figures = bench.figures(&[]);
        let mut names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 32);
    }

    /// What a shell says and does with the guest's check, where `/sys` and `/proc` are
    /// in `root`.
    fn checked(root: &Path, dimension: Dimension, size: u32) -> (bool, String) {
        let testbed = nothing();
        let guest = testbed.guest(Path::new("/m"), Path::new("/s")).unwrap();
        let script = has_all(&grown(guest, dimension, size));
        let root = root.display();
        let script = script
            .replace("/sys/", &format!("{root}/sys/"))
            .replace("/proc/", &format!("{root}/proc/"));
        let said = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        (said.status.success(), text)
    }

    #[test]
    fn a_guest_that_lacks_something_does_not_end_well() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("sys/devices/system/cpu/online", "0\n");
        write(
            "proc/meminfo",
            "MemTotal:         215000 kB\nMemFree: 1 kB\n",
        );
        let well = (true, String::new());
        assert_eq!(checked(root, Dimension::Disks, 0), well);
        for (dimension, size) in [
            (Dimension::Cpus, 2),
            (Dimension::Memory, 128),
            (Dimension::Memory, 512),
            (Dimension::Disks, 2),
            (Dimension::Nics, 1),
        ] {
            let (succeeded, text) = checked(root, dimension, size);
            assert!(!succeeded, "{dimension:?}");
            assert_eq!(text, "has 0 disks, 0 NICs, CPUs 0, 215000 KiB\n");
        }
        for disk in ["vda", "vdb"] {
            write(&format!("sys/class/block/{disk}/size"), "1\n");
        }
        assert_eq!(checked(root, Dimension::Disks, 2), well);
        assert!(!checked(root, Dimension::Disks, 1).0);
        write("sys/devices/system/cpu/online", "0-3\n");
        std::fs::remove_dir_all(root.join("sys/class")).unwrap();
        assert_eq!(checked(root, Dimension::Cpus, 4), well);
    }
}
