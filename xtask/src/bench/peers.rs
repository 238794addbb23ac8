//! Who is measured: the words of the command line, and where programs are.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use benches::benchmark::Subject;
use benches::peer::{Aspect, MONITORS, PEERS, Peer};
use benches::report::{Failed, Report};
use clap::Args;

use super::testbed::Plinth;

/// Who is measured.
#[derive(Clone, Debug, Args)]
pub(super) struct Peers {
    #[arg(long, value_name = "MONITOR", value_delimiter = ',', num_args = 0..=1, help = vs())]
    vs: Option<Vec<String>>,
    #[arg(long, value_name = "MACHINE", value_delimiter = ',', help = ours())]
    ours: Vec<String>,
    /// Measure only the others, without plinth
    #[arg(long, conflicts_with = "ours")]
    alone: bool,
    /// Where a monitor's program is, if not on PATH: firecracker=/path
    #[arg(long, value_name = "MONITOR=FILE")]
    program: Vec<Named>,
}

/// What `--vs` is for.
fn vs() -> String {
    format!(
        "Monitors to compare with, each with those of its machines that differ in what is \
         measured, or single machines; one that is named and not there has failed. There are {}, \
         and of single machines {} [default: {}]",
        MONITORS.join(", "),
        names(|peer| peer.monitor != "plinth"),
        MONITORS.join(",")
    )
}

/// What `--ours` is for.
fn ours() -> String {
    format!(
        "Which machines of plinth to measure, of {}; those that differ in what is measured unless \
         told otherwise",
        names(|peer| peer.monitor == "plinth")
    )
}

/// The machines' names that `are` meant.
fn names(are: fn(&Peer) -> bool) -> String {
    let peers = PEERS.iter().filter(|peer| are(peer));
    let names: Vec<&str> = peers.map(|peer| peer.name).collect();
    names.join(", ")
}

/// The program of a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    monitor: String,
    file: PathBuf,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (monitor, file) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not MONITOR=FILE"))?;
        if monitor != "plinth" && !MONITORS.contains(&monitor) {
            return Err(format!(
                "no monitor is called {monitor:?}; there are plinth, {}",
                MONITORS.join(", ")
            ));
        }
        let file = PathBuf::from(file);
        if !file.is_file() {
            return Err(format!("there is no file {}", file.display()));
        }
        let file = std::path::absolute(&file).map_err(|error| error.to_string())?;
        Ok(Self {
            monitor: monitor.to_owned(),
            file,
        })
    }
}

impl Peers {
    /// Fails if someone is asked for who is not there or does not differ in any of
    /// these aspects, or who is told something that becomes of nothing.
    pub(super) fn check(&self, aspects: &[Aspect]) -> Result<()> {
        for name in &self.ours {
            let peer = Peer::named(name).filter(|peer| peer.monitor == "plinth");
            let peer = peer.with_context(|| {
                let known = names(|peer| peer.monitor == "plinth");
                format!("--ours: no machine of plinth is called {name:?}; there are {known}")
            })?;
            differs("--ours", peer, aspects)?;
        }
        // In each, or figures of it would be compared with no plinth.
        for aspect in aspects {
            let mut ours = self.ours.iter().filter_map(|name| Peer::named(name));
            ensure!(
                self.ours.is_empty() || ours.any(|peer| is_another(peer, *aspect)),
                "--ours: {} is none where {aspect:?} is measured; name another one as well",
                self.ours.join(",")
            );
        }
        for word in self.vs.iter().flatten() {
            if MONITORS.contains(&word.as_str()) {
                continue;
            }
            let peer = Peer::named(word).with_context(|| {
                format!(
                    "--vs: no monitor is called {word:?}; there are {}, and of single machines {}",
                    MONITORS.join(", "),
                    names(|peer| peer.monitor != "plinth")
                )
            })?;
            ensure!(
                peer.monitor != "plinth",
                "--vs: {word} is a machine of plinth, which --ours is for"
            );
            differs("--vs", peer, aspects)?;
        }
        let meant = aspects.iter().flat_map(|aspect| self.meant(*aspect));
        let meant: Vec<&Peer> = meant.collect();
        ensure!(!meant.is_empty(), "--alone: nobody is left to measure");
        for (place, Named { monitor, .. }) in self.program.iter().enumerate() {
            ensure!(
                meant.iter().any(|peer| peer.monitor == monitor),
                "--program: {monitor} is not measured, for it is not among those that are named"
            );
            let mut earlier = self.program[..place].iter();
            ensure!(
                earlier.all(|named| named.monitor != *monitor),
                "--program: {monitor} is given two programs"
            );
        }
        Ok(())
    }

