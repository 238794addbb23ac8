//! A booted outer machine, and running commands in it one after another.
//!
//! The control line is a socket pair whose far end the emulator holds, so the
//! end of either process is seen by the other.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use outer_agent::protocol::{CHUNK, Decoder, Frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::command::{Command, Input};
use crate::config::OuterConfig;
use crate::emulator::{Emulator, Setup};
use crate::error::{Error, ErrorKind, Result};
use crate::initramfs::Initramfs;
use crate::output::Output;
use crate::tsc;

/// Needed to reach the host and KVM, and those devices that tests open by
/// name; what else a test needs the kernel loads by itself.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_console",
    "9pnet_virtio",
    "9p",
    "overlay",
    "kvm-amd",
    "tun",
    "vhost_net",
    "vhost_vsock",
    "loop",
];

/// How often a wait looks at the clock and at the emulator.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// An outer machine that waits for commands; dropping it kills it.
#[derive(Debug)]
pub struct OuterMachine {
    emulator: Emulator,
    control: UnixStream,
    decoder: Decoder,
    stall_bound: Duration,
}

/// What a wait ended with.
enum Event {
    Frame(Frame),
    Input(Vec<u8>),
    Nothing,
}

impl OuterMachine {
    /// Boots a machine and waits until it takes commands.
    ///
    /// The calling thread must outlive it: the machine dies with the thread.
    pub fn boot(config: &OuterConfig) -> Result<Self> {
        let (near, far) = UnixStream::pair().map_err(Error::setup("making the control line"))?;
        let mut machine = Self {
            emulator: setup(config)?.start(Some(OwnedFd::from(far)))?,
            control: near,
            decoder: Decoder::default(),
            stall_bound: config.stall_bound,
        };
        let deadline = Instant::now() + config.boot_bound;
        while Instant::now() < deadline {
            match machine.wait(Input::Empty)? {
                Event::Frame(Frame::Ready) => return Ok(machine),
                Event::Frame(other) => return Err(machine.nonsense(&other)),
                Event::Input(_) | Event::Nothing => {}
            }
        }
        Err(machine.stuck("boot", config.boot_bound))
    }

    /// Runs `command` to its end, with its output going to `output`.
    ///
    /// After an error of kind `Stuck` or `Died` the machine is of no more use.
    pub fn run(&mut self, command: &Command, output: &mut dyn Output) -> Result<ExitStatus> {
        self.send(&Frame::Run(command.encode()))?;
        let mut input = command.input;
        if input == Input::Empty {
            self.send(&Frame::Stdin(Vec::new()))?;
        }
        let deadline = command.timeout.map(|timeout| Instant::now() + timeout);
        let mut last_sign = Instant::now();
        let mut failure = None;
        loop {
            let event = self.wait(input)?;
            if let Event::Frame(_) = event {
                last_sign = Instant::now();
            }
            let written = match event {
                Event::Frame(Frame::Stdout(bytes)) => output.stdout(&bytes),
                Event::Frame(Frame::Stderr(bytes)) => output.stderr(&bytes),
                Event::Frame(Frame::Beat) | Event::Nothing => Ok(()),
                Event::Input(bytes) => {
                    if bytes.is_empty() {
                        input = Input::Empty;
                    }
                    self.send(&Frame::Stdin(bytes))?;
                    Ok(())
                }
                Event::Frame(Frame::Exited(status)) => {
                    return failure.map_or(Ok(ExitStatus::from_raw(status)), Err);
                }
                Event::Frame(Frame::Refused(why)) => {
                    let what = format!("cannot run {} in the outer machine", command.program());
                    return Err(Error::caused(ErrorKind::Refused, what, why));
                }
                Event::Frame(other) => return Err(self.nonsense(&other)),
            };
            if last_sign.elapsed() > self.stall_bound {
                return Err(self.stuck(&command.program(), self.stall_bound));
            }
            if failure.is_none() {
                failure = broken(command, written, deadline);
                if failure.is_some() {
                    self.send(&Frame::Kill)?;
                }
            }
        }
    }

    /// Powers the machine off; kills it when it does not follow.
    pub fn shutdown(mut self) {
        if self.send(&Frame::PowerOff).is_ok() {
            self.emulator.wait(Duration::from_secs(5));
        }
    }

    fn send(&mut self, frame: &Frame) -> Result<()> {
        self.control
            .write_all(&frame.encode())
            .map_err(|source| self.died(source))
    }

