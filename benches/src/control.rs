//! Measuring how soon a running monitor answers at its control socket, and how
//! soon its guest has a disk and a network interface that it is given.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use guest_images::run_word;

use crate::benchmark::Benchmark;
use crate::fio;
use crate::float::float;
use crate::peer::{Aspect, Control, Guest, Nic, Peer};
use crate::probe::{Attachment, ControlPlan, Latencies, Plan};
use crate::report::{Figure, Outcome, Summary, Unit};
use crate::tap::{self, MAC, TAP};
use crate::testbed::{Testbed, on_a_busy_host};
use crate::watch::{answer, probing};

/// What is asked, and where.
#[derive(Clone, Debug)]
pub struct ControlBench {
    /// Where.
    pub testbed: Testbed,
    /// How often a question is asked that counts.
    pub questions: u32,
    /// What taps are made with: `ip`, of iproute2.
    pub ip: PathBuf,
    /// More words for the guest's kernel.
    pub words: String,
}

/// How often a question is asked first, to warm up.
const WARM_UP: u32 = 20;

/// What a question takes at most, in the time of the machine that it is asked in.
const QUESTION: Duration = Duration::from_millis(10);

const IMAGE: &str = "/guest/added";
const IMAGE_MIB: u64 = 16;

/// What the guest runs: prints `await: ready`, and a line for each device as it
/// has it (guest-images/init/src/programs/await_device.rs).
const SCRIPT: &str = "guest await block/vda net/eth0; sleep 100000";
const IDLE_LINE: &str = "await: ready";
const DISK_LINE: &str = "await: block/vda";
const NIC_LINE: &str = "await: net/eth0";

impl Benchmark for ControlBench {
    fn name(&self) -> &'static str {
        "control"
    }

    fn aspect(&self) -> Aspect {
        Aspect::Machine
    }

    fn figures(&self, _: &[Outcome]) -> Vec<Figure> {
        let time = |name, title| Figure::less(name, title, Unit::Nanoseconds);
        vec![
            time("answer", "a question answered"),
            time("connected", "  with a connection of its own"),
            time("disk-answer", "disk attached, as the monitor says"),
            time("disk-seen", "  as the guest sees it"),
            time("nic-answer", "NIC attached, as the monitor says"),
            time("nic-seen", "  as the guest sees it"),
        ]
    }

    fn parameters(&self) -> Vec<String> {
        vec![
            format!(
                "the median of {} questions, after {WARM_UP} that warm up; each device is \
                 attached once, to a guest that has none and drivers for both",
                self.questions
            ),
            "plinth is sent the open file or tap with the request, which the others open \
             themselves: opening it is in the time of all"
                .to_owned(),
        ]
    }

    fn measure(&self, peer: &Peer, program: &Path) -> Result<Outcome> {
        let command_line = peer.device_command_line(&self.words);
        let mut outcome = Outcome::of(peer, program, command_line);
        let Some(control) = &peer.control else {
            outcome.notes = vec!["has no control socket that is spoken to here".to_owned()];
            return Ok(outcome);
        };
        let besides = control.settings;
        outcome.settings = format!("{}; operated: {besides}", outcome.settings);
        let scratch = tempfile::tempdir().context("making a scratch directory")?;
        let disk = fio::disk(IMAGE_MIB << 20, scratch.path())?;
        let image = self.testbed.place(IMAGE, &disk)?;
        let words = format!("plinth.root=none {} {}", self.words, run_word(SCRIPT));
        let guest = Guest {
            operated: true,
            command_line: peer.device_command_line(&words),
            ..self.testbed.guest(program, scratch.path())?
        };
        let launch = peer.launch(&guest)?;
        let plan = Plan::Control(ControlPlan {
            command: launch.argv,
            idle_line: IDLE_LINE.to_owned(),
            socket: (control.socket)(&guest),
            question: (control.question)(),
            times: [WARM_UP, self.questions],
            attachments: attachments(control, image),
        });
        let mut run = probing(&self.testbed, program, &plan)?;
        let script = tap::make(&self.ip, &[TAP]) + "exec \"$@\"";
        tap::among(&self.testbed, &mut run, &self.ip, &script)?;
        // The probe is silent while it asks, which it does in both ways.
        let asking = on_a_busy_host(QUESTION * 2) * self.questions;
        run.stall_bound += asking;
        run.total_bound += asking;
        run.modules = &["tun"];
        run.environment = launch.environment;
        run.files.push((image.to_owned(), disk.clone()));
        run.files.extend(launch.files);
        let finished = self.testbed.run(run, &mut outcome.stalls)?;
        let latencies: Latencies = answer(&finished)?;
        add(&mut outcome, control, &latencies);
        outcome.raw.push(serde_json::to_value(&latencies)?);
        Ok(outcome)
    }
}

fn attachments(control: &Control, image: &str) -> Vec<Attachment> {
    let disk = control.attach_disk.map(|attach| Attachment {
        requests: attach(image),
        line: DISK_LINE.to_owned(),
    });
    let nic = control.attach_nic.map(|attach| Attachment {
        requests: attach(&Nic {
            tap: TAP.to_owned(),
            mac: MAC.to_owned(),
        }),
        line: NIC_LINE.to_owned(),
    });
    disk.into_iter().chain(nic).collect()
}

fn add(outcome: &mut Outcome, control: &Control, latencies: &Latencies) {
    // Questions to one process depend on each other: a run of it is one sample, and
    // each question is in the raw data.
    let asked = [
        ("answer", &latencies.answers),
        ("connected", &latencies.connected),
    ];
    for (name, times) in asked {
        let times: Vec<f64> = times.iter().copied().map(float).collect();
        if let Some(summary) = Summary::of(&times) {
            outcome.add(name, None, summary.median);
        }
    }
    let disk = control.attach_disk.map(|_| ["disk-answer", "disk-seen"]);
    let nic = control.attach_nic.map(|_| ["nic-answer", "nic-seen"]);
    let names = disk.into_iter().chain(nic);
    for (names, times) in names.zip(&latencies.attached) {
        for (name, ns) in names.into_iter().zip(times) {
            outcome.add(name, None, float(*ns));
        }
    }
    if control.attach_disk.is_none() {
        outcome.notes = vec!["attaches nothing while its guest runs".to_owned()];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_one_sample_however_often_it_was_asked() {
        let peer = Peer::named("plinth").unwrap();
        let control = peer.control.as_ref().unwrap();
        let mut outcome = Outcome::default();
        for answers in [vec![10, 30, 20], vec![50, 40, 60]] {
            let latencies = Latencies {
                warm_up: [vec![90], vec![95]],
                answers,
                connected: vec![7],
                attached: vec![[1, 2], [3, 4]],
            };
            add(&mut outcome, control, &latencies);
        }
        assert_eq!(outcome.measured[0].samples, [20.0, 50.0]);
        let counts = outcome.measured.iter().map(|one| one.samples.len());
        assert_eq!(counts.collect::<Vec<_>>(), [2; 6]);
    }
}
