//! How long one change of a security group takes, and plugging in one machine, on a
//! network of many: from the stored state to what is in the kernel. `cargo bench -p
//! benches --bench switch`, as root, since it makes a network namespace.
//!
//! Each group has sixty rules and each port one group; there are as many ports as
//! groups, each plugged in. The change is a rule more in one group, or less.
//! *Computed* is the transaction alone; *made* is all of it, stored durably and
//! applied; *plugged* is a machine more, until packets would reach it.

#![allow(missing_docs)] // Of what criterion's macros make.

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use host::option::net::{NetEnd, NetOption};
use host::switch::change::{change, create_vpc, delete};
use host::switch::directory::Switches;
use host::switch::plug::{Machine, plug};
use network::cidr::Cidr;
use network::name::Name;
use network::port::PortWish;
use network::refused::Refused;
use network::ruleset::{Ruleset, transaction};
use network::security_group::{Direction, MOST_RULES, Peer, Rule};
use network::vpc::Vpc;

/// Groups, and ports.
const COUNTS: [usize; 3] = [10, 100, 1000];

fn name(text: &str) -> Name {
    text.parse().expect("this is a name")
}

fn rule(number: usize) -> Rule {
    let traffic = format!("tcp:{}", 1000 + number);
    Rule {
        traffic: traffic.parse().expect("this is a kind of packets"),
        peer: Peer::Cidr(Cidr::ALL),
    }
}

/// Adds groups with all the rules that they can have but one.
fn fill(vpc: &mut Vpc, count: usize) -> Result<(), Refused> {
    vpc.add_subnet(
        name("front"),
        "10.0.0.0/16".parse().expect("this is a range"),
    )?;
    for number in 0..count {
        let group = name(&format!("g{number}"));
        vpc.add_group(group.clone(), String::new())?;
        for rule in (1..MOST_RULES).map(rule) {
            vpc.authorize(&group, Direction::Inbound, rule)?;
        }
    }
    Ok(())
}

/// Adds a port to each group.
fn populate(vpc: &mut Vpc, count: usize) -> Result<(), Refused> {
    for number in 0..count {
        let wish = PortWish {
            groups: vec![name(&format!("g{number}"))],
            ..PortWish::default()
        };
        vpc.add_port(name("front"), wish)?;
    }
    Ok(())
}

/// A rule more in one group, or, if it is there, less.
fn toggle(vpc: &mut Vpc) -> Result<(), Refused> {
    let group = name("g7");
    let rule = rule(0);
    match vpc.groups()[&group].inbound.contains(&rule) {
        true => vpc.revoke(&group, Direction::Inbound, &rule),
        false => vpc.authorize(&group, Direction::Inbound, rule),
    }
}

fn computed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("switch/computed");
    for count in COUNTS {
        let mut old = Vpc::new("10.0.0.0/16".parse().expect("a range")).expect("a network");
        fill(&mut old, count).expect("the network is empty");
        populate(&mut old, count).expect("there are addresses");
        let mut new = old.clone();
        toggle(&mut new).expect("the group is there");
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| transaction(&Ruleset::of(&old), &Ruleset::of(&new)));
        });
    }
}

fn made(criterion: &mut Criterion) {
    for count in COUNTS {
        let mut network = Network::new(count).expect("this takes root, and the package nftables");
        let id = |what| BenchmarkId::new(what, count);
        let mut group = criterion.benchmark_group("switch");
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(5));
        group.bench_function(id("made"), |bencher| {
            bencher.iter(|| network.change(toggle).expect("the network is there"));
        });
        group.bench_function(id("plugged"), |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| network.plug_one_more()).sum());
        });
    }
}

/// A network in the kernel, gone with this.
struct Network {
    switches: Switches,
    name: Name,
    /// Who is plugged in.
    taps: Vec<OwnedFd>,
    _data: tempfile::TempDir,
}

impl Network {
    fn new(count: usize) -> Result<Self, Box<dyn Error>> {
        let data = tempfile::tempdir()?;
        fs::set_permissions(&data, Permissions::from_mode(0o700))?;
        let switches = Switches::at(data.path());
        let name = name(&format!("bench-{}", std::process::id()));
        create_vpc(&switches, name.clone(), "10.0.0.0/16".parse()?)?;
        let mut network = Self {
            switches,
            name,
            taps: Vec::new(),
            _data: data,
        };
        network.change(|vpc| fill(vpc, count))?;
        for number in 0..count {
            let taps = network.plug(&format!("g{number}"))?;
            network.taps.extend(taps);
        }
        Ok(network)
    }

    /// How long it takes to plug one machine more in, which is gone then.
    fn plug_one_more(&mut self) -> Duration {
        let began = Instant::now();
        let taps = self.plug("g7").expect("the network is there");
        let took = began.elapsed();
        drop(taps);
        self.change(|_| Ok(())).expect("the network is there");
        took
    }

    fn plug(&mut self, group: &str) -> Result<Vec<OwnedFd>, Box<dyn Error>> {
        let option: NetOption = format!("{},security-group={group}", self.name).parse()?;
        let NetEnd::Port(port) = &option.end else {
            return Err("it is a port that is asked for".into());
        };
        let machine = Machine::called(group);
        let plugged = plug(&self.switches, port, None, option.queues, &machine)?;
        Ok(plugged.taps)
    }

    fn change(
        &self,
        what: impl FnOnce(&mut Vpc) -> Result<(), Refused>,
    ) -> Result<(), host::error::Error> {
        change(&self.switches, &self.name, what)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.taps.clear();
        let _ = delete(&self.switches, &self.name);
    }
}

criterion_group!(benches, computed, made);
criterion_main!(benches);
