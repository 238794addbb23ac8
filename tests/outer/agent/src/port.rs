//! The line to the host: the virtio-serial port, or the second UART of a
//! deterministic machine, which only sends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use outer_agent::protocol::{CHUNK, Decoder, Frame};
use rustix::termios::{self, OptionalActions, QueueSelector};

/// Frames out, and frames in if the line has a way back.
#[derive(Debug)]
pub(crate) struct Port {
    file: File,
    decoder: Decoder,
}

impl Port {
    /// The virtio-serial port, which appears some time after its module.
    pub(crate) fn open_virtio() -> io::Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(path) = find_virtio_port()? {
                return Self::open(path);
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("no virtio-serial port appeared"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The second UART, as a plain stream of bytes.
    pub(crate) fn open_uart() -> io::Result<Self> {
        let port = Self::open(PathBuf::from("/dev/ttyS1"))?;
        let mut settings = termios::tcgetattr(&port.file)?;
        settings.make_raw();
        termios::tcsetattr(&port.file, OptionalActions::Now, &settings)?;
        Ok(port)
    }

    fn open(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            file: File::options().read(true).write(true).open(path)?,
            decoder: Decoder::default(),
        })
    }

    /// Sends one frame, waiting for room.
    pub(crate) fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.file.write_all(&frame.encode())
    }

    /// Waits for the next frame; `None` when the host has gone.
    pub(crate) fn receive(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.received()? {
                return Ok(Some(frame));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// A frame that has already been read.
    pub(crate) fn received(&mut self) -> io::Result<Option<Frame>> {
        self.decoder.next_frame().map_err(io::Error::other)
    }

    /// Reads once, waiting if there is nothing; false when the host has gone.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        let mut bytes = vec![0; CHUNK];
        let count = self.file.read(&mut bytes)?;
        self.decoder.push(&bytes[..count]);
        Ok(count > 0)
    }

    /// Waits until a UART has sent everything.
    pub(crate) fn drain(&self) -> io::Result<()> {
        termios::tcdrain(&self.file)?;
        // What might have come in meanwhile is not for us.
        termios::tcflush(&self.file, QueueSelector::IFlush)?;
        Ok(())
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The machine has exactly one port that is not a console.
fn find_virtio_port() -> io::Result<Option<PathBuf>> {
    for entry in std::fs::read_dir("/dev")? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("vport") {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}