    /// Which plinth is measured.
    pub(super) fn plinth(&self) -> Plinth<'_> {
        match self.named("plinth") {
            _ if self.alone => Plinth::Absent,
            Some(program) => Plinth::Named(program),
            None => Plinth::Release,
        }
    }

    /// Who is measured where `aspect` is, each once, plinth first, whose program is
    /// `plinth`.
    pub(super) fn subjects(&self, aspect: Aspect, plinth: Option<&Path>) -> Vec<Subject> {
        let mut subjects: Vec<Subject> = Vec::new();
        for peer in self.meant(aspect) {
            if subjects.iter().any(|(other, _)| other.name == peer.name) {
                continue;
            }
            let program = match (peer.monitor, self.named(peer.monitor)) {
                ("plinth", _) => plinth.map(Path::to_owned),
                (_, Some(program)) => Some(program.to_owned()),
                (_, None) => peer.find(),
            };
            subjects.push((peer, program));
        }
        subjects
    }

    /// Has those of `report` failed who were asked for by name and are not there.
    pub(super) fn demand(&self, report: &mut Report) {
        if self.vs.is_none() {
            return;
        }
        for name in std::mem::take(&mut report.not_found) {
            let monitor = Peer::named(&name).map_or(name.as_str(), |peer| peer.monitor);
            let why = format!("not on PATH; name it with --program {monitor}=FILE");
            report.failed.push(Failed { peer: name, why });
        }
    }

    fn named(&self, monitor: &str) -> Option<&Path> {
        let mut named = self.program.iter();
        let named = named.find(|named| named.monitor == monitor)?;
        Some(&named.file)
    }

    /// Who is meant where `aspect` is measured; some perhaps twice.
    fn meant(&self, aspect: Aspect) -> Vec<&'static Peer> {
        let ours = match (self.alone, self.ours.is_empty()) {
            (true, _) => Vec::new(),
            (_, true) => Peer::meant("plinth", aspect),
            // One that is called like its monitor is meant itself.
            _ => self
                .ours
                .iter()
                .filter_map(|one| Peer::named(one))
                .collect(),
        };
        let words: Vec<&str> = match &self.vs {
            Some(words) => words.iter().map(String::as_str).collect(),
            None => MONITORS.into(),
        };
        let others = words.into_iter().flat_map(|one| Peer::meant(one, aspect));
        let all = ours.into_iter().chain(others);
        all.filter(|peer| is_another(peer, aspect)).collect()
    }
}

/// Whether a machine is another one than its monitor's others where `aspect` is
/// measured. Who differs as a machine does so in everything.
fn is_another(peer: &Peer, aspect: Aspect) -> bool {
    peer.aspects.contains(&Aspect::Machine) || peer.aspects.contains(&aspect)
}

