//! A comparison by the clock, with monitors that are shell scripts: of two that do
//! the same, one takes its time.

#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use benches::benchmark::{Benchmark, Rounds, Subject, carry_out};
use benches::boot::{BootBench, View};
use benches::density::DensityBench;
use benches::peer::Peer;
use benches::report::{Mode, Report};
use benches::testbed::Testbed;
use guest_images::Kernel;

/// A monitor whose guest does what it is told by its kernel's command line.
fn monitor(directory: &Path, name: &str, delay: &str) -> PathBuf {
    let path = directory.join(name);
    let script = format!(
        "#!/bin/sh\n\
         [ \"$1\" = --version ] && {{ echo fake 1.0; exit; }}\n\
         sleep {delay}\n\
         printf 'plinth-init: up\\r\\n'\n\
         case \"$*\" in *idle*) printf 'idle\\r\\n'; exec sleep 100;; esac\n"
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
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
    }
}

/// Two monitors, of which one takes `delay` seconds longer.
fn compared(benchmark: &dyn Benchmark, delay: &str, counted: u32) -> Report {
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
    carry_out(benchmark, &subjects, rounds, &mut |_| ())
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
    let report = compared(&bench, "0.2", 6);
    assert_eq!(report.failed, []);
    let figures = report.rows();
    assert_eq!(figures.len(), 2, "nothing is counted by the clock");
    for outcome in &report.outcomes {
        assert_eq!(outcome.version, "fake 1.0");
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
    let report = compared(&bench, "1.5", 1);
    assert_eq!(report.failed, []);
    let slow = &report.outcomes[1];
    let rate = slow.summary("starts", Some(4)).unwrap().median;
    // One after the other the three of them would take 4.5 seconds.
    assert!(rate > 3.0 / 4.5, "{rate}");
    assert!(slow.summary("pss", Some(4)).is_some());
}
