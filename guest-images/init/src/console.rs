//! What init says: whole lines on the console, each with the same prefix, so
//! that a test finds them between the kernel's own. Used by every file of the
//! init role. A console that cannot be written to never stops the boot.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// How long a console may take to appear.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes one line. One write call, or the kernel's log may split the line.
pub(crate) fn say(message: impl Display) {
    let line = format!("plinth-init: {message}\n");
    let _ = io::stdout().write_all(line.as_bytes());
}

/// Whether the kernel has the console that it was told to prefer, and so has
/// opened it for init.
pub(crate) fn is_there() -> bool {
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    preferred(&command_line).is_none_or(is_active)
}

fn is_active(wanted: &str) -> bool {
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    active.split_whitespace().any(|name| name == wanted)
}

/// Takes the console for standard input, output and error, once it is there: a
/// module that was loaded for it finds its device a little later.
pub(crate) fn adopt() {
    let deadline = Instant::now() + PATIENCE;
    while !is_there() && Instant::now() < deadline {
        sleep(Duration::from_millis(5));
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

/// The last console that the kernel is told to use.
fn preferred(command_line: &str) -> Option<&str> {
    let words = command_line.split_whitespace();
    let mut consoles = words.filter_map(|word| word.strip_prefix("console="));
    consoles.next_back()?.split(',').next()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_console_is_preferred() {
        assert_eq!(preferred("quiet"), None);
        assert_eq!(preferred("console=ttyS0,115200n8 quiet"), Some("ttyS0"));
        assert_eq!(preferred("console=ttyS0 console=hvc0"), Some("hvc0"));
    }
}
