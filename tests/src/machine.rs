//! A machine that runs on its own, as `plinth run --detach` leaves it, and is
//! operated through `plinth vm` and its control socket. It is called `web` in
//! a runtime directory that nobody else has. Dropping it kills it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::running::Running;
use crate::{BOUND, Outcome, Terminal, images, volumes};

/// What it is called.
pub(crate) const NAME: &str = "web";

/// Where plinth looks for runtime directories of machines.
const RUNTIME: &str = "PLINTH_RUNTIME_DIR";

/// A machine, alive or not.
#[derive(Debug)]
pub struct Machine {
    directory: TempDir,
    /// The data directory, if it has volumes.
    data: Option<PathBuf>,
}

impl Machine {
    /// Has `run`, a `plinth run --detach`, start it.
    #[track_caller]
    pub(crate) fn start(mut run: Command, data: Option<PathBuf>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let machine = Self { directory, data };
        run.env(RUNTIME, machine.runtime()).stdin(Stdio::null());
        let started = Running::spawn(run).end().ends_with(0);
        assert_eq!(started.console, format!("{NAME}\n"), "{started}");
        machine
    }

    /// Has it done what `words` say, such as `detach data --deadline 5s`, and
    /// gives what was printed.
    #[track_caller]
    pub fn vm(&self, words: &str) -> String {
        self.asked(words).ends_with(0).console
    }

    /// Has `plinth` do what `words` say where this machine runs, such as
    /// `snapshot create --vm web`, and gives what was printed.
    #[track_caller]
    pub fn host(&self, words: &str) -> String {
        let words: Vec<&str> = words.split_whitespace().collect();
        let mut command = self.plinth(&words);
        command.stdin(Stdio::null());
        Running::spawn(command).end().ends_with(0).console
    }

    /// Asserts that what `words` say is refused with exit status `code` and a
    /// message that holds all of `parts`.
    #[track_caller]
    pub fn refuses(&self, words: &str, code: i32, parts: &[&str]) {
        let outcome = self.asked(words).ends_with(code);
        for part in parts {
            outcome.complains(part);
        }
    }

    /// Its console on a pipe, in a `plinth vm console` of its own.
    pub fn console(&self) -> Running {
        self.follow("console")
    }

    /// Its console on `terminal`.
    pub fn console_on(&self, terminal: &Terminal) -> Running {
        Running::spawn_on(self.command("console"), terminal)
    }

    /// A verb that takes its time, such as `events`.
    pub fn follow(&self, words: &str) -> Running {
        let mut command = self.command(words);
        command.stdin(Stdio::piped());
        Running::spawn(command)
    }

    /// What `plinth vm show` says of it.
    #[track_caller]
    pub fn show(&self) -> Value {
        serde_json::from_str(&self.vm("show --output json")).unwrap()
    }

    /// What `plinth vm list` says.
    #[track_caller]
    pub fn list(&self) -> String {
        let list = self.plinth(&["vm", "list"]);
        Running::spawn(list).end().ends_with(0).console
    }

    /// A sample of its metrics, by its name and labels as they are written.
    #[track_caller]
    pub fn metric(&self, sample: &str) -> u64 {
        let metrics = self.vm("metrics");
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no {sample} in:\n{metrics}"));
        value.parse().unwrap()
    }

    /// Asks its control socket itself, such as for `GET /metrics`: the
    /// answer's head and body.
    #[track_caller]
    pub fn http(&self, request: &str) -> (String, String) {
        let mut socket = UnixStream::connect(self.socket()).unwrap();
        socket.set_read_timeout(Some(BOUND)).unwrap();
        write!(
            socket,
            "{request} HTTP/1.1\r\nHost: vm\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        (head.to_owned(), body.to_owned())
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.runtime().join(NAME).join("api.sock")
    }

    /// The id of its process.
    #[track_caller]
    pub fn pid(&self) -> u64 {
        self.show()["pid"].as_u64().expect("it was started")
    }

    /// Sends its process a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Where plinth keeps it; plinth makes that itself, for this user alone.
    fn runtime(&self) -> PathBuf {
        self.directory.path().join("plinth")
    }

    #[track_caller]
    fn asked(&self, words: &str) -> Outcome {
        let mut command = self.command(words);
        command.stdin(Stdio::null());
        Running::spawn(command).end()
    }

    /// `plinth vm VERB web …`.
    fn command(&self, words: &str) -> Command {
        let mut words = words.split_whitespace();
        let verb = words.next().expect("a verb");
        let arguments: Vec<&str> = ["vm", verb, NAME].into_iter().chain(words).collect();
        self.plinth(&arguments)
    }

    fn plinth(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(images::program("plinth"));
        command.args(arguments).env(RUNTIME, self.runtime());
        command.envs(self.data.as_ref().map(|data| (volumes::DATA, data)));
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.command("kill").stderr(Stdio::null()).status();
    }
}
