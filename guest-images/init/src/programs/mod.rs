//! The small programs of the guest tests and the demo, run in the guest as
//! `guest PROGRAM…`. Each is one file, prints lines that begin with its name
//! and hold exact figures, and fails with a message and exit status 1.

mod await_device;
mod clock;
mod discard;
mod disk;
mod garbage;
mod memory;
mod net;
mod registers;
mod report;
mod size;
mod stream;
mod touch;
mod traffic;
mod vsock;
mod vsock_socket;

use std::error::Error;
use std::fmt::Arguments;
use std::io::{self, Write};

/// What a program returns; the message of an error is for a person.
type Outcome = Result<(), Box<dyn Error>>;

const USAGE: &str = "usage: guest report | clock
       guest disk write DEVICE BYTES SEED | hash DEVICE BYTES | verify DEVICE BYTES SEED
       guest disk log DEVICE [FIRST]
       guest disk log-both FIRST SECOND
       guest disk count DEVICE
       guest discard DEVICE OFFSET BYTES
       guest zero DEVICE OFFSET BYTES
       guest net send ADDRESS:PORT BYTES SEED | receive ADDRESS:PORT | echo PORT
       guest traffic serve PORT | PATTERN ADDRESS:PORT MILLISECONDS
       guest vsock connect PORT CONNECTIONS BYTES SEED | echo PORT CONNECTIONS
       guest garbage ROUNDS SEED [mmio=START-END | ports=START-END]...
       guest await CLASS/DEVICE...
       guest memory BYTES
       guest touch DEVICE COUNT STRIDE SEED
sizes take the suffixes K, M, G and T, for powers of 1024";

/// Runs the program that the arguments name.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["report"] => report::run(),
        ["clock"] => clock::run(),
        ["disk", rest @ ..] => disk::run(rest),
        ["discard", rest @ ..] => discard::run(discard::Request::Discard, rest),
        ["zero", rest @ ..] => discard::run(discard::Request::Zero, rest),
        ["net", rest @ ..] => net::run(rest),
        ["traffic", rest @ ..] => traffic::run(rest),
        ["vsock", rest @ ..] => vsock::run(rest),
        ["garbage", rest @ ..] => garbage::run(rest),
        ["await", devices @ ..] => await_device::run(devices),
        ["memory", size] => memory::run(size),
        ["touch", rest @ ..] => touch::run(rest),
        _ => Err(USAGE.into()),
    }
}

/// Prints one line. Unlike `println!`, it fails rather than panics when the
/// reader has had enough.
fn print(line: Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// The failure of a program that was given the wrong words.
fn usage() -> Outcome {
    Err(USAGE.into())
}
