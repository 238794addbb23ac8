use super::*;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::json;
use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{self, JoinHandle};

/// A client and the other end of its connection.
fn pair() -> (Client, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let client = Client {
        stream: BufReader::new(ours),
    };
    (client, theirs)
}

/// Answers one request, and gives the request as it came.
fn answering(mut server: UnixStream, answer: &'static str) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut request = [0; 4096];
        let len = server.read(&mut request).unwrap();
        server.write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..len]).into_owned()
    })
}

#[test]
fn an_answer_is_read_to_its_end_and_no_further() {
    let (mut client, server) = pair();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 204 No Content\r\n\r\n";
    let server = answering(server, answer);
    let body = client.ask(&Request::get("/v1/vm"), PATIENCE).unwrap();
    assert_eq!(body, b"{}");
    assert!(
        server
            .join()
            .unwrap()
            .starts_with("GET /v1/vm HTTP/1.1\r\n")
    );
    let head = head::read(&mut client.stream).unwrap().unwrap();
    assert_eq!(head.status, 204);
}

#[test]
fn a_refusal_is_told_without_control_characters() {
    let (mut client, server) = pair();
    answering(
        server,
        "HTTP/1.1 409 Conflict\r\nContent-Length: 57\r\n\r\n\
         {\"error\":{\"code\":\"conflict\",\"message\":\"taken\\u001b[31m\"}}\n",
    );
    let failure = client.ask(&Request::post("/v1/devices"), PATIENCE);
    let Err(Failure::Refused(refusal)) = failure else {
        panic!("{failure:?}");
    };
    assert_eq!((refusal.status, refusal.code.as_str()), (409, "conflict"));
    assert_eq!(refusal.message, "taken[31m");
}

#[test]
fn a_server_that_goes_away_or_talks_nonsense_is_an_error() {
    for (answer, expected) in [
        ("", "broke off"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",
            "broke off",
        ),
        ("ftp\r\n\r\n", "not understood"),
    ] {
        let (mut client, server) = pair();
        answering(server, answer);
        let failure = client.ask(&Request::get("/"), PATIENCE).unwrap_err();
        assert!(failure.to_string().contains(expected), "{failure}");
    }
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let (mut client, _server) = pair();
    let patience = Duration::from_millis(1);
    let failure = client.ask(&Request::get("/"), patience).unwrap_err();
    assert!(matches!(failure, Failure::Silent(_)), "{failure}");
}

#[test]
fn a_stream_ends_with_its_last_chunk() {
    let (client, server) = pair();
    answering(
        server,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n2\r\nb\n\r\n0\r\n\r\n",
    );
    let mut stream = client.stream(&Request::get("/v1/events")).unwrap();
    let mut lines = String::new();
    stream.read_to_string(&mut lines).unwrap();
    assert_eq!(lines, "a\nb\n");
}

#[test]
fn after_an_upgrade_bytes_go_both_ways() {
    let (client, server) = pair();
    let request = Request::post("/v1/console").upgrade("plinth-console");
    answering(server, "HTTP/1.1 101 Switching Protocols\r\n\r\nlogin: ");
    let mut console = client.upgrade(&request).unwrap();
    let mut text = String::new();
    console.read_to_string(&mut text).unwrap();
    assert_eq!(text, "login: ");
}

#[test]
fn descriptors_go_along_with_the_first_byte() {
    let (mut client, server) = pair();
    let file = tempfile::tempfile().unwrap();
    file.set_len(12345).unwrap();
    let server = thread::spawn(move || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut first = [0];
        let flags = RecvFlags::empty();
        recvmsg(
            &server,
            &mut [IoSliceMut::new(&mut first)],
            &mut control,
            flags,
        )
        .unwrap();
        let descriptors: Vec<OwnedFd> = control
            .drain()
            .flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
                _ => Vec::new(),
            })
            .collect();
        answering(server, "HTTP/1.1 204 No Content\r\n\r\n")
            .join()
            .unwrap();
        descriptors
    });
    let request = Request::post("/v1/devices")
        .body(json!({"kind": "disk"}))
        .descriptors([file.as_fd(); 2]);
    client.ask(&request, PATIENCE).unwrap();
    let descriptors = server.join().unwrap();
    assert_eq!(descriptors.len(), 2);
    let passed = std::fs::File::from(descriptors.into_iter().next().unwrap());
    assert_eq!(passed.metadata().unwrap().len(), 12345);
}
