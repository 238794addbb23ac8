//! A guest that runs: its VM process, its console, and the bound on how long
//! anything may take. Dropping it kills the process.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::transcript::Transcript;
use crate::{BOUND, Outcome, Terminal};

/// A VM process.
#[derive(Debug)]
pub struct Running {
    child: Child,
    input: Option<File>,
    console: Option<Transcript>,
    errors: Option<Transcript>,
}

impl Running {
    /// Starts `process`; standard input is as the caller set it.
    #[track_caller]
    pub(crate) fn spawn(mut process: Command) -> Self {
        process.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(&mut process);
        let console = file(child.stdout.take().unwrap());
        let input = child.stdin.take().map(file::<ChildStdin>);
        Self::of(child, input, console)
    }

    /// Starts `process` on `terminal`.
    #[track_caller]
    pub(crate) fn spawn_on(mut process: Command, terminal: &Terminal) -> Self {
        process
            .stdin(terminal.guest_end())
            .stdout(terminal.guest_end())
            .stderr(Stdio::piped());
        let child = spawn(&mut process);
        // The guest's end must be open nowhere but in the child, or the
        // terminal would not end with it.
        drop(process);
        Self::of(child, Some(terminal.our_end()), terminal.our_end())
    }

    fn of(mut child: Child, input: Option<File>, console: File) -> Self {
        let errors = file(child.stderr.take().unwrap());
        Self {
            child,
            input,
            console: Some(Transcript::of(console)),
            errors: Some(Transcript::of(errors)),
        }
    }

    /// The VM process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the console shows `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let console = self.console.as_ref().expect("it has not ended");
        assert!(
            console.shows(text),
            "no \"{text}\" on the console:\n{}\nstandard error:\n{}",
            console.text(),
            self.errors.as_ref().map_or(String::new(), Transcript::text),
        );
    }

    /// What the console has shown so far.
    pub fn said(&self) -> String {
        self.console.as_ref().expect("it has not ended").text()
    }

    /// Types `text` at the console.
    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        let input = self.input.as_mut().expect("the console takes no input");
        input.write_all(text.as_bytes()).unwrap();
    }

    /// Sends the VM process a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether the VM process has not ended yet.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the VM process has ended.
    #[track_caller]
    pub fn end(mut self) -> Outcome {
        let status = self.wait();
        let rest = |transcript: &mut Option<Transcript>| {
            transcript.take().map_or(String::new(), Transcript::finish)
        };
        Outcome {
            status,
            console: rest(&mut self.console),
            errors: rest(&mut self.errors),
        }
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + BOUND;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the guest does not end; console:\n{}",
                self.console
                    .as_ref()
                    .map_or(String::new(), Transcript::text),
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn spawn(process: &mut Command) -> Child {
    let child = process.spawn();
    child.unwrap_or_else(|error| panic!("{}: {error}", process.get_program().display()))
}

fn file<T: Into<OwnedFd>>(end: T) -> File {
    File::from(end.into())
}
