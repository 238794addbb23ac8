//! A client's socket: bytes and passed descriptors come in, bytes go out, and
//! nothing blocks.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use devices::block::mapped_disk::MOST_FREEZES;
use devices::virtio::queue_count::QueueCount;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, Shutdown,
    recvmsg, send, shutdown,
};

/// Most bytes taken in one go: other clients want their turn.
const TRANSFER: usize = 16 << 10;

/// Most descriptors that come with a request: those of a volume with as many
/// freezes as it can have, two for each; or of a tap with all queues that it can have,
/// each with its vhost-net.
pub const MAX_DESCRIPTORS: usize = 32;
const _: () = assert!(MAX_DESCRIPTORS >= 2 * QueueCount::MAX.get() as usize);
const _: () = assert!(MAX_DESCRIPTORS >= 4 + 2 * MOST_FREEZES);

/// One end of a connected Unix stream socket.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

/// What came in.
#[derive(Debug)]
pub(super) struct Received {
    /// How many bytes; zero at the end.
    pub(super) count: usize,
    /// The descriptors that came with them (unix(7), `SCM_RIGHTS`).
    pub(super) descriptors: Vec<OwnedFd>,
    /// There were more than any request takes. They are closed.
    pub(super) surplus: bool,
}

impl Socket {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Appends what has come to `bytes`; none if nothing has.
    pub(super) fn receive(&self, bytes: &mut Vec<u8>) -> io::Result<Option<Received>> {
        let mut chunk = [0; TRANSFER];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let message = recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut chunk)],
            &mut control,
            flags,
        );
        let message = match message {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            other => other?,
        };
        let mut descriptors = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let mut descriptors = descriptors.by_ref().flatten();
        let taken = descriptors.by_ref().take(MAX_DESCRIPTORS).collect();
        // Room for some may, for alignment, be room for one more.
        let more = descriptors.count() > 0;
        bytes.extend(&chunk[..message.bytes]);
        Ok(Some(Received {
            count: message.bytes,
            descriptors: taken,
            surplus: more || message.flags.contains(ReturnFlags::CTRUNC),
        }))
    }

    /// Sends the beginning of `bytes`, and says how much of it.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match send(&self.0, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            other => Ok(other?),
        }
    }

    /// Nothing more will be sent.
    pub(super) fn finish(&self) {
        // A client that has gone needs no farewell.
        let _ = shutdown(&self.0, Shutdown::Write);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, sendmsg};
    use std::io::{IoSlice, Read};
    use std::os::unix::net::UnixStream;

    fn pair() -> (Socket, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Socket::new(ours.into()), theirs)
    }

    fn pass(client: &UnixStream, count: usize) {
        let fds = vec![client.as_fd(); count];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(40))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        let bytes = [IoSlice::new(b"x")];
        sendmsg(client, &bytes, &mut control, SendFlags::empty()).unwrap();
    }

    #[test]
    fn descriptors_arrive_and_too_many_are_told_and_closed() {
        let (socket, client) = pair();
        let mut bytes = Vec::new();
        for count in [1, 2, 32, 33, 34, 40] {
            pass(&client, count);
            let received = socket.receive(&mut bytes).unwrap().unwrap();
            assert_eq!(
                (received.count, received.surplus),
                (1, count > MAX_DESCRIPTORS)
            );
            assert_eq!(received.descriptors.len(), count.min(MAX_DESCRIPTORS));
        }
        assert_eq!(bytes, b"xxxxxx");
        drop(client);
        // Nothing holds the client's end any more: it is the end.
        let end = socket.receive(&mut bytes).unwrap().unwrap();
        assert_eq!((end.count, end.surplus), (0, false));
    }

    #[test]
    fn nothing_blocks() {
        let (socket, mut client) = pair();
        assert!(socket.receive(&mut Vec::new()).unwrap().is_none());
        let mut sent = 0;
        loop {
            match socket.send(&[b'x'; 5000]).unwrap() {
                0 => break,
                count => sent += count,
            }
        }
        socket.finish();
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), sent);
        drop(client);
        assert!(socket.send(b"x").is_err());
    }
}
