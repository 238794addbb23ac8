//! A cable that is a stream socket: frames one after the other, each after its
//! length in four bytes, the highest first. User-mode network stacks speak that,
//! passt (passt(1)) and QEMU's `-netdev stream` among them.
//!
//! There are no headers, and so no offloads: what makes such a cable fast is a
//! large MTU. Each frame is copied once on its way, since a socket may take or
//! give a part of one. A stack that is gone is a cable that is pulled.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType, recv, send, sockopt};

use super::header::{self, LARGEST_FRAME};
use super::offloads::Offloads;
use super::port::{Port, Sent};
use super::posted::Posted;
use crate::virtio::buffers::Buffers;

/// Bytes of the length before a frame.
const LENGTH: usize = 4;

/// Bytes that are received at once: some frames, whatever their size.
const RECEIVED: usize = 4 * (LENGTH + LARGEST_FRAME);

/// One end of the cable.
#[derive(Debug)]
pub struct Stream {
    socket: OwnedFd,
    /// Readable when the socket has room again, once that was waited for.
    room: OwnedFd,
    /// What is left of a frame that the socket took a part of.
    outgoing: Vec<u8>,
    /// What has come, from `start` to `end`, is not delivered yet.
    incoming: Box<[u8]>,
    start: usize,
    end: usize,
}

/// Why a descriptor cannot serve as a cable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The kernel refused to set it up.
    #[error("the stream of a network interface cannot be set up")]
    SetUp(#[from] io::Error),
}

impl Stream {
    /// Whether `fd` is a socket for streams.
    pub fn is_one(fd: &impl AsFd) -> bool {
        sockopt::socket_type(fd).is_ok_and(|kind| kind == SocketType::STREAM)
    }

    /// The end that `socket` is.
    ///
    /// # Errors
    /// The kernel refuses to make it ready.
    pub fn new(socket: OwnedFd) -> Result<Self, StreamError> {
        rustix::io::ioctl_fionbio(&socket, true).map_err(io::Error::from)?;
        let room = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let data = epoll::EventData::new_u64(0);
        // Nothing yet.
        let events = epoll::EventFlags::ONESHOT;
        epoll::add(&room, &socket, data, events).map_err(io::Error::from)?;
        Ok(Self {
            socket,
            room,
            outgoing: Vec::new(),
            incoming: vec![0; RECEIVED].into(),
            start: 0,
            end: 0,
        })
    }

