//! A machine that is none: a runtime directory, a lock that this process
//! holds, and a control socket that answers what the test says.

use std::fs::File;
use std::io::{BufRead, BufReader, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use host::registry::Registry;
use host::registry::new_machine::NewMachine;
use host::registry::record::Record;
use rustix::fs::{FlockOperation, flock};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use vmm::handover::End;

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Method and path.
    pub(crate) line: String,
    pub(crate) body: String,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// The directory of the runtime directories, which plinth makes itself.
pub(crate) const RUNTIME: &str = "machines";

/// The directory of volumes, which plinth makes itself.
pub(crate) const DATA: &str = "data";

/// Descriptors that come with a request at most.
const MOST_DESCRIPTORS: usize = 4;

/// Says yes, and no more.
pub(crate) const DONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// An answer with `body`.
pub(crate) fn answer(status: &str, body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n\r\n{body}")
}

/// All machines of a test.
pub(crate) struct Machines {
    pub(crate) directory: tempfile::TempDir,
    registry: Registry,
}

pub(crate) struct Machine {
    directory: PathBuf,
    lock: OwnedFd,
    end: File,
    asked: Arc<Mutex<Vec<Asked>>>,
    _new: NewMachine,
}

impl Machines {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::at(directory.path().join(RUNTIME));
        Self {
            directory,
            registry,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a machine that answers each request, by its method and path,
    /// with `answer`.
    pub(crate) fn start(
        &self,
        name: &str,
        record: Record,
        answer: impl Fn(&str) -> String + Send + 'static,
    ) -> Machine {
        self.start_as(std::process::id(), name, record, answer)
    }

    /// The same, with process `pid` for the machine's.
    pub(crate) fn start_as(
        &self,
        pid: u32,
        name: &str,
        record: Record,
        answer: impl Fn(&str) -> String + Send + 'static,
    ) -> Machine {
        let (mut new, belongings) = self
            .registry
            .create(Some(name.parse().unwrap()), &record)
            .unwrap();
        new.started(pid).unwrap();
        let listener = UnixListener::from(belongings.api);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &log, &answer);
            }
        });
        Machine {
            directory: self.path().join(RUNTIME).join(name),
            lock: belongings.lock,
            end: belongings.end.into(),
            asked,
            _new: new,
        }
    }
}

impl Machine {
    /// What was asked since the last time, as methods, paths and bodies.
    pub(crate) fn lines(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        let line = |asked: Asked| format!("{} {}", asked.line, asked.body);
        asked
            .into_iter()
            .map(|asked| line(asked).trim().into())
            .collect()
    }

    /// The descriptors that came since the last time.
    pub(crate) fn descriptors(&self) -> Vec<File> {
        let mut asked = self.asked.lock().unwrap();
        let descriptors = asked
            .iter_mut()
            .flat_map(|asked| asked.descriptors.drain(..));
        descriptors.map(File::from).collect()
    }

    /// Its process ends, with `message` for its last word and "…" in its log.
    pub(crate) fn end(self, message: Option<&str>) {
        std::fs::write(self.directory.join("log"), "a line\nthe last line\n").unwrap();
        if let Some(message) = message {
            serde_json::to_writer(&self.end, &End::now(4, message)).unwrap();
        }
        drop(self.lock);
        // Another test's child may have a copy until it is executed.
        let lock = File::open(self.directory.join("lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
    }
}

fn serve(stream: UnixStream, log: &Mutex<Vec<Asked>>, answer: impl Fn(&str) -> String) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = request(&mut reader) {
        let text = answer(&asked.line);
        log.lock().unwrap().push(asked);
        reader.get_mut().write_all(text.as_bytes()).unwrap();
        if text.starts_with("HTTP/1.1 101") || text.contains("chunked") {
            return;
        }
    }
}

/// The next request; none at the end of the connection.
fn request(reader: &mut BufReader<UnixStream>) -> Option<Asked> {
    let (first, descriptors) = first_byte(reader.get_ref())?;
    let mut line = String::from(first);
    reader.read_line(&mut line).unwrap();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        if header == "\r\n" {
            break;
        }
        if let Some(value) = header.strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Some(Asked {
        line: line.trim_end().trim_end_matches(" HTTP/1.1").into(),
        body: String::from_utf8(body).unwrap(),
        descriptors,
    })
}

fn first_byte(stream: &UnixStream) -> Option<(char, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    );
    if received.ok()?.bytes == 0 {
        return None;
    }
    let messages = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Some((char::from(byte[0]), messages.flatten().collect()))
}
