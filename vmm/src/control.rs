//! The control thread: carries out what is asked of a machine, one thing at a
//! time.
//!
//! Commands come from the [`Vm`](crate::Vm) handle, requests from devices and
//! crashes from vCPUs, all through one channel; a guest can put a bounded
//! number of messages into it. So an embedder sees
//! no lock, and nothing happens while something else is half done.
//!
//! Order: to pause, vCPUs stop, then devices; to resume, devices start, then
//! vCPUs.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use devices::platform::request::{MachineRequest, RequestSender};
use devices::thread;

use crate::attach::AttachedDevice;
use crate::cpu::crash::Crash;
use crate::cpu::vcpus::Vcpus;
use crate::error::{Error, Result};
use crate::event::{Event, StopReason};

/// What the control thread is told.
pub(crate) enum Message {
    /// The handle wants something and waits for the answer.
    Command(Command, Sender<Result<()>>),
    /// The handle wants to hear of events.
    Subscribe(Sender<Event>),
    /// A device wants something.
    Request(MachineRequest),
    /// A vCPU cannot go on.
    Crashed(Crash),
}

/// What a machine can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// vCPUs and devices come to rest.
    Pause,
    /// They go on.
    Resume,
    /// The machine ends.
    Stop,
}

/// Both ends of the control thread's channel, made before the thread.
pub(crate) struct ControlChannel {
    pub(crate) sender: Sender<Message>,
    receiver: Receiver<Message>,
}

impl ControlChannel {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver }
    }

    /// For devices that want something of the machine. The first request ends
    /// it, so that only the first is sent, however often the guest repeats it.
    pub(crate) fn request_sender(&self) -> RequestSender {
        let sender = self.sender.clone();
        let sent = AtomicBool::new(false);
        RequestSender::new(move |request| {
            if !sent.swap(true, Ordering::Relaxed) {
                let _ = sender.send(Message::Request(request));
            }
        })
    }

    /// For a vCPU to say that it cannot go on.
    pub(crate) fn crash_reporter(&self) -> Box<dyn Fn(Crash) + Send> {
        let sender = self.sender.clone();
        Box::new(move |crash| drop(sender.send(Message::Crashed(crash))))
    }
}

/// The parts of a machine that the control thread operates, dropped from top
/// to bottom.
pub(crate) struct Parts {
    pub(crate) vcpus: Vcpus,
    pub(crate) devices: Vec<AttachedDevice>,
    /// Whatever else must live as long as the machine runs, and go with it.
    pub(crate) _keep: Box<dyn Send>,
}

/// Starts the control thread of a paused machine. It gives back why the
/// machine stopped, when everything of it is gone.
pub(crate) fn spawn(channel: ControlChannel, parts: Parts) -> io::Result<JoinHandle<StopReason>> {
    let receiver = channel.receiver;
    let control = Control {
        parts,
        running: false,
        subscribers: Vec::new(),
    };
    thread::builder("control").spawn(move || control.run(&receiver))
}

struct Control {
    parts: Parts,
    running: bool,
    subscribers: Vec<Sender<Event>>,
}

impl Control {
    fn run(mut self, messages: &Receiver<Message>) -> StopReason {
        let (reason, waiter) = loop {
            match messages.recv() {
                Ok(Message::Command(Command::Stop, answer)) => {
                    break (StopReason::Stopped, Some(answer));
                }
                Ok(Message::Command(Command::Pause, answer)) => {
                    let _ = answer.send(self.pause());
                }
                Ok(Message::Command(Command::Resume, answer)) => {
                    self.resume();
                    let _ = answer.send(Ok(()));
                }
                Ok(Message::Subscribe(subscriber)) => self.subscribers.push(subscriber),
                Ok(Message::Request(request)) => break (request.into(), None),
                Ok(Message::Crashed(crash)) => break (StopReason::Crashed(crash), None),
                Err(_) => break (StopReason::Stopped, None),
            }
        };
        drop(self.parts);
        for subscriber in self.subscribers {
            let _ = subscriber.send(Event::Stopped(reason.clone()));
        }
        if let Some(waiter) = waiter {
            let _ = waiter.send(Ok(()));
        }
        reason
    }

    fn pause(&mut self) -> Result<()> {
        if !self.running {
            return Ok(());
        }
        self.parts.vcpus.pause();
        self.running = false;
        let mut result = Ok(());
        for device in &self.parts.devices {
            // All come to rest, even if one does not.
            result = result.and(device.pause());
        }
        self.tell(&Event::Paused);
        result
    }

    fn resume(&mut self) {
        if self.running {
            return;
        }
        self.parts.devices.iter().for_each(AttachedDevice::resume);
        self.parts.vcpus.run();
        self.running = true;
        self.tell(&Event::Resumed);
    }

    fn tell(&mut self, event: &Event) {
        self.subscribers
            .retain(|subscriber| subscriber.send(event.clone()).is_ok());
    }
}

impl From<MachineRequest> for StopReason {
    fn from(request: MachineRequest) -> Self {
        match request {
            MachineRequest::Reset => Self::Reset,
            MachineRequest::UserQuit => Self::UserQuit,
            // The remaining kinds end the machine as a power-off does.
            _ => Self::PowerOff,
        }
    }
}

/// Sends `command` and waits for the answer.
pub(crate) fn ask(sender: &Sender<Message>, command: Command) -> Result<()> {
    let (answer, answered) = std::sync::mpsc::channel();
    sender
        .send(Message::Command(command, answer))
        .map_err(|_| Error::Stopped)?;
    answered.recv().map_err(|_| Error::Stopped)?
}

#[cfg(test)]
mod tests;
