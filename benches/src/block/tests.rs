use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::*;
use crate::report::Unit;
use crate::{peer, testbed};

fn bench(jobs: &[Job]) -> BlockBench {
    BlockBench {
        testbed: testbed::nothing(),
        fio: PathBuf::new(),
        directory: None,
        jobs: jobs.to_vec(),
        seconds: 1,
        words: String::new(),
        stall_bound: Duration::ZERO,
    }
}

fn read(bench: &BlockBench, console: &str) -> Result<(Vec<Report>, Vec<String>)> {
    let mut output = outer::Captured::default();
    output.stdout.extend(console.as_bytes());
    let status = ExitStatus::from_raw(0);
    let mut failures = Vec::new();
    let reports = bench.read(&Finished { status, output }, &mut failures)?;
    Ok((reports, failures))
}

/// x86 cuts a longer one off (COMMAND_LINE_SIZE in
/// arch/x86/include/asm/setup.h), without a word.
#[test]
fn all_jobs_fit_into_a_kernel_s_command_line() {
    let word = run_word(&bench(&JOBS).script());
    let longest = peer::PEERS.map(|peer| peer.device_command_line(&word).len());
    assert!(longest.iter().all(|len| *len < 1800), "{longest:?}");
}

#[test]
fn figures_are_of_the_jobs_in_order() {
    let bench = bench(&[JOBS[0], JOBS[7]]);
    let console = "plinth-init: up\r\n\
        3;fio-3.33;randread-1;0;0;80000;80000;20000;1000;47.8;0;0;0;0;0.0\r\n\
        [    2.1] a word of the kernel\r\n\
        3;fio-3.33;write;0;0;0;0;0;0;0.0;2097152;2097152;2048;1000;480.1\r\n";
    let (reports, failures) = read(&bench, console).unwrap();
    assert!(failures.is_empty());
    let rates = bench.jobs.iter().zip(&reports);
    let rates: Vec<f64> = rates
        .map(|(job, report)| job.rate(report.bytes_per_second()))
        .collect();
    assert!((rates[0] - 20_000.0).abs() < 1e-6);
    assert!((rates[1] - f64::from(2048 << 10) * 1024.0).abs() < 1e-6);
    assert!((reports[1].latency_us - 480.1).abs() < 1e-9);
    let first = console.lines().take(2).collect::<Vec<_>>().join("\n");
    let (reports, failures) = read(&bench, &first).unwrap();
    assert_eq!(
        reports.len(),
        1,
        "what was measured before a failure is kept"
    );
    assert!(failures[0].contains("of write; ") && failures[0].contains("plinth-init: up"));
    let other = console.lines().skip(3).collect::<Vec<_>>().join("\n");
    for console in ["plinth-init: up\r\n", &other] {
        let error = read(&bench, console).unwrap_err().to_string();
        assert!(
            error.contains("of randread-1; ") || error.contains("of write; "),
            "{error}"
        );
    }
}

/// As [`JOBS`] is read from left to right by the guest's shell, and by fio.
#[test]
fn a_flush_follows_each_write_of_the_jobs_that_are_called_so() {
    for job in JOBS {
        let flushed = job.name.ends_with("-flush");
        let writes = matches!(job.pattern, Pattern::RandomWrite | Pattern::Write);
        assert!(writes || !flushed, "{}", job.name);
        let last = if flushed { " 1" } else { " 0" };
        assert!(job.words().ends_with(last), "{}", job.words());
        assert_eq!(job.latency().is_none(), flushed, "{}", job.name);
    }
    let script = bench(&JOBS).script();
    assert!(script.contains(" --fsync=$5 "), "{script}");
}

#[test]
fn what_the_guest_takes_its_disk_for_is_said() {
    let mut output = outer::Captured::default();
    output
        .stdout
        .extend(b"plinth-init: up\r\ncache: write back\r\n");
    let status = ExitStatus::from_raw(0);
    let note = cache(&Finished { status, output }).unwrap();
    assert_eq!(note, "its disk's cache, as the guest sees it: write back");
}

#[test]
fn it_is_said_where_images_are() {
    let mut bench = bench(&JOBS);
    assert!(bench.parameters().concat().contains("in memory"));
    bench.testbed.mode = Mode::WallClock;
    bench.directory = Some("/proc".into());
    let parameters = bench.parameters().concat();
    assert!(
        parameters.contains("a file on proc of this host"),
        "{parameters}"
    );
}

#[test]
fn rates_are_shown_before_latencies_and_small_operations_are_counted() {
    let figures = bench(&[JOBS[0], JOBS[7]]).figures(&[]);
    let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
    let expected = ["randread-1", "write", "randread-1/latency", "write/latency"];
    assert_eq!(names, expected);
    let units = [figures[0].unit, figures[1].unit];
    assert_eq!(units, [Unit::PerSecond, Unit::BytesPerSecond]);
}

#[test]
fn who_measures_for_longer_may_take_longer() {
    let mut bench = bench(&JOBS[..2]);
    bench.seconds = 60;
    bench.stall_bound = Duration::from_secs(900);
    let expected = [900 + 3600, 4 * 900 + 2 * 3600].map(Duration::from_secs);
    assert_eq!(bench.bounds(), expected);
}
