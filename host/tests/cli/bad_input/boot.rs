//! What is booted: kernel, initrd and command line.

use super::CONFIGURATION;
use crate::plinth::{Fixture, plinth};

#[test]
fn a_kernel_must_be_given() {
    plinth(&["run"]).refused(CONFIGURATION, &["--kernel <FILE>"]);
}

#[test]
fn a_kernel_that_does_not_exist() {
    plinth(&["run", "--kernel", "/nonexistent/k"]).refused(
        CONFIGURATION,
        &[
            "kernel '/nonexistent/k' cannot be opened: No such file or directory",
            "try: another file with --kernel",
        ],
    );
}

#[test]
fn a_kernel_that_is_a_directory() {
    let f = Fixture::new();
    let directory = f.path(".");
    let directory = directory.to_str().unwrap();
    plinth(&["run", "--kernel", directory])
        .refused(CONFIGURATION, &["kernel '", directory, "' is a directory"]);
}

#[test]
fn a_kernel_that_is_empty() {
    let f = Fixture::new();
    let empty = f.file("empty", 0);
    plinth(&["run", "--kernel", &empty]).refused(CONFIGURATION, &["kernel '", "' is empty"]);
}

#[test]
fn a_kernel_that_is_a_pipe_is_not_waited_for() {
    let f = Fixture::new();
    let pipe = f.path("pipe");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    plinth(&["run", "--kernel", pipe.to_str().unwrap()])
        .refused(CONFIGURATION, &["is not a regular file"]);
}

#[test]
fn a_kernel_that_is_none_or_cut_off_or_for_another_machine() {
    let f = Fixture::new();
    let whole = std::fs::read(f.path("kernel")).unwrap();
    let mut foreign = whole.clone();
    foreign[18] = 183; // e_machine: EM_AARCH64
    for (name, bytes, why) in [
        (
            "text",
            b"hello, world".as_slice(),
            "give an uncompressed x86_64 ELF kernel",
        ),
        (
            "short",
            &whole[..whole.len() - 1],
            "the kernel image is truncated",
        ),
        ("foreign", &foreign, "the kernel image is"),
    ] {
        let path = f.path(name);
        std::fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        plinth(&["run", "--kernel", path]).refused(
            CONFIGURATION,
            &[&format!("kernel '{path}' cannot be booted: "), why],
        );
    }
}

#[test]
fn a_kernel_without_the_entry_that_is_asked_for() {
    let f = Fixture::new();
    f.run(&["--boot", "pvh"])
        .refused(CONFIGURATION, &["cannot be booted", "no usable entry"]);
}

#[test]
fn an_initrd_is_checked_like_a_kernel() {
    let f = Fixture::new();
    f.run(&["--initrd", "/nonexistent/i"]).refused(
        CONFIGURATION,
        &["initrd '/nonexistent/i' cannot be opened", "--initrd"],
    );
    f.run(&["--initrd", &f.file("empty", 0)])
        .refused(CONFIGURATION, &["initrd '", "' is empty"]);
}

#[test]
fn a_command_line_that_is_too_long_or_has_lines() {
    let f = Fixture::new();
    f.run(&["--cmdline", &"x".repeat(2048)]).refused(
        CONFIGURATION,
        &[
            "--cmdline",
            "the kernel command line has 2048 bytes, the limit is 2047; shorten it",
        ],
    );
    f.run(&["--cmdline", "quiet\nro"])
        .refused(CONFIGURATION, &["--cmdline", "'\\n' at byte 5"]);
}
