use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::*;

fn bench(patterns: &[Pattern]) -> NetBench {
    let kernel = Kernel {
        release: String::new(),
        vmlinux: PathBuf::new(),
        bzimage: PathBuf::new(),
        modules: PathBuf::new(),
    };
    NetBench {
        emulator: None,
        outer_kernel: kernel.clone(),
        agent: PathBuf::new(),
        kernel,
        initramfs: PathBuf::new(),
        init: PathBuf::new(),
        busybox: PathBuf::new(),
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

fn outcome(peer: &str, figures: &[(&'static str, f64)]) -> Outcome {
    let seen = figures.iter().map(|(pattern, figure)| Seen {
        pattern,
        arrived: 1,
        nanoseconds: 1,
        figure: *figure,
    });
    Outcome {
        peer: peer.to_owned(),
        version: String::new(),
        settings: String::new(),
        command_line: String::new(),
        seen: seen.collect(),
        stalls: 0,
    }
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
    let figures = read(&bench, console).unwrap();
    let figures: Vec<f64> = figures.iter().map(|seen| seen.figure).collect();
    assert_eq!(figures, [50.0, 4.0, 42_000.0]);
    let without_last = console.lines().take(7).collect::<Vec<_>>().join("\n");
    let error = read(&bench, &without_last).unwrap_err().to_string();
    assert!(error.contains("plinth-init: up"), "{error}");
    let nothing = console.replace("21000", "0");
    assert!(read(&bench, &nothing).is_err(), "nothing arrived");
}

#[test]
fn a_shorter_round_trip_is_a_better_one() {
    let patterns = [PATTERNS[0], PATTERNS[1]];
    let outcomes = [
        outcome("plinth", &[("round-trips", 40.0), ("stream-out", 5.0)]),
        outcome("plinth-vpc", &[("round-trips", 10.0), ("stream-out", 9.0)]),
        outcome("qemu", &[("round-trips", 50.0), ("stream-out", 4.0)]),
        outcome("kvmtool", &[("round-trips", 60.0), ("stream-out", 2.5)]),
    ];
    let text = table(&patterns, &outcomes);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with("to the best"), "{text}");
    assert!(lines[1].ends_with("+25.0 %"), "{text}");
    assert!(lines[2].ends_with("+25.0 %"), "{text}");
    let text = table(&patterns, &outcomes[..2]);
    assert!(!text.contains('%'), "{text}");
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
