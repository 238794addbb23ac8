//! Everything that a pipe or a terminal said so far, with plain line ends; read
//! by a thread of its own, so that whoever writes never waits for a test.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::BOUND;

/// What was read, growing.
#[derive(Debug)]
pub struct Transcript {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    bytes: Vec<u8>,
    ended: bool,
}

impl Transcript {
    /// Reads `source` to its end.
    pub fn of(source: impl Into<OwnedFd>) -> Self {
        let mut source = File::from(source.into());
        let shared = Arc::<Shared>::default();
        let ours = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            let mut chunk = vec![0; 1 << 16];
            // A terminal says EIO when its other end is closed.
            while let Ok(length @ 1..) = source.read(&mut chunk) {
                let mut said = ours.said.lock().unwrap();
                said.bytes
                    .extend(chunk[..length].iter().filter(|byte| **byte != b'\r'));
                ours.changed.notify_all();
            }
            ours.said.lock().unwrap().ended = true;
            ours.changed.notify_all();
        });
        Self {
            shared,
            reader: Some(reader),
        }
    }

    /// Waits until `text` was said. False if the source ends without it, or
    /// it takes too long.
    pub fn shows(&self, text: &str) -> bool {
        self.comes_to(|said| position(said, text).is_some())
    }

    /// Waits until `text` was said after `start` was.
    pub fn shows_after(&self, start: &str, text: &str) -> bool {
        self.comes_to(|said| {
            position(said, start).is_some_and(|at| position(&said[at..], text).is_some())
        })
    }

    fn comes_to(&self, reached: impl Fn(&[u8]) -> bool) -> bool {
        let deadline = Instant::now() + BOUND;
        let mut said = self.shared.said.lock().unwrap();
        loop {
            if reached(&said.bytes) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if said.ended || left.is_zero() {
                return false;
            }
            said = self.shared.changed.wait_timeout(said, left).unwrap().0;
        }
    }

    /// What was said so far.
    pub fn text(&self) -> String {
        let said = self.shared.said.lock().unwrap();
        String::from_utf8_lossy(&said.bytes).into_owned()
    }

    /// All of it, once the source has ended.
    pub fn finish(mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text()
    }
}

fn position(bytes: &[u8], text: &str) -> Option<usize> {
    let mut windows = bytes.windows(text.len());
    windows.position(|window| window == text.as_bytes())
}
