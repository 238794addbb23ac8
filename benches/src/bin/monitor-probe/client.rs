//! Speaking to a monitor at its socket: HTTP/1.1, or QEMU's machine protocol.

use std::fs::File;
use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use benches::probe::{Descriptor, Request};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};

use crate::tap;

/// No answer is expected later than this, in virtual time where that is counted.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a monitor.
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects as whoever sends `request`: QMP begins with a greeting.
    pub(crate) fn connect(socket: &str, request: &Request) -> Result<Self> {
        let stream = UnixStream::connect(socket);
        let stream = stream.with_context(|| format!("connecting to {socket}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self {
            stream: BufReader::new(stream),
        };
        if matches!(request, Request::Qmp { .. }) {
            client.qmp("qmp_capabilities", None)?;
        }
        Ok(client)
    }

    /// Sends `request` and waits for the answer, which is to say success.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<()> {
        match request {
            Request::Qmp { command, arguments } => self.qmp(command, arguments.as_ref()),
            Request::Http {
                method,
                path,
                body,
                descriptor,
            } => {
                let opened = descriptor.as_ref().map(open).transpose()?;
                self.send_http(method, path, body.as_ref(), opened)?;
                self.receive_http()
                    .with_context(|| format!("{method} {path}"))
            }
        }
    }

    /// Events, and the greeting, come between answers.
    fn qmp(&mut self, command: &str, arguments: Option<&Value>) -> Result<()> {
        let request = match arguments {
            Some(arguments) => json!({ "execute": command, "arguments": arguments }),
            None => json!({ "execute": command }),
        };
        let mut stream = self.stream.get_ref();
        stream.write_all(format!("{request}\n").as_bytes())?;
        loop {
            let mut line = String::new();
            let count = self.stream.read_line(&mut line)?;
            ensure!(count > 0, "{command}: the monitor closed the connection");
            let answer: Value = serde_json::from_str(&line).context("reading QMP")?;
            if let Some(error) = answer.get("error") {
                bail!("{command}: {error}");
            }
            if answer.get("return").is_some() {
                return Ok(());
            }
        }
    }

    fn send_http(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        opened: Option<OwnedFd>,
    ) -> Result<()> {
        let body = body.map(Value::to_string);
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: vm\r\n");
        if let Some(body) = &body {
            let length = body.len();
            request.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {length}\r\n"
            ));
        }
        request.push_str("\r\n");
        request.push_str(body.as_deref().unwrap_or_default());
        let mut stream = self.stream.get_ref();
        let Some(opened) = opened else {
            return Ok(stream.write_all(request.as_bytes())?);
        };
        let descriptors = [opened.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = control.push(SendAncillaryMessage::ScmRights(&descriptors));
        ensure!(fits, "a descriptor does not fit into a message");
        let bytes = [IoSlice::new(request.as_bytes())];
        let sent = sendmsg(stream, &bytes, &mut control, SendFlags::empty())?;
        Ok(stream.write_all(&request.as_bytes()[sent..])?)
    }

    fn receive_http(&mut self) -> Result<()> {
        let mut status = String::new();
        let mut length = 0;
        self.stream.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            ensure!(
                self.stream.read_line(&mut line)? > 0,
                "the answer broke off"
            );
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().context("reading a length")?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let code = status.split_whitespace().nth(1).unwrap_or_default();
        ensure!(
            code.starts_with('2'),
            "{}: {}",
            status.trim_end(),
            String::from_utf8_lossy(&body)
        );
        Ok(())
    }
}

fn open(descriptor: &Descriptor) -> Result<OwnedFd> {
    match descriptor {
        Descriptor::Tap(name) => tap::open(name),
        Descriptor::File(path) => {
            let file = File::options().read(true).write(true).open(path);
            Ok(file.with_context(|| format!("opening {path}"))?.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// Answers each line that a client sends with the next of `answers`.
    fn serve(answers: Vec<&'static str>) -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            for answer in answers {
                let mut line = String::new();
                // A request of HTTP ends with an empty line.
                while reader.read_line(&mut line).unwrap() > 2 && line.starts_with("GET") {
                    if line.ends_with("\r\n\r\n") {
                        break;
                    }
                }
                reader.get_ref().write_all(answer.as_bytes()).unwrap();
            }
        });
        let path = path.to_str().unwrap().to_owned();
        (directory, path)
    }

    fn question() -> Request {
        Request::Http {
            method: "GET".to_owned(),
            path: "/v1/vm".to_owned(),
            body: None,
            descriptor: None,
        }
    }

    #[test]
    fn an_http_answer_is_read_to_its_end_and_judged_by_its_status() {
        let (_directory, socket) = serve(vec![
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{\"a\"}",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
        ]);
        let mut client = Client::connect(&socket, &question()).unwrap();
        client.ask(&question()).unwrap();
        client.ask(&question()).unwrap();
        let error = format!("{:#}", client.ask(&question()).unwrap_err());
        assert!(error.contains("404") && error.contains("none"), "{error}");
    }

    #[test]
    fn a_qmp_answer_is_told_from_greeting_and_events() {
        let (_directory, socket) = serve(vec![
            "{\"QMP\": {}}\n{\"return\": {}}\n",
            "{\"event\": \"RESUME\"}\n{\"return\": {\"running\": true}}\n",
            "{\"error\": {\"desc\": \"no such device\"}}\n",
        ]);
        let question = Request::Qmp {
            command: "query-status".to_owned(),
            arguments: None,
        };
        let mut client = Client::connect(&socket, &question).unwrap();
        client.ask(&question).unwrap();
        let error = client.ask(&question).unwrap_err().to_string();
        assert!(error.contains("no such device"), "{error}");
    }
}
