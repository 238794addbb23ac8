//! The control thread's channel: what it is told, and by whom.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use devices::platform::request::{MachineRequest, RequestSender};

use crate::command::{Answer, Command};
use crate::cpu::crash::Crash;
use crate::event::Event;

/// What the control thread is told.
pub(crate) enum Message {
    /// The handle wants something and waits for the answer.
    Command(Command, Answer),
    /// Somebody wants to hear of events.
    Subscribe(Subscriber),
    /// The guest's run `run` has something to say; without a number, whoever
    /// watches it has.
    Report {
        /// Which run of the guest, from power-on to reset, counted from 0.
        run: Option<u64>,
        /// What.
        report: Report,
    },
}

/// What a run of the guest has come to.
#[derive(Debug)]
pub(crate) enum Report {
    /// A device wants something.
    Request(MachineRequest),
    /// A vCPU cannot go on.
    Crashed(Crash),
    /// The guest gave slots of the PCI bus up.
    SlotsGivenUp,
    /// The guest's kernel panicked.
    Panicked,
    /// A disk waits for the host, or does not any more.
    WaitsChanged,
    /// The descriptor of a device that has left is closed.
    Closed {
        /// Who waits for it.
        ticket: u64,
        /// Whether what was written is durable.
        outcome: io::Result<()>,
    },
}

/// Told of each event, until it returns false. Never blocks.
pub(crate) type Subscriber = Box<dyn FnMut(&Event) -> bool + Send>;

/// Both ends of the control thread's channel, made before the thread.
pub(crate) struct ControlChannel {
    pub(crate) sender: Sender<Message>,
    pub(super) receiver: Receiver<Message>,
}

impl ControlChannel {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver }
    }

    /// For the guest's run `run`, or for whoever watches all of them.
    pub(crate) fn reporter(&self, run: Option<u64>) -> Reporter {
        Reporter::new(run, self.sender.clone())
    }
}

/// How one run of the guest reports to the control thread. Clones are the
/// same. What a run says once another has begun is not heeded.
#[derive(Clone)]
pub(crate) struct Reporter {
    run: Option<u64>,
    sender: Sender<Message>,
    requested: Arc<AtomicBool>,
}

impl Reporter {
    pub(super) fn new(run: Option<u64>, sender: Sender<Message>) -> Self {
        Self {
            run,
            sender,
            requested: Arc::default(),
        }
    }

    /// For devices that want something of the machine. The first request ends
    /// the run, so that only the first is sent, however often the guest
    /// repeats it.
    pub(crate) fn request_sender(&self) -> RequestSender {
        let reporter = self.clone();
        RequestSender::new(move |request| {
            if !reporter.requested.swap(true, Ordering::Relaxed) {
                reporter.send(Report::Request(request));
            }
        })
    }

    /// For a vCPU to say that it cannot go on, and then end.
    pub(crate) fn crash_reporter(&self) -> Box<dyn Fn(Crash) + Send> {
        let reporter = self.clone();
        Box::new(move |crash| reporter.send(Report::Crashed(crash)))
    }

    /// For the slots' registers to say that the guest gave some up.
    pub(crate) fn eject_reporter(&self) -> impl Fn() + Send + Sync + 'static {
        let reporter = self.clone();
        move || reporter.send(Report::SlotsGivenUp)
    }

    /// For the panic port to say that the guest's kernel panicked, which ends
    /// nothing.
    pub(crate) fn panic_reporter(&self) -> impl FnOnce() + Send + 'static {
        let reporter = self.clone();
        move || reporter.send(Report::Panicked)
    }

    /// For a disk to say that it waits for the host, or does not any more. Once
    /// that is `reported`, it is not again until it was heard, however often a
    /// guest brings it about.
    pub(crate) fn wait_reporter(
        &self,
        reported: &Arc<AtomicBool>,
    ) -> impl Fn() + Send + Sync + use<> {
        let (reporter, reported) = (self.clone(), Arc::clone(reported));
        move || {
            if !reported.swap(true, Ordering::SeqCst) {
                reporter.send(Report::WaitsChanged);
            }
        }
    }

    fn send(&self, report: Report) {
        let run = self.run;
        let _ = self.sender.send(Message::Report { run, report });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_repeats_itself_sends_one_message_in_each_run() {
        let channel = ControlChannel::new();
        for run in [Some(0), Some(1)] {
            let reporter = channel.reporter(run);
            for _ in 0..1000 {
                let requests = reporter.clone().request_sender();
                requests.send(MachineRequest::Reset);
            }
            assert_eq!(channel.receiver.try_iter().count(), 1);
        }
    }

    #[test]
    fn disks_that_wait_again_and_again_send_one_message_until_it_is_heard() {
        let channel = ControlChannel::new();
        let reported = Arc::default();
        let reporter = channel.reporter(None);
        let reporters = [(); 2].map(|()| reporter.wait_reporter(&reported));
        for _ in 0..2 {
            for _ in 0..1000 {
                reporters.iter().for_each(|report| report());
            }
            assert_eq!(channel.receiver.try_iter().count(), 1);
            reported.store(false, Ordering::SeqCst);
        }
    }
}
