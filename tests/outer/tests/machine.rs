//! The outer machine against a real emulator: what goes through is faithful,
//! and what goes wrong is found within a bound, named, and cleaned up.
//! `cargo xtask test` runs these; they need the agent that it builds.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use guest_images::emulator::newer;
use guest_images::{Cache, DebianKernel, Kernel};
use outer::{
    Captured, Command, Deterministic, ErrorKind, Finished, OuterConfig, OuterMachine, WarmMachine,
};
use rustix::process::{Pid, Signal, kill_process};

fn kernel() -> Kernel {
    let kernel = DebianKernel::Generic
        .cached(&Cache::open().unwrap())
        .unwrap();
    kernel.expect("no kernel in the cache: run cargo xtask test")
}

/// …/target/TRIPLE/PROFILE, seen from …/PROFILE/deps/machine.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

fn agent() -> PathBuf {
    let agent = built().join("outer-agent");
    assert!(agent.exists(), "no outer-agent: run cargo xtask test");
    agent
}

fn config() -> OuterConfig {
    let mut config = OuterConfig::new(kernel(), agent());
    // cargo xtask test says so where it cannot be fetched.
    config.emulator = newer::fetch(&Cache::open().unwrap()).unwrap_or_default();
    config.memory_mib = 1024;
    config.shares.push(built());
    config
}

fn shell(script: &str) -> Command {
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    Command::new("/bin/sh")
        .args(["-c", script])
        .envs([("PATH", path), ("GIVEN", "it's here")])
}

