//! Comparisons by the clock, with monitors that are shell scripts: of two that do the
//! same, one takes its time. Networks take root, as they do where they are measured.

#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use benches::benchmark::{Benchmark, Rounds, Subject, carry_out};
use benches::block::{BlockBench, Job};
use benches::boot::{BootBench, View};
use benches::density::DensityBench;
use benches::memory::MemoryBench;
use benches::net::{NetBench, Pattern};
use benches::peer::Peer;
use benches::probe::{DensityPlan, Plan};
use benches::report::{Mode, Report};
use benches::testbed::Testbed;
use guest_images::Kernel;

/// A program of the host's shell.
fn program(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// A monitor whose guest does what it is told by its kernel's command line, `delay`
/// seconds late, and moves less the longer that is. It says in `order` that it ran.
fn monitor(directory: &Path, name: &str, delay: &str) -> PathBuf {
    let path = directory.join(name);
    let order = directory.join("order");
    let kib = if delay == "0" { 8000 } else { 4000 };
    let script = format!(
        "[ \"$1\" = --version ] && {{ echo fake 1.0; exit; }}\n\
         echo {name} >> {}\n\
         sleep {delay}\n\
         printf 'plinth-init: up\\r\\n'\n\
         case \"$*\" in\n\
         *idle*) printf 'idle\\r\\n'; exec sleep 100;;\n\
         *fio*) printf 'cache: write back\\r\\n\
         3;fio-3.33;randwrite-1-flush;0;0;0;0;0;0;0.0;{kib};{kib};1;1000;9.5\\r\\n';;\n\
         *traffic*) for t in 1 2; do \
         printf 'traffic: stream-out {kib} in 1000000 ns\\r\\n'; done;;\n\
         esac\n\
         printf 'plinth-init: exit 0\\r\\n'\n",
        order.display()
    );
    program(&path, &script);
    path
}

fn testbed() -> Testbed {
    let kernel = Kernel {
        release: "6.1".to_owned(),
        vmlinux: "/vmlinux".into(),
        bzimage: "/bzimage".into(),
        modules: "/modules".into(),
    };
    Testbed {
        mode: Mode::WallClock,
        emulator: None,
        outer_kernel: kernel.clone(),
        agent: PathBuf::new(),
        probe: env!("CARGO_BIN_EXE_monitor-probe").into(),
        kernel,
        initramfs: "/initramfs".into(),
        busybox: "/bin/busybox".into(),
        tracing: "/no/tracing".into(),
    }
}

/// Two monitors, of which one takes `delay` seconds longer, and who of them ran when.
fn compared(benchmark: &dyn Benchmark, delay: &str, counted: u32) -> (Report, String) {
    let directory = tempfile::tempdir().unwrap();
    let subject = |peer: &str, program: &str, delay: &str| -> Subject {
        let program = monitor(directory.path(), program, delay);
        (Peer::named(peer).unwrap(), Some(program))
    };
    let subjects = [
        subject("kvmtool", "quick", "0"),
        subject("crosvm", "slow", delay),
    ];
    let rounds = Rounds {
        warm_up: 1,
        counted,
    };
    let report = carry_out(benchmark, &subjects, rounds, &mut |_| ());
    let order = fs::read_to_string(directory.path().join("order")).unwrap();
    (report, order)
}

#[test]
fn the_quicker_of_two_is_ahead_and_its_interval_is_known() {
    let bench = BootBench {
        testbed: testbed(),
        view: View::Boot,
        memory_mib: 128,
        words: String::new(),
        traces: None,
    };
    let (report, _) = compared(&bench, "0.2", 6);
    assert_eq!(report.failed, []);
    let figures = report.rows();
    assert_eq!(figures.len(), 2, "nothing is counted by the clock");
    for outcome in &report.outcomes {
        assert_eq!(outcome.version, "fake 1.0");
        let why = &outcome.notes[0];
        assert!(why.contains("were not measured") && why.contains("mount -t tracefs"));
        assert_eq!(outcome.warm_up[0].samples.len(), 1);
        let init = outcome.summary("init", None).unwrap();
        assert_eq!(init.count, 6);
        let (low, high) = init.interval.unwrap();
        assert!(low <= init.median && init.median <= high);
    }
    let (init, at) = figures[0];
    assert_eq!(init.name, "init");
    assert!(report.ahead(init, at).unwrap() > 0.0, "{report:?}");
}

#[test]
fn guests_start_at_once_and_none_is_left() {
    let bench = DensityBench {
        testbed: testbed(),
        counts: vec![1, 4],
        memory_mib: 128,
        words: String::new(),
    };
    let (report, _) = compared(&bench, "1.5", 1);
    assert_eq!(report.failed, []);
    let slow = &report.outcomes[1];
    let rate = slow.summary("starts", Some(4)).unwrap().median;
    // One after the other the three of them would take 4.5 seconds.
    assert!(rate > 3.0 / 4.5, "{rate}");
    assert!(slow.summary("pss", Some(4)).is_some());
}

/// Whether both took part in each round, one after the other, each gave one sample, and
/// the quick one is ahead by its factor of two.
fn assert_interleaved(report: &Report, order: &str, figure: &str) {
    assert_eq!(report.failed, []);
    let names: Vec<&str> = order.lines().collect();
    assert_eq!(names.len(), 2 * 3);
    for round in names.chunks(2) {
        assert!(
            round.contains(&"quick") && round.contains(&"slow"),
            "{order}"
        );
    }
    for outcome in &report.outcomes {
        assert_eq!(outcome.summary(figure, None).unwrap().count, 2);
        assert_eq!(outcome.warm_up.len(), 1);
    }
    let (shown, at) = report.rows()[0];
    assert!((report.ahead(shown, at).unwrap() - 1.0).abs() < 1e-9);
}

#[test]
fn disks_are_files_where_it_is_said_and_rounds_alternate() {
    let place = tempfile::tempdir().unwrap();
    let fio = place.path().join("fio.cpio");
    fs::write(&fio, "an archive").unwrap();
    let bench = BlockBench {
        testbed: Testbed {
            initramfs: fio.clone(),
            ..testbed()
        },
        fio,
        directory: Some(place.path().to_owned()),
        jobs: vec![Job::named("randwrite-1-flush").unwrap()],
        seconds: 1,
        words: String::new(),
        stall_bound: Duration::from_secs(60),
    };
    let (report, order) = compared(&bench, "0.1", 2);
    assert_interleaved(&report, &order, "randwrite-1-flush");
    let cache = "its disk's cache, as the guest sees it: write back";
    assert!(
        report
            .outcomes
            .iter()
            .all(|one| one.notes.contains(&cache.to_owned()))
    );
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "images are taken away: {left:?}");
}