    /// Sends what is left of a frame: whether that is all.
    fn flush(&mut self) -> io::Result<bool> {
        let mut sent = 0;
        let flags = SendFlags::NOSIGNAL;
        while sent < self.outgoing.len() {
            match send(&self.socket, &self.outgoing[sent..], flags).map_err(io::Error::from) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_passing(&error) => break,
                Err(error) => {
                    self.outgoing.clear();
                    return Err(error);
                }
            }
        }
        self.outgoing.drain(..sent);
        if self.outgoing.is_empty() {
            return Ok(true);
        }
        self.wait_for_room()?;
        Ok(false)
    }

    fn wait_for_room(&self) -> io::Result<()> {
        // What was told before and not taken would not be told again, if there is
        // room by now.
        self.take_word_of_room()?;
        let events = epoll::EventFlags::OUT | epoll::EventFlags::ONESHOT;
        let data = epoll::EventData::new_u64(0);
        Ok(epoll::modify(&self.room, &self.socket, data, events)?)
    }

    /// Takes word that there is room, of which there is no more then until it is
    /// waited for again.
    fn take_word_of_room(&self) -> io::Result<()> {
        let mut told = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }];
        match epoll::wait(&self.room, &mut told[..], Some(&Timespec::default())) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The first frame that has come whole, if there is one.
    fn frame(&self) -> io::Result<Option<&[u8]>> {
        let came = &self.incoming[self.start..self.end];
        let Some((length, rest)) = came.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        match length {
            // What follows cannot be told apart any more.
            0 => Err(ErrorKind::InvalidData.into()),
            1..=LARGEST_FRAME => Ok(rest.get(..length)),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    /// Receives what there is room for.
    fn fill(&mut self) -> io::Result<()> {
        self.incoming.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let room = &mut self.incoming[self.end..];
        let (received, _) = recv(&self.socket, room, RecvFlags::empty())?;
        match received {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            received => {
                self.end += received;
                Ok(())
            }
        }
    }
}

/// Whether the rest of a frame can go later, and must: the other end would take what
/// follows for a part of it.
fn is_passing(error: &io::Error) -> bool {
    let memory = [Errno::NOBUFS, Errno::NOMEM].map(|errno| Some(errno.raw_os_error()));
    error.kind() == ErrorKind::WouldBlock || memory.contains(&error.raw_os_error())
}

impl Port for Stream {
    fn arrivals(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn wakers(&self) -> Vec<RawFd> {
        vec![self.room.as_raw_fd()]
    }

    fn go_on(&mut self) {
        // If it stays, this is called in vain once more.
        let _ = self.take_word_of_room();
        // A stack that is gone is told of by the next packet.
        let _ = self.flush();
    }

    fn offloads(&self) -> Offloads {
        Offloads::default()
    }

    fn set_offloads(&mut self, offloads: Offloads) -> io::Result<()> {
        match offloads == Offloads::default() {
            true => Ok(()),
            false => Err(ErrorKind::Unsupported.into()),
        }
    }

    fn send(&mut self, packet: &Buffers) -> io::Result<Sent> {
        if !self.flush()? {
            return Ok(Sent::NotYet);
        }
        let length = packet.len().saturating_sub(header::SIZE as u64);
        let length = u32::try_from(length).map_err(|_| ErrorKind::InvalidInput)?;
        if length == 0 {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.outgoing.extend(length.to_be_bytes());
        packet.append_to(&mut self.outgoing, header::SIZE);
        self.flush().map(|_| Sent::Gone)
    }

    fn receive(&mut self, posted: &mut Posted) -> io::Result<usize> {
        loop {
            if let Some(frame) = self.frame()? {
                let length = frame.len();
                posted.put(&[&[0; header::SIZE], frame]);
                self.start += LENGTH + length;
                return Ok(header::SIZE + length);
            }
            self.fill()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Ram;
    use rustix::net::{AddressFamily, SocketFlags, socketpair};
    use std::fs::File;
    use std::io::{Read, Write};
    use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

    fn cable() -> (Stream, File) {
        let kind = SocketType::STREAM;
        let (own, other) =
            socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        (Stream::new(own).unwrap(), other.into())
    }

    fn ram() -> Ram {
        Ram::new(GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap())
    }

    /// A packet of 9000 bytes, all of them `byte`.
    fn packet(byte: usize) -> Buffers {
        let ram = ram();
        let bytes = [u8::try_from(byte % 251).unwrap(); 9000];
        ram.write_slice(&bytes, GuestAddress(0)).unwrap();
        let mut packet = Buffers::new(ram);
        packet.append(0, 9000).unwrap();
        packet
    }

    fn received(stream: &mut Stream) -> io::Result<Vec<u8>> {
        let mut posted = Posted::new(&ram());
        let len = stream.receive(&mut posted)?;
        assert!(!posted.received(len), "nothing was posted");
        Ok(posted.spilled()[header::SIZE..].to_vec())
    }

    #[test]
    fn frames_come_one_by_one_however_they_are_cut() {
        let (mut stream, mut other) = cable();
        let mut bytes = Vec::new();
        for frame in [&b"first"[..], b"2", b"third"] {
            bytes.extend(u32::try_from(frame.len()).unwrap().to_be_bytes());
            bytes.extend(frame);
        }
        let mut came = Vec::new();
        for byte in bytes {
            other.write_all(&[byte]).unwrap();
            match received(&mut stream) {
                Ok(frame) => came.push(frame),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert_eq!(came, [&b"first"[..], b"2", b"third"]);
        drop(other);
        let error = received(&mut stream).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_length_that_no_frame_has_ends_it() {
        for length in [0, u32::try_from(LARGEST_FRAME).unwrap() + 1, u32::MAX] {
            let (mut stream, mut other) = cable();
            other.write_all(&length.to_be_bytes()).unwrap();
            other.write_all(&[0; 64]).unwrap();
            for _ in 0..2 {
                let error = received(&mut stream).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidData);
            }
        }
    }

    #[test]
    fn the_largest_frame_comes_whole() {
        let (mut stream, mut other) = cable();
        let frame = vec![7; LARGEST_FRAME];
        let sent = frame.clone();
        let writer = std::thread::spawn(move || {
            let length = u32::try_from(sent.len()).unwrap();
            other.write_all(&length.to_be_bytes()).unwrap();
            other.write_all(&sent).unwrap();
            other
        });
        let came = loop {
            match received(&mut stream) {
                Ok(frame) => break frame,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        };
        assert_eq!(came, frame);
        writer.join().unwrap();
    }

    #[test]
    fn that_there_is_room_is_told_each_time() {
        let (stream, _other) = cable();
        let waker = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let data = epoll::EventData::new_u64(7);
        let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&waker, &stream.room, data, edges).unwrap();
        let told = || {
            let mut events = [epoll::Event { flags: edges, data }; 2];
            epoll::wait(&waker, &mut events[..], Some(&Timespec::default())).unwrap()
        };
        assert_eq!(told(), 0, "nobody asked");
        for _ in 0..3 {
            // It has room at this moment.
            stream.wait_for_room().unwrap();
            assert_eq!(told(), 1);
            assert_eq!(told(), 0, "an edge is told once");
        }
    }

    #[test]
    fn what_does_not_fit_the_socket_waits_and_nothing_is_torn() {
        let (mut stream, mut other) = cable();
        let mut sent = 0;
        let full = loop {
            match stream.send(&packet(sent)).unwrap() {
                Sent::Gone => sent += 1,
                Sent::NotYet => break sent,
            }
        };
        assert!(full > 1);
        // What was left goes when there is room, before anything else.
        let reader = std::thread::spawn(move || {
            for number in 0..=full {
                let mut length = [0; LENGTH];
                other.read_exact(&mut length).unwrap();
                assert_eq!(u32::from_be_bytes(length), 9000 - 12);
                let mut frame = vec![0; 9000 - 12];
                other.read_exact(&mut frame).unwrap();
                assert!(frame.iter().all(|byte| usize::from(*byte) == number % 251));
            }
        });
        let last = packet(full);
        while stream.send(&last).unwrap() == Sent::NotYet {
            let mut waited = [rustix::event::PollFd::new(
                &stream.room,
                rustix::event::PollFlags::IN,
            )];
            rustix::event::poll(&mut waited, None).unwrap();
        }
        while !stream.flush().unwrap() {
            std::thread::yield_now();
        }
        reader.join().unwrap();
    }
}
