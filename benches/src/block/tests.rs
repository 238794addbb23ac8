use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::*;

fn bench(jobs: &[Job]) -> BlockBench {
    let kernel = Kernel {
        release: String::new(),
        vmlinux: PathBuf::new(),
        bzimage: PathBuf::new(),
        modules: PathBuf::new(),
    };
    BlockBench {
        emulator: None,
        outer_kernel: kernel.clone(),
        agent: PathBuf::new(),
        kernel,
        initramfs: PathBuf::new(),
        fio: PathBuf::new(),
        busybox: PathBuf::new(),
        jobs: jobs.to_vec(),
        seconds: 1,
        words: String::new(),
        stall_bound: Duration::ZERO,
    }
}

fn read(bench: &BlockBench, console: &str) -> Result<Vec<Seen>> {
    let mut output = outer::Captured::default();
    output.stdout.extend(console.as_bytes());
    let status = ExitStatus::from_raw(0);
    bench.read(&Finished { status, output })
}

fn outcome(peer: &str, figures: &[(&str, f64)]) -> Outcome {
    let seen = figures.iter().map(|(job, operations)| Seen {
        job: (*job).to_owned(),
        operations: *operations,
        bytes: operations * f64::from(1 << 20),
        latency_us: 1.0,
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
    let seen = read(&bench, console).unwrap();
    assert!((seen[0].operations - 20_000.0).abs() < 1e-6);
    assert!((seen[1].bytes - f64::from(2048 << 10) * 1024.0).abs() < 1e-6);
    assert!((seen[1].latency_us - 480.1).abs() < 1e-9);
    let first = console.lines().take(2).collect::<Vec<_>>().join("\n");
    let error = read(&bench, &first).unwrap_err().to_string();
    assert!(error.contains("plinth-init: up"), "{error}");
}

#[test]
fn the_table_compares_the_first_with_the_best_that_is_not_its_own() {
    let jobs = [JOBS[0], JOBS[7]];
    let outcomes = [
        outcome("plinth", &[("randread-1", 22_000.0), ("write", 1000.0)]),
        outcome(
            "plinth-volume",
            &[("randread-1", 90_000.0), ("write", 9000.0)],
        ),
        outcome("qemu", &[("randread-1", 16_000.0), ("write", 2000.0)]),
        outcome("kvmtool", &[("randread-1", 20_000.0)]),
    ];
    let text = table(&jobs, &outcomes);
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(rows[0].starts_with(&["plinth", "plinth-volume", "qemu", "kvmtool"]));
    assert!(rows[1].ends_with(&["22000", "90000", "16000", "20000", "+10.0", "%"]));
    assert!(rows[2].ends_with(&["1000", "9000", "2000", "-50.0", "%"]));
    let alone = table(&jobs, &outcomes[..2]);
    assert!(!alone.contains('%'), "{alone}");
}
