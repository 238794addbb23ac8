//! The program inside plinth's small initramfs, in two roles: as process 1 it
//! is the init (see `boot`); started as `guest PROGRAM…` it is one of the
//! small programs the guest tests and the demo run (see `programs`).
//! It links nothing but itself, so that an initramfs needs no libraries.

mod boot;
mod command_line;
mod console;
mod ending;
mod interface;
mod job;
mod modules;
mod mounts;
mod programs;
mod root;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    if rustix::process::getpid().is_init() {
        return boot::run();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match programs::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Its reader may be gone, which must not hide the exit status.
            let _ = writeln!(std::io::stderr(), "guest: {failure}");
            ExitCode::FAILURE
        }
    }
}