    /// Waits a moment for a frame, or for input where it is asked for.
    fn wait(&mut self, input: Input) -> Result<Event> {
        if let Some(frame) = self.received()? {
            return Ok(Event::Frame(frame));
        }
        let stdin = std::io::stdin();
        let mut fds = vec![PollFd::new(&self.control, PollFlags::IN)];
        if input == Input::Inherited {
            fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, Some(&TICK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(source) => return Err(self.died(source)),
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let (from_machine, from_us) = (ready(&fds[0]), fds.get(1).is_some_and(ready));
        if from_machine {
            self.fill()?;
            return Ok(self.received()?.map_or(Event::Nothing, Event::Frame));
        }
        if from_us {
            return read_input().map(Event::Input);
        }
        Ok(Event::Nothing)
    }

    fn received(&mut self) -> Result<Option<Frame>> {
        self.decoder
            .next_frame()
            .map_err(|source| self.died(source))
    }

    fn fill(&mut self) -> Result<()> {
        let mut bytes = vec![0; CHUNK];
        match self.control.read(&mut bytes) {
            Ok(0) => Err(self.died("it closed the control line")),
            Ok(count) => {
                self.decoder.push(&bytes[..count]);
                Ok(())
            }
            Err(source) => Err(self.died(source)),
        }
    }

    fn died(&mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        // Its end explains more than the broken line that it left.
        let end = match self.emulator.wait(Duration::from_secs(2)) {
            Some(status) => format!("emulator: {status}"),
            None => "emulator still running".to_owned(),
        };
        let what = format!(
            "the outer machine failed ({end}); the last lines of its console:\n{}",
            self.emulator.console_tail()
        );
        Error::caused(ErrorKind::Died, what, source)
    }

    fn nonsense(&mut self, frame: &Frame) -> Error {
        self.died(format!("unexpected {frame:?}"))
    }

    fn stuck(&mut self, during: &str, bound: Duration) -> Error {
        let what = format!(
            "the outer machine (process {}) is stuck: no sign of life for {} s during {during}; \
             the last lines of its console:\n{}",
            self.emulator.pid(),
            bound.as_secs(),
            self.emulator.console_tail()
        );
        self.emulator.kill();
        Error::new(ErrorKind::Stuck, what)
    }
}

/// Why `command` must be killed, if it must.
fn broken(
    command: &Command,
    written: std::io::Result<()>,
    deadline: Option<Instant>,
) -> Option<Error> {
    if let Err(source) = written {
        let what = format!("passing on the output of {}", command.program());
        return Some(Error::caused(ErrorKind::Stream, what, source));
    }
    if deadline.is_some_and(|deadline| Instant::now() > deadline) {
        let bound = command.timeout.unwrap_or_default().as_secs();
        let what = format!(
            "{} ran for more than {bound} s and was killed",
            command.program()
        );
        return Some(Error::new(ErrorKind::TimedOut, what));
    }
    None
}

/// Reads our standard input without a buffer, which would hide input from
/// the next poll.
fn read_input() -> Result<Vec<u8>> {
    let mut bytes = vec![0; CHUNK];
    let count = rustix::io::read(rustix::stdio::stdin(), &mut bytes)
        .map_err(|source| Error::caused(ErrorKind::Stream, "reading standard input", source))?;
    bytes.truncate(count);
    Ok(bytes)
}

fn setup(config: &OuterConfig) -> Result<Setup> {
    let kernel = &config.kernel;
    let mut initramfs = Initramfs::new(&config.agent, kernel, MODULES)?;
    initramfs.plan(format_args!("host-root hostroot"));
    let tree = kernel.modules.display();
    initramfs.plan(format_args!("module-tree {} {tree}", kernel.release));
    for (number, path) in config.shares.iter().enumerate() {
        initramfs.plan(format_args!("share share{number} {}", path.display()));
    }
    let append = format!(
        "nokaslr mitigations=off tsc=reliable tsc_early_khz={} quiet loglevel=4",
        tsc::khz()
    );
    let mut setup = Setup::new(&kernel.vmlinux, &initramfs.finish()?, &append)?;
    // No ERMS and FSRM: the emulator runs `rep movsb` a byte at a time.
    setup.words("-accel tcg,thread=multi -cpu max,-erms,-fsrm -smp 2,sockets=1,cores=2");
    setup.option("-m", config.memory_mib.to_string());
    setup.words("-device virtio-serial-pci -chardev socket,id=control,fd=0");
    setup.words("-device virtserialport,chardev=control,name=control");
    setup.share("hostroot", std::path::Path::new("/"), false);
    for (number, path) in config.shares.iter().enumerate() {
        setup.share(&format!("share{number}"), path, true);
    }
    Ok(setup)
}
