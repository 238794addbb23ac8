use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::*;
use crate::{peer, testbed};

fn bench(patterns: &[Pattern]) -> NetBench {
    NetBench {
        testbed: testbed::nothing(),
        init: PathBuf::new(),
        ip: PathBuf::new(),
        nft: PathBuf::new(),
        patterns: patterns.to_vec(),
        milliseconds: 1000,
        words: String::new(),
        stall_bound: Duration::ZERO,
    }
}

fn read(bench: &NetBench, console: &str) -> Result<Vec<Seen>> {
    let mut output = outer::Captured::default();
    output.stdout.extend(console.as_bytes());
    let status = ExitStatus::from_raw(0);
    bench.read(&Finished { status, output })
}

#[test]
fn what_counts_is_what_comes_after_the_warm_up() {
    let bench = bench(&[PATTERNS[0], PATTERNS[1], PATTERNS[3]]);
    let console = "plinth-init: up\r\n\
        traffic: round-trips 10 in 50000000 ns\r\n\
        traffic: round-trips 20000 in 1000000000 ns\r\n\
        [    2.1] a word of the kernel\r\n\
        traffic: stream-out 1 in 1 ns\r\n\
        traffic: stream-out 500000000 in 1000000000 ns\r\n\
        traffic: packets-out 1 in 1 ns\r\n\
        traffic: packets-out 21000 in 500000000 ns\r\n";
    let seen = read(&bench, console).unwrap();
    assert_eq!(seen.len(), 6, "what warms up is kept");
    let counted = seen.iter().filter(|seen| !seen.warm_up);
    let figures: Vec<f64> = bench
        .patterns
        .iter()
        .zip(counted)
        .map(|(pattern, seen)| pattern.value(seen.arrived, seen.nanoseconds))
        .collect();
    assert_eq!(figures, [50_000.0, 4e9, 42_000.0]);
    let without_last = console.lines().take(7).collect::<Vec<_>>().join("\n");
    let error = read(&bench, &without_last).unwrap_err().to_string();
    assert!(error.contains("plinth-init: up"), "{error}");
    let nothing = console.replace("21000", "0");
    assert!(read(&bench, &nothing).is_err(), "nothing arrived");
}

#[test]
fn a_shorter_round_trip_is_a_better_one() {
    let figure = |pattern: &Pattern| pattern.figure();
    assert!(figure(&PATTERNS[0]).ahead(40.0, 50.0) > 0.0);
    assert!(figure(&PATTERNS[1]).ahead(5.0, 4.0) > 0.0);
}

/// x86 cuts a longer one off (COMMAND_LINE_SIZE in
/// arch/x86/include/asm/setup.h), without a word.
#[test]
fn all_patterns_fit_into_a_kernel_s_command_line() {
    let bench = bench(&PATTERNS);
    let longest = peer::PEERS.map(|peer| {
        let line = bench.command_line(peer, ADDRESSES[0], &bench.script());
        line.len()
    });
    assert!(longest.iter().all(|len| *len < 1800), "{longest:?}");
}

#[test]
fn who_measures_for_longer_may_take_longer() {
    let mut bench = bench(&PATTERNS);
    bench.milliseconds = 60_000;
    bench.stall_bound = Duration::from_secs(600);
    let [silent, whole] = bench.bounds();
    let minute = Duration::from_secs(60);
    assert!(silent > minute * 60 && whole > minute * 60 * 5);
}
