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
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use devices::platform::request::{MachineRequest, RequestSender};
use devices::thread;

use crate::attach::AttachedDevice;
use crate::command::{Answer, Command, Reply};
use crate::cpu::crash::Crash;
use crate::cpu::vcpus::Vcpus;
use crate::description::{Description, State};
use crate::error::Result;
use crate::event::{Event, StopReason};

/// What the control thread is told.
pub(crate) enum Message {
    /// The handle wants something and waits for the answer.
    Command(Command, Answer),
    /// Somebody wants to hear of events.
    Subscribe(Subscriber),
    /// A device wants something.
    Request(MachineRequest),
    /// A vCPU cannot go on.
    Crashed(Crash),
}

/// Told of each event, until it returns false. Never blocks.
pub(crate) type Subscriber = Box<dyn FnMut(&Event) -> bool + Send>;

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
    /// What they are.
    pub(crate) description: Description,
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
    subscribers: Vec<Subscriber>,
}

impl Control {
    fn run(mut self, messages: &Receiver<Message>) -> StopReason {
        let (reason, waiter) = loop {
            // Nobody is left to operate it once all senders are gone.
            let Ok(message) = messages.recv() else {
                break (StopReason::Stopped, None);
            };
            if let ControlFlow::Break(end) = self.handle(message) {
                break end;
            }
        };
        drop(self.parts);
        for mut subscriber in self.subscribers {
            subscriber(&Event::Stopped(reason.clone()));
        }
        if let Some(waiter) = waiter {
            waiter.send(Ok(Reply::Done));
        }
        reason
    }

    /// Breaks with why the machine ends, and who waits for it.
    fn handle(&mut self, message: Message) -> ControlFlow<(StopReason, Option<Answer>)> {
        match message {
            Message::Command(command, answer) => return self.carry_out(command, answer),
            Message::Subscribe(subscriber) => self.subscribers.push(subscriber),
            Message::Request(request) => return ControlFlow::Break((request.into(), None)),
            Message::Crashed(crash) => {
                return ControlFlow::Break((StopReason::Crashed(crash), None));
            }
        }
        ControlFlow::Continue(())
    }

    fn carry_out(
        &mut self,
        command: Command,
        answer: Answer,
    ) -> ControlFlow<(StopReason, Option<Answer>)> {
        let outcome = match command {
            Command::Describe => Ok(Reply::Description(Box::new(self.describe()))),
            Command::Pause => self.pause(),
            Command::Resume => Ok(self.resume()),
            Command::Stop => return ControlFlow::Break((StopReason::Stopped, Some(answer))),
        };
        answer.send(outcome);
        ControlFlow::Continue(())
    }

    fn describe(&self) -> Description {
        Description {
            state: match self.running {
                true => State::Running,
                false => State::Paused,
            },
            ..self.parts.description.clone()
        }
    }

    fn pause(&mut self) -> Result<Reply> {
        if !self.running {
            return Ok(Reply::Done);
        }
        self.parts.vcpus.pause();
        let mut result = Ok(());
        for device in &self.parts.devices {
            // All come to rest, even if one does not.
            result = result.and(device.pause());
        }
        self.running = false;
        self.tell(&Event::Paused);
        result.map(|()| Reply::Done)
    }

    fn resume(&mut self) -> Reply {
        if !self.running {
            self.parts.devices.iter().for_each(AttachedDevice::resume);
            self.parts.vcpus.run();
            self.running = true;
            self.tell(&Event::Resumed);
        }
        Reply::Done
    }

    fn tell(&mut self, event: &Event) {
        self.subscribers.retain_mut(|subscriber| subscriber(event));
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

#[cfg(test)]
mod tests;
