//! The console: typed at through a pipe and through a terminal, not read at
//! all, and left as it was found.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::process::Stdio;
use std::time::Duration;

use guest_tests::{BareKernel, Guest, Terminal};
use rustix::process::Signal;

#[test]
fn what_is_typed_reaches_the_guests_shell() {
    let mut guest = Guest::new().start();
    guest.wait_for("plinth-init: shell");
    guest.type_in("echo $((6 * 7)) is it\n");
    guest.wait_for("42 is it");
    guest.type_in("exit\n");
    guest.end().ends_with(0);
}

#[test]
fn a_long_line_arrives_whole() {
    let mut guest = Guest::new()
        .command("stty -icanon -echo; echo ready; head -c 6000 | md5sum")
        .start();
    guest.wait_for("ready");
    for _ in 0..1000 {
        guest.type_in("abcdef");
    }
    // The digest of what was typed, as md5sum(1) prints it.
    let outcome = guest.end().succeeds();
    outcome.says("9e4e6e2c4f734d9878747f09adf0b999");
}

/// The same console by another device.
fn on_hvc0() -> Guest {
    Guest::new()
        .argument("--console", "stdio,device=virtio")
        .word("console=hvc0")
}

#[test]
fn a_virtio_console_takes_what_is_typed_and_loses_nothing() {
    let mut guest = on_hvc0().start();
    guest.wait_for("plinth-init: shell");
    guest.type_in("stty -icanon -echo; echo ready; head -c 6000 | md5sum\n");
    guest.wait_for("ready\n");
    for _ in 0..1000 {
        guest.type_in("abcdef");
    }
    guest.wait_for("9e4e6e2c4f734d9878747f09adf0b999");
    guest.type_in("seq 1 5000; exit\n");
    let outcome = guest.end().ends_with(0);
    let lines = outcome.console.lines();
    let numbers = lines.filter_map(|line| line.parse::<u32>().ok());
    assert!(numbers.eq(1..=5000), "{outcome}");
}

#[test]
fn ctrl_a_x_ends_a_machine_with_a_virtio_console() {
    let mut guest = on_hvc0().start();
    guest.wait_for("plinth-init: shell");
    guest.type_in("\u{1}x");
    guest.end().ends_with(5);
}

#[test]
fn ctrl_a_x_ends_the_machine() {
    let mut guest = Guest::new().start();
    guest.wait_for("plinth-init: shell");
    guest.type_in("\u{1}x");
    guest.end().ends_with(5);
}

#[test]
fn a_console_that_nobody_reads_does_not_stop_the_guest() {
    // More than the pipe and the VM process's buffer hold together.
    let (unread, output) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&output, 4096).unwrap();
    let guest = Guest::new().command("seq 1 15000");
    let mut process = guest.process();
    process.stdin(Stdio::null()).stdout(output);
    let status = process.status().unwrap();
    assert_eq!(status.code(), Some(0));
    drop(unread);
}

#[test]
fn what_is_typed_before_the_kernel_takes_interrupts_does_not_disturb_it() {
    // No table of interrupts: the first that is delivered is a triple fault.
    let kernel = BareKernel::of(&[
        0x66, 0xba, 0xf9, 0x03, // mov dx, COM1 + 1
        0xb0, 0x01, 0xee, // interrupt when data is there
        0x66, 0xba, 0xfc, 0x03, // mov dx, COM1 + 4
        0xb0, 0x0b, 0xee, // let interrupts out
        0xfb, // sti
        0x66, 0xba, 0xf8, 0x03, // mov dx, COM1
        0xb0, b'>', 0xee, // say that input is awaited
        0x66, 0xba, 0xfd, 0x03, // mov dx, COM1 + 5
        0xec, 0xa8, 0x01, 0x74, 0xfb, // wait for data
        0xb9, 0x00, 0x10, 0x00, 0x00, // mov ecx, 4096
        0xec, 0xe2, 0xfd, // read the status that often: time for an interrupt
        0xb0, 0xfe, 0xe6, 0x64, // reset by the keyboard controller
        0xeb, 0xfe, // jmp to itself
    ]);
    let mut guest = Guest::booting(&kernel).start();
    guest.wait_for(">");
    guest.type_in("x");
    guest.end().ends_with(0);
}

#[test]
fn output_to_a_file_is_complete() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let guest = Guest::new().argument("--console", format!("file={}", file.path().display()));
    let mut outcome = guest.command("seq 1 5000").run();
    assert_eq!(outcome.console, "");
    // A run that ends otherwise shows where.
    outcome.console = std::fs::read_to_string(file.path()).unwrap();
    let console = outcome.ends_with(0).console;
    let numbers: Vec<u32> = console
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    assert!(
        numbers.iter().copied().eq(1..=5000),
        "{} numbers",
        numbers.len()
    );
}

#[test]
fn a_terminal_is_raw_while_the_guest_runs_and_as_before_afterwards() {
    let terminal = Terminal::open();
    let before = terminal.settings();
    let mut guest = Guest::new().start_on(&terminal);
    guest.wait_for("plinth-init: shell");
    assert_ne!(terminal.settings(), before);
    // What would be an interrupt or the end of input is the guest's to see.
    guest.type_in("\u{3}\u{4}");
    std::thread::sleep(Duration::from_millis(100));
    guest.type_in("poweroff -f\n");
    guest.end().ends_with(0);
    assert_eq!(terminal.settings(), before);
}

#[test]
fn a_terminal_is_as_before_however_the_machine_ends() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let terminal = Terminal::open();
        let before = terminal.settings();
        let guest = Guest::new().start_on(&terminal);
        guest.wait_for("plinth-init: up");
        assert_ne!(terminal.settings(), before);
        guest.signal(signal);
        guest.end().ends_with(5);
        assert_eq!(terminal.settings(), before, "{signal:?}");
    }
}
