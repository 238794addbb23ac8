//! Who is measured: the words of the command line, and where programs are.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, ensure};
use benches::benchmark::Subject;
use benches::peer::{Aspect, MONITORS, PEERS, Peer};
use clap::Args;

use super::plinth;

/// Who is measured.
#[derive(Clone, Debug, Args)]
pub(super) struct Peers {
    /// Monitors to compare with, each with those of its machines that differ in
    /// what is measured: qemu (microvm and q35), firecracker, cloud-hypervisor,
    /// crosvm, kvmtool; or single machines: qemu-microvm, qemu-q35-vhost, ...
    #[arg(long, value_name = "MONITOR", value_delimiter = ',', num_args = 0..=1,
        default_values = MONITORS)]
    vs: Vec<String>,
    /// Which machines of plinth to measure, of plinth, plinth-vhost, plinth-mmio,
    /// plinth-volume, plinth-encrypted, plinth-vpc and plinth-vpc-60; those that
    /// differ in what is measured unless told otherwise
    #[arg(long, value_name = "MACHINE", value_delimiter = ',')]
    ours: Vec<String>,
    /// Measure only the others, without plinth
    #[arg(long, conflicts_with = "ours")]
    alone: bool,
    /// Where a monitor's program is, if not on PATH: firecracker=/path
    #[arg(long, value_name = "MONITOR=FILE")]
    program: Vec<Named>,
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
        if PEERS.iter().all(|peer| peer.monitor != monitor) {
            return Err(unknown(monitor));
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
    /// Who is meant where `aspect` is measured; each once, plinth first. plinth is
    /// built now unless its program was named.
    pub(super) fn subjects(&self, aspect: Aspect) -> Result<Vec<Subject>> {
        let mut peers = self.ours(aspect)?;
        for word in &self.vs {
            let meant = Peer::meant(word, aspect);
            ensure!(!meant.is_empty(), "{}", unknown(word));
            peers.extend(meant);
        }
        let mut subjects: Vec<Subject> = Vec::new();
        let mut built = None;
        for peer in peers {
            if subjects.iter().any(|(other, _)| other.name == peer.name) {
                continue;
            }
            let mut named = self.program.iter();
            let named = named.find(|named| named.monitor == peer.monitor);
            let program = match (named, peer.monitor) {
                (Some(named), _) => Some(named.file.clone()),
                (None, "plinth") => match &built {
                    Some(program) => Some(PathBuf::clone(program)),
                    None => Some(built.insert(plinth()?).clone()),
                },
                (None, _) => peer.find(),
            };
            subjects.push((peer, program));
        }
        Ok(subjects)
    }

    fn ours(&self, aspect: Aspect) -> Result<Vec<&'static Peer>> {
        if self.alone {
            return Ok(Vec::new());
        }
        if self.ours.is_empty() {
            return Ok(Peer::meant("plinth", aspect));
        }
        let mut ours = Vec::new();
        for name in &self.ours {
            let peer = Peer::named(name).filter(|peer| peer.monitor == "plinth");
            let Some(peer) = peer else {
                anyhow::bail!("--ours: no machine of plinth is called {name:?}");
            };
            ours.push(peer);
        }
        Ok(ours)
    }
}

fn unknown(word: &str) -> String {
    let singles: Vec<&str> = PEERS.iter().map(|peer| peer.name).collect();
    format!(
        "no monitor is called {word:?}; there are {}, and of single machines {}",
        MONITORS.join(", "),
        singles.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

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
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|one| (*one).to_owned())
                .collect::<Vec<_>>()
        };
        let (vs, grows) = parsed(&["--vs", "qemu,kvmtool", "vcpus"]);
        assert_eq!(
            (vs, grows),
            (words(&["qemu", "kvmtool"]), words(&["vcpus"]))
        );
        assert_eq!(parsed(&["vcpus", "--vs"]).0, words(&[]));
        assert_eq!(parsed(&["vcpus"]).0, words(&MONITORS));
    }

    fn peers(vs: &[&str], program: &[&str]) -> Peers {
        Peers {
            vs: vs.iter().map(|word| (*word).to_owned()).collect(),
            ours: Vec::new(),
            alone: true,
            program: program.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn each_is_measured_once_however_often_it_is_meant() {
        let subjects = peers(&["qemu-q35", "qemu"], &[]).subjects(Aspect::Machine);
        let subjects = subjects.unwrap();
        let names: Vec<&str> = subjects.iter().map(|(peer, _)| peer.name).collect();
        assert_eq!(names, ["qemu-q35", "qemu-microvm"]);
    }

    #[test]
    fn a_program_is_of_all_machines_of_its_monitor() {
        let program = std::env::current_exe().unwrap();
        let named = format!("kvmtool={}", program.display());
        let subjects = peers(&["kvmtool"], &[&named]).subjects(Aspect::Network);
        let subjects = subjects.unwrap();
        assert_eq!(subjects.len(), 2);
        for (_, found) in subjects {
            assert_eq!(found.as_ref(), Some(&program));
        }
    }

    #[test]
    fn what_is_no_monitor_or_no_file_is_refused_by_name() {
        let error = peers(&["qemo"], &[]).subjects(Aspect::Disk).unwrap_err();
        assert!(error.to_string().contains("\"qemo\"; there are qemu,"));
        for bad in ["firecracker", "qemo=/bin/sh", "firecracker=/no/such/file"] {
            assert!(Named::from_str(bad).is_err(), "{bad}");
        }
    }
}
