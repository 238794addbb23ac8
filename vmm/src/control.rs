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
use std::thread::{self, JoinHandle};

use devices::platform::request::{MachineRequest, RequestSender};

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
    thread::Builder::new()
        .name("control".into())
        .spawn(move || control.run(&receiver))
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
mod tests {
    use super::*;
    use crate::cpu::crash::CrashCause;
    use crate::statistics::BootClock;
    use crate::vm::{PausedVm, Vm};
    use std::sync::Arc;
    use std::time::Instant;

    /// A machine without vCPUs and devices, and what is told to its control
    /// thread. `remains` go with it.
    fn machine(remains: impl Send + 'static) -> (PausedVm, RequestSender, impl Fn(Crash)) {
        let channel = ControlChannel::new();
        let (sender, requests) = (channel.sender.clone(), channel.request_sender());
        let crash = channel.crash_reporter();
        let parts = Parts {
            vcpus: Vcpus::default(),
            devices: Vec::new(),
            _keep: Box::new(remains),
        };
        let vm = Vm {
            sender,
            control: Some(spawn(channel, parts).unwrap()),
            stopped: None,
            vcpus: Vec::new(),
            clock: Arc::new(BootClock::new(Instant::now())),
        };
        (PausedVm(vm), requests, crash)
    }

    fn crash_of(vcpu: u8) -> Crash {
        Crash {
            vcpu,
            cause: CrashCause::TripleFault,
            rip: None,
            instruction: Vec::new(),
        }
    }

    #[test]
    fn asking_twice_changes_nothing_and_every_change_is_told_once() {
        let (paused, ..) = machine(());
        let events = paused.events();
        let mut vm = paused.start().unwrap();
        vm.resume().unwrap();
        vm.pause().unwrap();
        vm.pause().unwrap();
        vm.resume().unwrap();
        vm.pause().unwrap();
        vm.stop().unwrap();
        assert_eq!(vm.wait(), StopReason::Stopped);
        assert_eq!(vm.wait(), StopReason::Stopped);
        let told: Vec<_> = events.iter().collect();
        let (resumed, paused) = (Event::Resumed, Event::Paused);
        let stopped = Event::Stopped(StopReason::Stopped);
        assert_eq!(
            told,
            [resumed.clone(), paused.clone(), resumed, paused, stopped]
        );
    }

    #[test]
    fn a_stopped_machine_refuses_everything() {
        let (paused, requests, _) = machine(());
        let mut vm = paused.start().unwrap();
        requests.send(MachineRequest::PowerOff);
        assert_eq!(vm.wait(), StopReason::PowerOff);
        for answer in [vm.pause(), vm.resume(), vm.stop()] {
            assert!(matches!(answer, Err(Error::Stopped)));
        }
        assert_eq!(vm.events().iter().count(), 0);
    }

    #[test]
    fn the_first_thing_that_ends_a_machine_is_the_reason() {
        let (paused, requests, crash) = machine(());
        requests.send(MachineRequest::Reset);
        requests.send(MachineRequest::PowerOff);
        crash(crash_of(0));
        // Paused or not makes no difference.
        let Err(Error::Stopped) = paused.start() else {
            panic!("the reset came first");
        };
        let (PausedVm(mut vm), requests, crash) = machine(());
        crash(crash_of(3));
        requests.send(MachineRequest::UserQuit);
        assert_eq!(vm.wait(), StopReason::Crashed(crash_of(3)));
    }

    #[test]
    fn a_guest_that_repeats_itself_sends_one_message() {
        let channel = ControlChannel::new();
        let requests = channel.request_sender();
        for _ in 0..1000 {
            requests.clone().send(MachineRequest::Reset);
        }
        assert_eq!(channel.receiver.try_iter().count(), 1);
    }

    #[test]
    fn many_threads_may_pause_resume_and_stop_at_once() {
        let (paused, ..) = machine(());
        let vm = paused.start().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for command in [Command::Pause, Command::Resume, Command::Stop] {
                        // An answer comes in any case.
                        let answer = ask(&vm.sender, command);
                        assert!(matches!(answer, Ok(()) | Err(Error::Stopped)));
                    }
                });
            }
        });
        assert!(matches!(vm.pause(), Err(Error::Stopped)));
    }

    #[test]
    fn everything_is_gone_when_the_end_is_told() {
        let held = Arc::new(());
        let (paused, requests, _) = machine(Arc::clone(&held));
        let events = paused.events();
        requests.send(MachineRequest::PowerOff);
        let told = events.recv().unwrap();
        assert_eq!(told, Event::Stopped(StopReason::PowerOff));
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn a_machine_is_dropped_unstarted_from_another_thread_and_while_its_events_are_read() {
        let held = Arc::new(());
        drop(machine(Arc::clone(&held)).0);
        assert_eq!(Arc::strong_count(&held), 1);

        let (paused, ..) = machine(Arc::clone(&held));
        std::thread::spawn(|| drop(paused)).join().unwrap();
        assert_eq!(Arc::strong_count(&held), 1);

        let (paused, ..) = machine(Arc::clone(&held));
        let events = paused.events();
        let mut vm = Some(paused.start().unwrap());
        let mut last = None;
        for event in events {
            vm = None;
            last = Some(event);
        }
        assert!(vm.is_none());
        assert_eq!(last, Some(Event::Stopped(StopReason::Stopped)));
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
