//! `plinth doctor`, `completions` and `--help` on whatever machine this is.

use crate::plinth::{Fixture, plinth};

const PROBES: [&str; 8] = [
    "kvm",
    "memory",
    "tap",
    "io_uring",
    "huge pages",
    "userfaultfd",
    "cgroup v2",
    "landlock",
];

#[test]
fn every_probe_has_a_line_and_the_status_says_whether_guests_can_run() {
    let run = plinth(&["doctor"]);
    for probe in PROBES {
        let found = run.out.lines().any(|line| {
            ["ok", "warn", "missing"]
                .iter()
                .any(|level| line.starts_with(&format!("{level:<8} {probe:<12} ")))
        });
        assert!(found, "no line for {probe} in:\n{}", run.out);
    }
    let (verdict, code) = if run.out.contains("missing  kvm") {
        ("Guests cannot run on this host.", 3)
    } else {
        ("Guests can run on this host.", 0)
    };
    assert_eq!(run.code, code);
    assert!(run.out.ends_with(&format!("{verdict}\n")));
}

#[test]
fn json_says_the_same() {
    let run = plinth(&["doctor", "--output", "json"]);
    let report: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(report["can_run"], run.code == 0);
    let findings = report["findings"].as_array().unwrap();
    let names: Vec<&str> = findings.iter().filter_map(|f| f["name"].as_str()).collect();
    assert_eq!(names, PROBES);
    for finding in findings {
        assert_eq!(finding["level"] == "ok", finding["remedy"].is_null());
    }
}

#[test]
fn help_lists_the_exit_statuses() {
    for arguments in [vec!["--help"], vec!["run", "--help"]] {
        let run = plinth(&arguments);
        assert_eq!(run.code, 0);
        assert!(run.out.contains("  4  the guest crashed"));
    }
}

#[test]
fn completions_know_the_options() {
    let run = plinth(&["completions", "bash"]);
    assert_eq!(run.code, 0);
    assert!(run.out.contains("--memory-backing"));
}

#[test]
fn a_machine_that_cannot_run_guests_refuses_before_anything_starts() {
    let doctor = plinth(&["doctor"]);
    let run = Fixture::new().run(&[]);
    if doctor.code == 3 {
        run.refused(3, &["no guest can run here: /dev/kvm", "try: "]);
    } else {
        assert_eq!(run.code, 0, "the stand-in for the VM process: {}", run.err);
    }
}