fn differs(option: &str, peer: &Peer, aspects: &[Aspect]) -> Result<()> {
    ensure!(
        aspects.iter().any(|aspect| is_another(peer, *aspect)),
        "{option}: {} is another machine than those of {} in {:?} only, which is not measured",
        peer.name,
        peer.monitor,
        peer.aspects
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        peers: Peers,
        grows: Vec<String>,
    }

    #[test]
    fn monitors_are_one_word_and_what_follows_is_something_else() {
        let parsed = |words: &[&str]| {
            let command = Command::parse_from([&["growth"], words].concat());
            (command.peers.vs, command.grows)
        };
        let (vs, grows) = parsed(&["--vs", "qemu,kvmtool", "vcpus"]);
        let two = Some(words(&["qemu", "kvmtool"]));
        assert_eq!((vs, grows), (two, words(&["vcpus"])));
        assert_eq!(parsed(&["vcpus", "--vs"]).0, Some(Vec::new()));
        assert_eq!(parsed(&["vcpus"]).0, None);
    }

    #[test]
    fn help_names_every_machine() {
        let help = Command::command().render_long_help().to_string();
        let help = help.replace(char::is_whitespace, "");
        for peer in PEERS {
            assert!(help.contains(peer.name), "{}: {help}", peer.name);
        }
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|one| (*one).to_owned()).collect()
    }

    fn peers(ours: &[&str], vs: &[&str], program: &[&str]) -> Peers {
        Peers {
            vs: Some(words(vs)),
            ours: words(ours),
            alone: false,
            program: program.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn names(peers: &Peers, aspect: Aspect) -> Vec<&'static str> {
        let subjects = peers.subjects(aspect, None).into_iter();
        subjects.map(|(peer, _)| peer.name).collect()
    }

    #[test]
    fn each_is_measured_once_however_often_it_is_meant() {
        let peers = peers(&["plinth", "plinth"], &["qemu-q35", "qemu"], &[]);
        let expected = ["plinth", "qemu-q35", "qemu-microvm"];
        assert_eq!(names(&peers, Aspect::Machine), expected);
        let one = Peers {
            ours: words(&["plinth-bzimage"]),
            ..peers.clone()
        };
        one.check(&[Aspect::Boot]).unwrap();
        let refused = one.check(&[Aspect::Boot, Aspect::Disk]).unwrap_err();
        assert!(refused.to_string().contains("where Disk is measured"));
        let alone = Peers {
            ours: Vec::new(),
            alone: true,
            ..peers
        };
        assert_eq!(names(&alone, Aspect::Machine), expected[1..]);
    }

    #[test]
    fn of_several_aspects_each_has_the_machines_that_differ_in_it() {
        let peers = peers(&["plinth", "plinth-volume"], &["qemu-q35-vhost"], &[]);
        peers
            .check(&[Aspect::Machine, Aspect::Disk, Aspect::Network])
            .unwrap();
        assert_eq!(names(&peers, Aspect::Machine), ["plinth"]);
        assert_eq!(names(&peers, Aspect::Disk), ["plinth", "plinth-volume"]);
        assert_eq!(names(&peers, Aspect::Network), ["plinth", "qemu-q35-vhost"]);
    }

    #[test]
    fn a_program_is_of_all_machines_of_its_monitor() {
        let program = std::env::current_exe().unwrap();
        let named = format!("kvmtool={}", program.display());
        let peers = peers(&["plinth"], &["kvmtool"], &[&named]);
        let subjects = peers.subjects(Aspect::Network, Some(Path::new("/plinth")));
        assert_eq!(subjects[0].1.as_deref(), Some(Path::new("/plinth")));
        assert_eq!(subjects.len(), 3);
        for (_, found) in &subjects[1..] {
            assert_eq!(found.as_ref(), Some(&program));
        }
    }

    #[test]
    fn what_cannot_be_done_as_it_is_said_is_refused_by_name() {
        let refused = |peers: &Peers| peers.check(&[Aspect::Machine]).unwrap_err().to_string();
        let here = std::env::current_exe().unwrap();
        let is = |monitor: &str| format!("{monitor}={}", here.display());
        let (qemu, firecracker) = (is("qemu"), is("firecracker"));
        for (peers, expected) in [
            (peers(&[], &["qemo"], &[]), "\"qemo\"; there are qemu,"),
            (
                peers(&["x"], &[], &[]),
                "\"x\"; there are plinth, plinth-vhost",
            ),
            (peers(&[], &["plinth-mmio"], &[]), "--ours is for"),
            (peers(&["plinth-volume"], &[], &[]), "in [Disk] only"),
            (peers(&[], &["kvmtool-vhost"], &[]), "in [Network] only"),
            (
                peers(&[], &["qemu"], &[&firecracker]),
                "firecracker is not measured",
            ),
            (
                peers(&[], &["qemu"], &[&qemu, &qemu]),
                "qemu is given two programs",
            ),
        ] {
            let error = refused(&peers);
            assert!(error.contains(expected), "{error}");
        }
        let nobody = Peers {
            alone: true,
            ..peers(&[], &[], &[])
        };
        assert!(refused(&nobody).contains("nobody"));
        for bad in [
            "firecracker",
            "qemu-q35=/bin/sh",
            "firecracker=/no/such/file",
        ] {
            assert!(Named::from_str(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn who_is_named_and_not_there_has_failed() {
        let absent = || Report {
            not_found: vec!["qemu-q35".to_owned()],
            ..Report::default()
        };
        let mut report = absent();
        peers(&[], &["qemu"], &[]).demand(&mut report);
        assert_eq!(report.failed[0].peer, "qemu-q35");
        assert!(report.failed[0].why.contains("--program qemu=FILE"));
        assert!(report.not_found.is_empty());
        let unnamed = Peers {
            vs: None,
            ..peers(&[], &[], &[])
        };
        let mut report = absent();
        unnamed.demand(&mut report);
        assert_eq!(report, absent());
    }
}
