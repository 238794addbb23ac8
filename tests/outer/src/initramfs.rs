//! The outer machine's initramfs: the agent as `/init`, the modules it loads,
//! its plan in `/outer.conf`, and for a deterministic machine the command and
//! all the files that it needs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use guest_images::Kernel;
use guest_images::cpio::Archive;

use crate::command::Command;
use crate::error::{Error, Result};
use outer_agent::protocol::Frame;

/// An archive in memory.
#[derive(Debug)]
pub(crate) struct Initramfs {
    archive: Archive<Vec<u8>>,
    plan: String,
}

impl Initramfs {
    /// With the agent and, loaded in order, `modules` and what they need.
    pub(crate) fn new(agent: &Path, kernel: &Kernel, modules: &[&str]) -> Result<Self> {
        let mut initramfs = Self {
            archive: Archive::new(Vec::new()),
            plan: String::new(),
        };
        initramfs.add_device("dev/console", (5, 1))?;
        initramfs.add("init", agent)?;
        let problem = || format!("finding modules of kernel {}", kernel.release);
        let tree = kernel.module_tree().map_err(Error::setup(problem()))?;
        for module in tree.load_order(modules).map_err(Error::setup(problem()))? {
            let bytes = module.bytes().map_err(Error::setup(problem()))?;
            initramfs.add_bytes(&format!("modules/{}.ko", module.name), &bytes)?;
            initramfs.plan(format_args!("module {}", module.name));
        }
        Ok(initramfs)
    }

    /// Adds a directive for the agent.
    pub(crate) fn plan(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.plan, "{line}").expect("a String takes everything");
    }

    /// Adds the host's file `from`, executable, as `path`.
    pub(crate) fn add(&mut self, path: &str, from: &Path) -> Result<()> {
        let bytes = fs::read(from).map_err(Error::setup(format!("reading {}", from.display())))?;
        self.add_bytes(path, &bytes)
    }

    /// Makes the machine run `command` and end.
    pub(crate) fn add_command(&mut self, command: &Command) -> Result<()> {
        self.add_bytes("command", &Frame::Run(command.encode()).encode())
    }

    /// The finished archive.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        let plan = std::mem::take(&mut self.plan);
        self.add_bytes("outer.conf", plan.as_bytes())?;
        self.archive
            .finish()
            .map_err(Error::setup("finishing the initramfs"))
    }

    fn add_bytes(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.archive
            .file(path.trim_start_matches('/'), 0o755, bytes)
            .map_err(Error::setup(format!("adding {path} to the initramfs")))
    }

    fn add_device(&mut self, path: &str, numbers: (u32, u32)) -> Result<()> {
        self.archive
            .character_device(path, 0o600, numbers)
            .map_err(Error::setup(format!("adding {path} to the initramfs")))
    }
}
