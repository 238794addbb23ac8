//! The QEMU process of an outer machine: what every machine has in common on
//! its command line, and the process's life. Its console, its initramfs and
//! its control line are descriptors without names, so that nothing is left
//! behind however this process ends.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::child;
use crate::error::{Error, Result};

/// Debian's, found in PATH.
const INSTALLED: &str = "qemu-system-x86_64";

/// A running emulator; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Emulator {
    child: Child,
    console: File,
    // Read by the emulator through our /proc entry while it starts.
    _initrd: File,
}

/// A QEMU command line being put together.
#[derive(Debug)]
pub(crate) struct Setup {
    command: Command,
    console: File,
    initrd: File,
}

impl Setup {
    /// A machine that boots `kernel` with `initrd` and kernel parameters
    /// `append`, in the emulator `program` or else the installed one. Its first
    /// UART is the console.
    pub(crate) fn new(
        program: Option<&Path>,
        kernel: &Path,
        initrd: &[u8],
        append: &str,
    ) -> Result<Self> {
        let console = memory_file("console").map_err(Error::setup("making the console file"))?;
        let mut file = memory_file("initrd").map_err(Error::setup("making the initrd file"))?;
        file.write_all(initrd)
            .map_err(Error::setup("writing the initrd"))?;
        let mut setup = Self {
            command: Command::new(program.unwrap_or(INSTALLED.as_ref())),
            console,
            initrd: file,
        };
        let console = path_of(&setup.console);
        let initrd = path_of(&setup.initrd);
        setup.words("-nodefaults -no-user-config -display none -no-reboot -M q35");
        setup.option("-kernel", kernel);
        setup.option("-initrd", initrd);
        setup.option("-append", format!("console=ttyS0 panic=-1 {append}"));
        setup.serial(&console);
        Ok(setup)
    }

    /// Adds arguments that hold no spaces.
    pub(crate) fn words(&mut self, words: &str) {
        self.command.args(words.split_whitespace());
    }

    /// Adds an option with one value.
    pub(crate) fn option(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.command.arg(name).arg(value);
    }

    /// Adds a UART whose output is appended to the file at `path`.
    pub(crate) fn serial(&mut self, path: &Path) {
        self.option("-serial", format!("file:{}", path.display()));
    }

    /// Shares directory `path` with the machine over 9p.
    pub(crate) fn share(&mut self, tag: &str, path: &Path, writable: bool) {
        let access = if writable { "" } else { ",readonly=on" };
        // A comma in a QEMU option value is written twice.
        let path = path.display().to_string().replace(',', ",,");
        self.option(
            "-fsdev",
            format!("local,id={tag},path={path},security_model=none,multidevs=remap{access}"),
        );
        self.option(
            "-device",
            format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
        );
    }

    /// Starts the emulator with `control` as its standard input.
    ///
    /// It gets SIGKILL when the calling thread ends, which must therefore
    /// outlive it.
    pub(crate) fn start(mut self, control: Option<OwnedFd>) -> Result<Emulator> {
        let stdin = control.map_or_else(Stdio::null, Stdio::from);
        self.command.stdin(stdin).stdout(Stdio::null());
        child::ends_with_parent(&mut self.command);
        let program = self.command.get_program().display();
        let what = format!("cannot start {program} (install Debian package qemu-system-x86)");
        let child = self.command.spawn().map_err(Error::setup(what))?;
        Ok(Emulator {
            child,
            console: self.console,
            _initrd: self.initrd,
        })
    }
}

impl Emulator {
    /// The process id, for messages.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The status if the process has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Bytes that the console has printed.
    pub(crate) fn console_len(&self) -> u64 {
        self.console.metadata().map_or(0, |metadata| metadata.len())
    }

    /// The last lines of the console, for an error's text.
    pub(crate) fn console_tail(&self) -> String {
        let length = self.console_len();
        let start = length.saturating_sub(8192);
        let mut bytes = vec![0; usize::try_from(length - start).unwrap_or(0)];
        // A short read leaves zeroes, which the filter below drops.
        let _ = self.console.read_at(&mut bytes, start);
        let text = String::from_utf8_lossy(&bytes).replace('\r', "");
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(48)..];
        let printable = |c: &char| *c == '\n' || !c.is_control();
        tail.join("\n").chars().filter(printable).collect()
    }

    /// Waits up to `bound` for the process to end by itself.
    pub(crate) fn wait(&mut self, bound: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + bound;
        loop {
            let status = self.ended();
            if status.is_some() || Instant::now() > deadline {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the process and waits for its end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A file that exists only as long as somebody has it open.
pub(crate) fn memory_file(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MemfdFlags::CLOEXEC)?))
}

/// A path under which the emulator can open one of our files.
pub(crate) fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        file.as_raw_fd()
    ))
}
