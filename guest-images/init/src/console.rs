//! What init says: whole lines on the console, each with the same prefix, so
//! that a test finds them between the kernel's own. Used by every file of the
//! init role. A console that cannot be written to never stops the boot.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::isatty;

/// Writes one line. One write call, or the kernel's log may split the line.
pub(crate) fn say(message: impl Display) {
    let line = format!("plinth-init: {message}\n");
    let _ = io::stdout().write_all(line.as_bytes());
}

/// Takes the console for standard input, output and error, if a module had to
/// be loaded for it and the kernel could not open it for init.
pub(crate) fn adopt() {
    if isatty(io::stdin()) {
        return;
    }
    let console = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/console");
    // Without a console at all, there is nobody to tell.
    if let Ok(console) = console {
        let _ = dup2_stdin(&console);
        let _ = dup2_stdout(&console);
        let _ = dup2_stderr(&console);
    }
}

/// Opens the terminal behind /dev/console: a shell needs job control, and the
/// kernel refuses /dev/console itself as a controlling terminal.
pub(crate) fn terminal() -> io::Result<File> {
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let name = active.split_whitespace().last().unwrap_or("console");
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(Path::new("/dev").join(name))
}