#[test]
fn networks_are_in_a_namespace_that_goes_with_who_serves_there() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let seen = path("seen");
    let (ip, serves) = (path("ip"), path("serves"));
    let seen_in = format!("readlink /proc/self/ns/net >> {}\n", seen.display());
    program(&ip, &format!("{seen_in}exit 0\n"));
    program(
        &serves,
        &format!("echo $$ >> {}\nexec sleep 100\n", path("pids").display()),
    );
    let bench = NetBench {
        testbed: testbed(),
        init: serves,
        ip,
        nft: "/usr/sbin/nft".into(),
        patterns: vec![Pattern::named("stream-out").unwrap()],
        milliseconds: 1,
        words: String::new(),
        stall_bound: Duration::from_secs(60),
    };
    let (report, order) = compared(&bench, "0.1", 2);
    assert_interleaved(&report, &order, "stream-out");
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.lines().all(|one| Path::new(one) != own), "{seen}");
    for pid in fs::read_to_string(path("pids")).unwrap().lines() {
        assert!(!Path::new("/proc").join(pid).exists(), "{pid} serves on");
    }
}

#[test]
fn where_memory_cannot_be_told_that_is_a_failure_that_says_what_to_do() {
    let bench = MemoryBench {
        testbed: testbed(),
        sizes: vec![128, 256],
        words: String::new(),
    };
    let place = tempfile::tempdir().unwrap();
    let program = monitor(place.path(), "any", "0");
    let peer = Peer::named("kvmtool").unwrap();
    let error = bench.measure(peer, &program).unwrap_err().to_string();
    for size in ["128 MiB of guest memory: ", "256 MiB of guest memory: "] {
        assert!(error.contains(size) && error.contains("mount -t tracefs"));
    }
}

#[test]
fn machines_of_plinth_are_not_among_those_of_its_user() {
    let place = tempfile::tempdir().unwrap();
    let seen = place.path().join("seen");
    let program_of = monitor(place.path(), "plinth", "0");
    let script = fs::read_to_string(&program_of).unwrap();
    let script = script.replace(
        "sleep 0\n",
        &format!("echo $PLINTH_RUNTIME_DIR >> {}\n", seen.display()),
    );
    program(&program_of, script.trim_start_matches("#!/bin/sh\n"));
    let bench = DensityBench {
        testbed: testbed(),
        counts: vec![1],
        memory_mib: 128,
        words: String::new(),
    };
    bench
        .measure(Peer::named("plinth").unwrap(), &program_of)
        .unwrap();
    let seen = fs::read_to_string(seen).unwrap();
    let temporary = std::env::temp_dir();
    assert_eq!(seen.lines().count(), 2);
    for directory in seen.lines().map(Path::new) {
        let inside = directory.starts_with(&temporary) && directory != temporary;
        assert!(inside && !directory.exists(), "{seen}");
    }
}

#[test]
fn a_probe_that_is_killed_leaves_no_monitor() {
    let place = tempfile::tempdir().unwrap();
    let pid = place.path().join("pid");
    let script = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; exec sleep 100",
        pid.display()
    );
    let idles = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let plan = Plan::Density(DensityPlan {
        commands: vec![idles],
        idle_line: "idle".to_owned(),
        counts: Vec::new(),
    });
    let mut probe = Command::new(env!("CARGO_BIN_EXE_monitor-probe"))
        .arg(serde_json::to_string(&plan).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the monitor starts", || pid.exists());
    probe.kill().unwrap();
    probe.wait().unwrap();
    let monitor = fs::read_to_string(pid).unwrap();
    let command = Path::new("/proc").join(monitor.trim()).join("cmdline");
    // One that has ended has no command line, whoever is to take it away.
    until("the monitor ends", || {
        fs::read(&command).unwrap_or_default().is_empty()
    });
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < patience, "{what}: not within a minute");
        sleep(Duration::from_millis(10));
    }
}
