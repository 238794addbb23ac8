//! Devices that have left their guest and are not closed yet.
//!
//! Making durable what was written, and closing, take as long as the host's
//! storage takes. So a thread of its own does that for each such device, and
//! reports back. Whoever detached it is answered when it is closed, or told
//! after a while that it is not; the event is told when it is, however late.

use std::io;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use devices::thread;
use devices::virtio::last_act::LastAct;

use super::channel::{Message, Report};
use super::{Control, Due};
use crate::command::{Answer, Reply};
use crate::device_name::DeviceName;
use crate::error::{Error, Result};
use crate::event::Event;

/// A device whose last act is being performed.
pub(super) struct Closing {
    device: DeviceName,
    /// Who waits for that.
    waiting: Vec<Answer>,
    ticket: u64,
}

impl Closing {
    /// Answers whoever waits: with what came of it, for the first; others hear
    /// the same in words, since an error has no copies.
    fn answer(&mut self, outcome: Result<()>) {
        let words = outcome.as_ref().err().map(Error::to_string);
        let mut outcome = Some(outcome);
        for waiter in self.waiting.drain(..) {
            let told = outcome.take().unwrap_or_else(|| match &words {
                Some(words) => Err(Error::detach(&self.device)(words.as_str())),
                None => Ok(()),
            });
            waiter.send(told.map(|()| Reply::Done));
        }
    }
}

impl Control {
    /// Has `last_act`, the end of `device`, performed, and then tells whoever
    /// is `waiting`.
    pub(super) fn close(&mut self, device: DeviceName, last_act: LastAct, waiting: Vec<Answer>) {
        self.tickets += 1;
        let ticket = self.tickets;
        let patience = self.machine.storage_patience;
        // One beyond the end of time is none.
        if let Some(at) = Instant::now().checked_add(patience) {
            self.deadlines.add(at, Due::Closed { ticket });
        }
        self.closing.push(Closing {
            device,
            waiting,
            ticket,
        });
        let sender = self.sender.clone();
        perform(last_act, move |outcome| {
            let report = Report::Closed { ticket, outcome };
            // It outlives the run of the guest that it was attached in.
            let _ = sender.send(Message::Report { run: None, report });
        });
    }

    /// Whether a device called `name` has left and is not closed yet.
    pub(super) fn is_closing(&self, name: &DeviceName) -> bool {
        self.closing.iter().any(|one| one.device == *name)
    }

    /// A device is closed.
    pub(super) fn closed(&mut self, ticket: u64, outcome: io::Result<()>) {
        let Some(at) = self.closing.iter().position(|one| one.ticket == ticket) else {
            return;
        };
        let mut closing = self.closing.remove(at);
        self.deadlines.cancel(&Due::Closed { ticket });
        if let Err(error) = &outcome {
            let device = &closing.device;
            log::error!("device {device}: what was written may not be durable: {error}");
        }
        let device = closing.device.clone();
        closing.answer(outcome.map_err(Error::detach(&device)));
        self.tell(&Event::DeviceDetached(device));
    }

    /// The host's storage had long enough. The event is still to come.
    pub(super) fn close_is_due(&mut self, ticket: u64) {
        let patience = self.machine.storage_patience;
        let mut closing = self.closing.iter_mut();
        if let Some(closing) = closing.find(|one| one.ticket == ticket) {
            let device = closing.device.clone();
            closing.answer(Err(Error::StillOpen { device, patience }));
        }
    }

    /// The machine ends: waits for what is being closed, as long as anybody
    /// would. Nothing else is carried out any more.
    pub(super) fn finish_closing(&mut self, messages: &Receiver<Message>) {
        self.deadlines
            .retain(|due| matches!(due, Due::Closed { .. }));
        while let Some(next) = self.deadlines.next() {
            match messages.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Message::Report {
                    report: Report::Closed { ticket, outcome },
                    ..
                }) => self.closed(ticket, outcome),
                // Dropped unanswered, a command says that the machine stopped.
                Ok(_) => {}
                Err(_) => {
                    if let Some(Due::Closed { ticket }) = self.deadlines.take_due(Instant::now()) {
                        self.close_is_due(ticket);
                    }
                }
            }
        }
    }
}

/// Performs `last_act` on a thread of its own, and then says what came of it.
fn perform(last_act: LastAct, say: impl FnOnce(io::Result<()>) + Send + 'static) {
    // A thread that does not start takes nothing with it.
    let parcel = Arc::new(Mutex::new(Some((last_act, say))));
    let theirs = Arc::clone(&parcel);
    let open = |parcel: &Mutex<Option<(LastAct, _)>>| {
        let mut parcel = parcel.lock().unwrap_or_else(PoisonError::into_inner);
        parcel.take()
    };
    let started = thread::builder("close-device").spawn(move || {
        if let Some((last_act, say)) = open(&theirs) {
            say(last_act.perform());
        }
    });
    if started.is_err()
        && let Some((last_act, say)) = open(&parcel)
    {
        // Slow, but nothing is lost.
        say(last_act.perform());
    }
}