/// Stops the emulator, as if it had stalled.
fn stall(machine: &OuterMachine) {
    let pid = Pid::from_raw(i32::try_from(machine.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
}

/// Whether process `pid` runs, a dead one not yet waited for not counting.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn commands_go_through_faithfully() {
    let mut machine = OuterMachine::boot(&config()).unwrap();
    let mut run = |command: &Command| {
        let mut output = Captured::default();
        let status = machine.run(command, &mut output);
        status.map(|status| (status, output))
    };

    // Streams apart, environment, directory, exit status.
    let script = "echo \"$GIVEN\"; pwd; echo bad >&2; exit 42";
    let (status, output) = run(&shell(script).current_dir("/usr")).unwrap();
    assert_eq!(status.code(), Some(42));
    assert_eq!(output.stdout, b"it's here\n/usr\n");
    assert_eq!(output.stderr, b"bad\n");

    // A signal stays a signal.
    let (status, _) = run(&shell("kill -SEGV $$")).unwrap();
    assert_eq!(status.signal(), Some(11));

    // Every byte of much output, also what is written right before the end.
    let (status, output) = run(&shell("yes 0123456 | head -c 8000000; echo end")).unwrap();
    assert!(status.success());
    assert_eq!(output.stdout.len(), 8_000_004);
    assert!(output.stdout.ends_with(b"end\n"));

    // Something left in the background does not hold the command back.
    let (status, output) = run(&shell("sleep 1000 & echo started")).unwrap();
    assert!(status.success());
    assert_eq!(output.stdout, b"started\n");

    // With a terminal it sees one.
    let (_, output) = run(&shell("tty; stty size").terminal(7, 33)).unwrap();
    assert_eq!(output.stdout, b"/dev/pts/0\r\n7 33\r\n");

    // What cannot be started, and what runs too long, ends in an error.
    let error = run(&Command::new("/no/such/program")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let error = run(&shell("sleep 1000").timeout(Duration::from_secs(1))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);

    // The first processor is the kernel's alone, for the emulator's sake.
    let (_, output) = run(&shell("grep Cpus_allowed_list /proc/self/status")).unwrap();
    assert_eq!(output.stdout, b"Cpus_allowed_list:\t1-2\n");

    // So that KVM is never used for the first time: see the agent's keeper.
    let (status, _) = run(&shell("ls -l /proc/1/fd | grep -q anon_inode:kvm-vcpu")).unwrap();
    assert!(status.success());

    // KVM is there, and so are taps.
    let (status, _) = run(&shell("test -c /dev/kvm && test -c /dev/net/tun")).unwrap();
    assert!(status.success());
    machine.shutdown();
}

#[test]
fn files_are_the_hosts_and_changes_stay_in_the_shares() {
    let mut machine = OuterMachine::boot(&config()).unwrap();
    let mut run = |script: String| {
        let mut output = Captured::default();
        let status = machine.run(&shell(&script), &mut output).unwrap();
        assert!(status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let private = std::env::temp_dir().join(format!("plinth-outer-{}", std::process::id()));
    let shared = built().join("machine-test-share");

    for text in ["one", "another"] {
        for file in [&private, &shared] {
            fs::write(file, text).unwrap();
            assert_eq!(run(format!("cat {}", file.display())), text);
        }
    }
    run(format!(
        "echo inside > {}; echo inside > {}",
        shared.display(),
        private.display()
    ));
    assert_eq!(fs::read_to_string(&shared).unwrap(), "inside\n");
    assert_eq!(fs::read_to_string(&private).unwrap(), "another");
    fs::remove_file(&shared).unwrap();
    fs::remove_file(&private).unwrap();
    machine.shutdown();
}

#[test]
fn a_stuck_machine_is_found_killed_and_replaced() {
    let mut config = config();
    config.stall_bound = Duration::from_secs(10);
    let mut warm = WarmMachine::new(config);
    let first = warm.warm_up().unwrap();
    let pid = first.pid();
    stall(first);
    let mut output = Captured::default();
    let status = warm.run(&shell("echo alive"), &mut output).unwrap();
    assert!(status.success());
    assert_eq!(output.stdout, b"alive\n");
    assert_eq!(warm.replaced(), 1);
    assert!(!runs(pid));
    warm.shutdown();
}

#[test]
fn a_machine_that_dies_is_no_pass() {
    let mut machine = OuterMachine::boot(&config()).unwrap();
    let mut output = Captured::default();
    let crash = shell("echo before; sleep 1; echo c > /proc/sysrq-trigger");
    let error = machine.run(&crash, &mut output).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Died);
    assert_eq!(output.stdout, b"before\n");
    assert!(
        error.to_string().contains("sysrq"),
        "the console's last words: {error}"
    );
    assert!(!runs(machine.pid()));
}

#[test]
fn a_machine_dies_with_the_thread_that_booted_it() {
    let boot = || {
        let machine = OuterMachine::boot(&config()).unwrap();
        let pid = machine.pid();
        // As after a crash: nothing is dropped.
        std::mem::forget(machine);
        pid
    };
    let pid = std::thread::spawn(boot).join().unwrap();
    let mut waits = 0;
    while runs(pid) {
        waits += 1;
        assert!(waits < 600, "the emulator outlived its parent");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Prints its own time, in 10 ms, and what KVM tracing can count.
fn deterministic(seed: u64) -> outer::Result<Finished> {
    let busybox = "/bin/busybox";
    let script = "busybox cat /proc/uptime; busybox ls /sys/kernel/tracing/events/kvm/kvm_exit; \
                  busybox test -c /dev/kvm || exit 1; echo x >&2; exit 5";
    let run = Deterministic {
        emulator: None,
        kernel: kernel(),
        agent: agent(),
        memory_mib: 512,
        seed,
        modules: Vec::new(),
        files: vec![("bin/busybox".to_owned(), busybox.into())],
        command: Command::new(busybox)
            .args(["ash", "-c", script])
            .envs([("PATH", "/bin")]),
        stall_bound: Duration::from_secs(60),
        total_bound: Duration::from_secs(180),
    };
    run.run()
}

#[test]
fn a_deterministic_machine_gives_the_same_twice() {
    // A stall repeats with its seed: see the type's documentation.
    let twice = |seed| Some((deterministic(seed).ok()?, deterministic(seed).ok()?));
    let (first, second) = twice(1).or_else(|| twice(2)).expect("two seeds stalled");
    assert_eq!(first.status.code(), Some(5));
    assert_eq!(first.output, second.output);
    let text = String::from_utf8(first.output.stdout).unwrap();
    assert!(text.contains("trigger"), "no KVM tracing: {text}");
    assert_eq!(first.output.stderr, b"x\n");
}
