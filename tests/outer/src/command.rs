//! A command for an outer machine, built up like `std::process::Command`, but
//! with nothing inherited: what it gets is what it was given.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use outer_agent::protocol::Run;

/// A program, its arguments, and what it runs with.
#[derive(Clone, Debug)]
pub struct Command {
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: PathBuf,
    terminal: Option<(u16, u16)>,
    pub(crate) input: Input,
    pub(crate) timeout: Option<Duration>,
}

/// What a command reads from its standard input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    #[default]
    Empty,
    /// What this process reads from its own standard input.
    Inherited,
}

impl Command {
    /// Runs `program`, a path or a name looked up in the outer machine.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            argv: vec![program.into()],
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            terminal: None,
            input: Input::Empty,
            timeout: None,
        }
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.argv.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds environment variables, such as `std::env::vars_os()`.
    pub fn envs<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = variables.into_iter();
        self.env
            .extend(variables.map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Runs in directory `cwd`; `/` if never called.
    pub fn current_dir(mut self, cwd: impl AsRef<Path>) -> Self {
        self.cwd = cwd.as_ref().to_owned();
        self
    }

    /// Gives it a terminal of that size; all its output is then `stdout`.
    pub fn terminal(mut self, rows: u16, columns: u16) -> Self {
        self.terminal = Some((rows, columns));
        self
    }

    /// Where its input comes from; nowhere if never called.
    pub fn input(mut self, input: Input) -> Self {
        self.input = input;
        self
    }

    /// Kills it after `timeout` of the host's time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The program, for messages.
    pub(crate) fn program(&self) -> String {
        self.argv[0].to_string_lossy().into_owned()
    }

    pub(crate) fn encode(&self) -> Run {
        let bytes = |text: &OsString| text.as_bytes().to_vec();
        let variable = |(name, value): &(OsString, OsString)| {
            [name.as_os_str(), OsStr::new("="), value.as_os_str()]
                .into_iter()
                .collect::<OsString>()
                .into_vec()
        };
        Run {
            argv: self.argv.iter().map(bytes).collect(),
            env: self.env.iter().map(variable).collect(),
            cwd: self.cwd.as_os_str().as_bytes().to_vec(),
            terminal: self.terminal,
        }
    }
}
