//! The mailbox: how the control thread reaches the server's, without ever
//! waiting for it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::command::Reply;
use crate::error::Result;

/// Most events that wait. Answers are bounded by the commands in progress.
const MAX_EVENTS: usize = 1024;

/// Something for the server.
#[derive(Debug)]
pub(super) enum Mail {
    /// What came of a client's command.
    Answer { client: u64, outcome: Result<Reply> },
    /// An event, as a line of text.
    Event(Vec<u8>),
    /// This many events before this found no room.
    Lost(u64),
    /// No event follows.
    Ended,
    /// The server is to finish what is in progress, and end.
    Close,
}

/// The mailbox. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Mailbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    contents: Mutex<Contents>,
    /// Readable while there is mail.
    flag: OwnedFd,
}

#[derive(Debug, Default)]
struct Contents {
    mail: VecDeque<Mail>,
    events: usize,
    lost: u64,
}

impl Mailbox {
    pub(super) fn new() -> io::Result<Self> {
        let flag = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let contents = Mutex::default();
        Ok(Self(Arc::new(Shared { contents, flag })))
    }

    /// Puts `mail` in. An event that finds no room is lost and counted.
    pub(super) fn post(&self, mail: Mail) {
        let mut contents = self.contents();
        if let Mail::Event(_) = mail {
            if contents.events == MAX_EVENTS {
                contents.lost += 1;
                return;
            }
            contents.events += 1;
        }
        let first = contents.mail.is_empty();
        contents.mail.push_back(mail);
        if first {
            // It never holds more than one, and so never blocks.
            let _ = rustix::io::write(&self.0.flag, &1u64.to_ne_bytes());
        }
    }

    /// Takes everything out.
    pub(super) fn take(&self) -> VecDeque<Mail> {
        let mut contents = self.contents();
        let _ = rustix::io::read(&self.0.flag, &mut [0; 8]);
        contents.events = 0;
        let mut mail = std::mem::take(&mut contents.mail);
        match std::mem::take(&mut contents.lost) {
            0 => {}
            lost => mail.push_back(Mail::Lost(lost)),
        }
        mail
    }

    /// Plain data: valid even if a holder panicked.
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0
            .contents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Readable while there is mail.
impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.flag.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_flagged(mailbox: &Mailbox) -> bool {
        let mut fds = [PollFd::new(mailbox, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn the_flag_is_up_while_there_is_mail() {
        let mailbox = Mailbox::new().unwrap();
        assert!(!is_flagged(&mailbox));
        for _ in 0..2 {
            mailbox.post(Mail::Close);
            mailbox.clone().post(Mail::Ended);
            assert!(is_flagged(&mailbox));
            let mail = mailbox.take();
            assert!(matches!(
                mail.iter().collect::<Vec<_>>()[..],
                [Mail::Close, Mail::Ended]
            ));
            assert!(!is_flagged(&mailbox));
        }
    }

    #[test]
    fn events_beyond_measure_are_counted_and_answers_are_kept() {
        let mailbox = Mailbox::new().unwrap();
        for _ in 0..MAX_EVENTS + 3 {
            mailbox.post(Mail::Event(Vec::new()));
        }
        let outcome = Ok(Reply::Done);
        mailbox.post(Mail::Answer { client: 1, outcome });
        let mail = mailbox.take();
        assert_eq!(mail.len(), MAX_EVENTS + 2);
        assert!(matches!(mail[MAX_EVENTS], Mail::Answer { client: 1, .. }));
        assert!(matches!(mail[MAX_EVENTS + 1], Mail::Lost(3)));
        mailbox.post(Mail::Event(Vec::new()));
        assert_eq!(mailbox.take().len(), 1);
    }
}
