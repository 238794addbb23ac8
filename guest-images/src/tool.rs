//! A program from a Debian package that a recipe runs, such as `xz` or
//! `depmod`. A missing program and a failed one are both errors that name the
//! program, the package that has it, and the last lines it printed.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, ErrorKind, Result};

/// One invocation, built up like [`Command`].
#[derive(Debug)]
pub struct Tool {
    program: &'static str,
    package: &'static str,
    command: Command,
}

impl Tool {
    /// `program`, which Debian package `package` provides.
    pub fn new(program: &'static str, package: &'static str) -> Self {
        let mut command = Command::new(program);
        // Administration tools are in directories an ordinary user's PATH
        // leaves out; messages are parsed, so they come untranslated.
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"))
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        Self {
            program,
            package,
            command,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Runs in `dir`.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Reads standard input from `stdin` instead of nothing.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Runs to the end and returns standard output.
    pub fn output(mut self) -> Result<Vec<u8>> {
        let output = self.command.output().map_err(|e| self.not_started(e))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let tail: Vec<&str> = text.lines().rev().take(8).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Err(Error::caused(
            ErrorKind::Tool,
            format!("{} failed ({})", self.program, output.status),
            tail.join("\n"),
        ))
    }

    /// Runs to the end with standard output going to `stdout`.
    pub fn output_to(mut self, stdout: std::fs::File) -> Result<()> {
        self.command.stdout(stdout);
        self.output().map(drop)
    }

    /// Runs to the end; what it prints goes to our standard error, for steps
    /// long enough that a person wants to watch.
    pub fn watch(mut self) -> Result<()> {
        let status = self
            .command
            .stdout(std::io::stderr())
            .status()
            .map_err(|e| self.not_started(e))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Tool,
            format!("{} failed ({status})", self.program),
        ))
    }

    /// Runs to the end; hands each line it prints to `line`, for steps long
    /// enough that a person wants to see them move.
    pub fn follow(mut self, mut line: impl FnMut(&str)) -> Result<()> {
        let (reader, writer) =
            std::io::pipe().map_err(|e| Error::caused(ErrorKind::Tool, "creating a pipe", e))?;
        let error_writer = writer
            .try_clone()
            .map_err(|e| Error::caused(ErrorKind::Tool, "creating a pipe", e))?;
        self.command.stdout(writer).stderr(error_writer);
        let mut child = self.command.spawn().map_err(|e| self.not_started(e))?;
        // Our own ends of the pipe are in the command: without closing them
        // the reading would never end.
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut tail = VecDeque::new();
        for text in BufReader::new(reader)
            .split(b'\n')
            .map_while(|text| text.ok())
        {
            let text = String::from_utf8_lossy(&text).into_owned();
            line(&text);
            tail.truncate(7);
            tail.push_front(text);
        }
        let status = child
            .wait()
            .map_err(|e| Error::caused(ErrorKind::Tool, "waiting for a program", e))?;
        if status.success() {
            return Ok(());
        }
        let tail: Vec<String> = tail.into_iter().rev().collect();
        Err(Error::caused(
            ErrorKind::Tool,
            format!("{} failed ({status})", self.program),
            tail.join("\n"),
        ))
    }

    fn not_started(&self, source: std::io::Error) -> Error {
        let remedy = match source.kind() {
            std::io::ErrorKind::NotFound => {
                format!(" (install Debian package {})", self.package)
            }
            _ => String::new(),
        };
        Error::caused(
            ErrorKind::Tool,
            format!("cannot run {}{remedy}", self.program),
            source,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn returns_what_the_program_printed() {
        let out = Tool::new("echo", "coreutils").arg("hello").output();
        assert_eq!(out.unwrap(), b"hello\n");
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let error = Tool::new("no-such-program", "some-package").output();
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tool);
        assert!(error.to_string().contains("some-package"), "{error}");
    }

    #[test]
    fn follows_both_outputs_line_by_line() {
        let mut lines = Vec::new();
        Tool::new("sh", "dash")
            .args(["-c", "echo one; echo two >&2; printf three"])
            .follow(|line| lines.push(line.to_owned()))
            .unwrap();
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[test]
    fn a_failure_that_was_followed_carries_its_last_lines() {
        let error = Tool::new("sh", "dash")
            .args(["-c", "seq 20; exit 1"])
            .follow(|_| {})
            .unwrap_err();
        let tail = error.source().unwrap().to_string();
        assert_eq!(tail, "13\n14\n15\n16\n17\n18\n19\n20");
    }

    #[test]
    fn a_failure_carries_what_was_said() {
        let error = Tool::new("sh", "dash")
            .args(["-c", "echo why >&2; exit 3"])
            .output()
            .unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "why");
    }
}
