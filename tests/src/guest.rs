//! A guest as a test describes it, before it runs: a command line of
//! `plinth run`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use guest_images::run_word;

use crate::machine::{self, Machine};
use crate::running::Running;
use crate::volumes::{self, Volumes};
use crate::{Outcome, Terminal, images};

/// `plinth run …`, being put together. Unless told otherwise, it boots
/// Debian's stock kernel with the small initramfs, and its reset is its end.
#[derive(Debug)]
pub struct Guest {
    kernel: OsString,
    arguments: Vec<OsString>,
    words: Vec<String>,
    tracer: Vec<OsString>,
    data: Option<PathBuf>,
    on_reset: &'static str,
}

impl Guest {
    /// A guest with the stock kernel, uncompressed, and the small initramfs.
    pub fn new() -> Self {
        Self::booting(&images::kernel().vmlinux).argument("--initrd", images::initramfs())
    }

    /// A guest with the stock kernel in its compressed form.
    pub fn compressed() -> Self {
        Self::booting(&images::kernel().bzimage).argument("--initrd", images::initramfs())
    }

    /// A guest with this kernel and nothing else.
    pub fn booting(kernel: impl AsRef<Path>) -> Self {
        // Kernels test their ciphers when they boot, which takes most of the time
        // that a boot takes.
        let words = ["console=ttyS0", "quiet", "panic=-1", "cryptomgr.notests"];
        Self {
            kernel: kernel.as_ref().into(),
            arguments: Vec::new(),
            words: words.map(str::to_owned).into(),
            tracer: Vec::new(),
            data: None,
            on_reset: "stop",
        }
    }

    /// Adds an option of `plinth run` that takes a value.
    #[must_use]
    pub fn argument(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.arguments.push(name.into());
        self.arguments.push(value.as_ref().into());
        self
    }

    /// Adds an option of `plinth run` that takes none.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.arguments.push(name.into());
        self
    }

    /// Sets how the kernel is entered: `linux` or `pvh`.
    #[must_use]
    pub fn boot(self, protocol: &str) -> Self {
        self.argument("--boot", protocol)
    }

    /// Sets the number of vCPUs.
    #[must_use]
    pub fn cpus(self, count: u8) -> Self {
        self.argument("--cpus", count.to_string())
    }

    /// Sets the memory, such as `512M`.
    #[must_use]
    pub fn memory(self, size: &str) -> Self {
        self.argument("--memory", size)
    }

    /// Adds a disk, with the options that follow its path, if any.
    #[must_use]
    pub fn disk(self, disk: impl ToString) -> Self {
        self.argument("--disk", disk.to_string())
    }

    /// Adds a volume, with the options that follow its name, if any. All are
    /// of the same [`Volumes`].
    #[must_use]
    pub fn volume(mut self, volumes: &Volumes, volume: &str) -> Self {
        self.data = Some(volumes.path());
        self.argument("--volume", volume)
    }

    /// Has plinth look for switches where it looks for these volumes.
    #[must_use]
    pub fn with_data(mut self, volumes: &Volumes) -> Self {
        self.data = Some(volumes.path());
        self
    }

    /// Adds a network interface.
    #[must_use]
    pub fn net(self, net: impl ToString) -> Self {
        self.argument("--net", net.to_string())
    }

    /// Adds a word to the kernel's command line. Of two words that disagree,
    /// the last one counts.
    #[must_use]
    pub fn word(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Has the guest run this in its shell, and power off. Without a command
    /// it gives a shell on the console.
    #[must_use]
    pub fn command(self, command: &str) -> Self {
        self.word(run_word(command))
    }

    /// Has the guest start anew when it resets itself.
    #[must_use]
    pub fn that_reboots(mut self) -> Self {
        self.on_reset = "reboot";
        self
    }

    /// Has the VM process run under another program.
    #[must_use]
    pub fn under<W: AsRef<OsStr>>(mut self, tracer: impl IntoIterator<Item = W>) -> Self {
        self.tracer = tracer
            .into_iter()
            .map(|word| word.as_ref().into())
            .collect();
        self
    }

    /// Runs the guest to its end.
    #[track_caller]
    pub fn run(self) -> Outcome {
        let mut process = self.process();
        process.stdin(Stdio::null());
        Running::spawn(process).end()
    }

    /// Starts the guest; its console is a pipe, both ways.
    #[track_caller]
    pub fn start(self) -> Running {
        let mut process = self.process();
        process.stdin(Stdio::piped());
        Running::spawn(process)
    }

    /// Starts the guest with its console on `terminal`.
    #[track_caller]
    pub fn start_on(self, terminal: &Terminal) -> Running {
        Running::spawn_on(self.process(), terminal)
    }

    /// Leaves the guest running on its own.
    #[track_caller]
    pub fn detach(self) -> Machine {
        let detached = self.flag("--detach").argument("--name", machine::NAME);
        let data = detached.data.clone();
        Machine::start(detached.process(), data)
    }

    /// The command itself, for a test that starts it in its own way.
    pub fn process(self) -> Command {
        let mut command: Vec<OsString> = self.tracer;
        command.push(images::program("plinth").into());
        command.extend(["run".into(), "--kernel".into(), self.kernel]);
        command.extend(["--cmdline".into(), self.words.join(" ").into()]);
        command.extend(["--on-reset".into(), self.on_reset.into()]);
        command.extend(self.arguments);
        let mut process = Command::new(&command[0]);
        process.args(&command[1..]);
        process.envs(self.data.map(|data| (volumes::DATA, data)));
        process
    }
}

impl Default for Guest {
    fn default() -> Self {
        Self::new()
    }
}
