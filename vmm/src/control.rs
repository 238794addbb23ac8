//! The control thread: carries out what is asked of a machine, one thing at a
//! time.
//!
//! Commands come from the [`Vm`](crate::Vm) handle, requests from devices and
//! crashes from vCPUs, all through one [`channel`]; a guest can put a bounded
//! number of messages into it. So an embedder sees no lock, and nothing
//! happens while something else is half done.
//!
//! What may take as long as the host's storage is done by other threads, which
//! report back ([`closing`]).
//!
//! Order: to pause, vCPUs stop, then devices; to resume, devices start, then
//! vCPUs.

mod channel;
mod closing;
mod device;
mod freeze;
mod life;
mod plug;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use boot::CpuCount;
use devices::platform::request::MachineRequest;
use devices::thread;

use crate::attach::AttachedDevice;
use crate::command::{Answer, Command, Reply};
use crate::config::OnReset;
use crate::deadlines::Deadlines;
use crate::description::{Description, DeviceDescription, State};
use crate::device_name::DeviceName;
use crate::error::{Error, Result};
use crate::event::{Event, StopReason};
use crate::memory::live::LiveMemory;
use crate::parts::{Assemble, Parts};
use crate::statistics::BootClock;

use channel::Report;
pub(crate) use channel::{ControlChannel, Message, Reporter, Subscriber};
use closing::Closing;
use plug::Leaving;

/// What the control thread operates, dropped from top to bottom.
pub(crate) struct Machine {
    /// Paused, as run 0 of the guest.
    pub(crate) parts: Parts,
    /// Puts it together again when the guest resets.
    pub(crate) assembler: Box<dyn Assemble>,
    /// What it is.
    pub(crate) description: Description,
    /// The vCPUs that its guest has.
    pub(crate) cpus: CpuCount,
    /// The disk that its guest cannot do without.
    pub(crate) root: Option<DeviceName>,
    /// What becomes of it when the guest resets.
    pub(crate) on_reset: OnReset,
    pub(crate) clock: Arc<BootClock>,
    /// How long the host's storage may take to be done with a device, until
    /// whoever detached it is told otherwise.
    pub(crate) storage_patience: Duration,
}

/// Starts the control thread of a machine. It gives back why the machine
/// stopped, when everything of it is gone.
pub(crate) fn spawn(
    channel: ControlChannel,
    machine: Machine,
) -> io::Result<JoinHandle<StopReason>> {
    let ControlChannel { sender, receiver } = channel;
    let control = Control {
        machine,
        built: SystemTime::now(),
        activity: Activity::Built,
        run: 0,
        sender,
        subscribers: Vec::new(),
        deadlines: Deadlines::default(),
        stopping: Vec::new(),
        leaving: Vec::new(),
        closing: Vec::new(),
        tickets: 0,
        reminding: None,
        waiting: BTreeSet::new(),
        wait_reported: Arc::default(),
    };
    thread::builder("control").spawn(move || control.run(&receiver))
}

/// How far a machine is from standing still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// It has not run yet.
    Built,
    Running,
    /// A pause failed: vCPUs rest, and some device does not.
    Halted,
    Paused,
}

/// What the control thread does when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// The guest had long enough to shut down.
    PowerCut {
        /// How long it had.
        patience: Duration,
    },
    /// The guest may have missed that it is to look at something.
    Reminder,
    /// The guest had long enough to give a device up.
    Detached {
        /// Who waits for it.
        ticket: u64,
    },
    /// The host's storage had long enough to be done with a device.
    Closed {
        /// Who waits for that.
        ticket: u64,
    },
}

/// Why the machine ends, if it does.
type Outcome = ControlFlow<StopReason>;

struct Control {
    machine: Machine,
    built: SystemTime,
    activity: Activity,
    /// Which run of the guest this is, counted from 0.
    run: u64,
    /// For the reports of runs to come.
    sender: Sender<Message>,
    subscribers: Vec<Subscriber>,
    deadlines: Deadlines<Due>,
    /// Who waits for the machine to stop.
    stopping: Vec<Answer>,
    /// Who waits for devices to leave.
    leaving: Vec<Leaving>,
    /// Devices that have left, and are not closed yet.
    closing: Vec<Closing>,
    /// How many of either there were so far.
    tickets: u64,
    /// How long after the last reminder the guest gets the next.
    reminding: Option<Duration>,
    /// Disks of which it was said that they wait for the host.
    waiting: BTreeSet<DeviceName>,
    /// That disks wait, or do not any more, is on its way to be heard.
    wait_reported: Arc<AtomicBool>,
}

impl Control {
    fn run(mut self, messages: &Receiver<Message>) -> StopReason {
        self.watch_all();
        let reason = loop {
            if let ControlFlow::Break(reason) = self.step(messages) {
                break reason;
            }
        };
        std::mem::take(&mut self.machine.parts).end();
        self.finish_closing(messages);
        drop(self.machine);
        for mut subscriber in self.subscribers {
            subscriber(&Event::Stopped(reason.clone()));
        }
        for waiter in self.stopping {
            waiter.send(Ok(Reply::Done));
        }
        reason
    }

    /// Waits for the next thing to do, and does it.
    fn step(&mut self, messages: &Receiver<Message>) -> Outcome {
        let message = match self.deadlines.next() {
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(next) => {
                let now = Instant::now();
                // First, or a flood of messages would put it off.
                if let Some(due) = self.deadlines.take_due(now) {
                    return self.is_due(due);
                }
                messages.recv_timeout(next - now)
            }
        };
        match message {
            Ok(message) => self.handle(message),
            Err(RecvTimeoutError::Timeout) => ControlFlow::Continue(()),
            // Nobody is left to operate it.
            Err(RecvTimeoutError::Disconnected) => ControlFlow::Break(StopReason::Stopped),
        }
    }

    fn handle(&mut self, message: Message) -> Outcome {
        match message {
            Message::Command(command, answer) => return self.carry_out(command, answer),
            Message::Subscribe(subscriber) => self.subscribers.push(subscriber),
            Message::Report { run, report } if run.is_none_or(|run| run == self.run) => {
                return self.heed(report);
            }
            // What was said by a run that has ended since.
            Message::Report { .. } => {}
        }
        ControlFlow::Continue(())
    }

    fn carry_out(&mut self, command: Command, answer: Answer) -> Outcome {
        let outcome = match command {
            Command::Describe => Ok(Reply::Description(Box::new(self.describe()))),
            Command::Measure => {
                self.measure(answer);
                return ControlFlow::Continue(());
            }
            Command::Pause => self.pause().map(|()| Reply::Done),
            Command::Resume => {
                self.resume();
                Ok(Reply::Done)
            }
            Command::Reset => return self.reset(Some(answer)),
            Command::PressPowerButton => {
                self.press_power_button();
                Ok(Reply::Done)
            }
            Command::Shutdown { deadline } => {
                self.shut_down(deadline, answer);
                return ControlFlow::Continue(());
            }
            Command::SetCpus(count) => self.set_cpus(count).map(|()| Reply::Done),
            Command::Attach(config) => self.attach(*config),
            Command::Detach { device, deadline } => {
                self.detach(device, deadline, answer);
                return ControlFlow::Continue(());
            }
            Command::ForceDetach { device } => {
                self.force_detach(&device, answer);
                return ControlFlow::Continue(());
            }
            Command::SetBalloon { target } => self
                .memory()
                .and_then(|memory| memory.set_balloon(target))
                .map(|()| Reply::Done),
            Command::SetMemory { bytes } => self
                .memory()
                .and_then(|memory| memory.resize(bytes))
                .map(|()| Reply::Done),
            Command::Memory => {
                self.memory_status(answer);
                return ControlFlow::Continue(());
            }
            Command::Freeze(volumes) => self.freeze(volumes).map(Reply::Frozen),
            Command::Resize { device, bytes } => self.resize(&device, bytes).map(Reply::Capacity),
            Command::SetLimits { device, limits } => {
                self.set_limits(&device, limits).map(|()| Reply::Done)
            }
            Command::Stop => {
                self.stopping.push(answer);
                return ControlFlow::Break(StopReason::Stopped);
            }
        };
        answer.send(outcome);
        ControlFlow::Continue(())
    }

    fn heed(&mut self, report: Report) -> Outcome {
        match report {
            Report::Request(MachineRequest::Reset) => {
                self.run_ends(&Event::ResetRequested, StopReason::Reset)
            }
            Report::Request(MachineRequest::Watchdog) => {
                self.run_ends(&Event::Watchdog, StopReason::Watchdog)
            }
            Report::Request(MachineRequest::UserQuit) => ControlFlow::Break(StopReason::UserQuit),
            Report::SlotsGivenUp => {
                self.slots_given_up();
                ControlFlow::Continue(())
            }
            Report::WaitsChanged => {
                self.waits_changed();
                ControlFlow::Continue(())
            }
            Report::Panicked => {
                self.tell(&Event::GuestPanicked);
                ControlFlow::Continue(())
            }
            Report::Closed { ticket, outcome } => {
                self.closed(ticket, outcome);
                ControlFlow::Continue(())
            }
            // The remaining kinds end the machine as a power-off does.
            Report::Request(_) => ControlFlow::Break(StopReason::PowerOff),
            Report::Crashed(crash) => ControlFlow::Break(StopReason::Crashed(crash)),
        }
    }

    fn is_due(&mut self, due: Due) -> Outcome {
        match due {
            Due::PowerCut { patience } => {
                return ControlFlow::Break(StopReason::PowerCut { patience });
            }
            Due::Reminder => self.remind(),
            Due::Detached { ticket } => self.detach_is_due(ticket),
            Due::Closed { ticket } => self.close_is_due(ticket),
        }
        ControlFlow::Continue(())
    }

    /// There is none only between a reset that failed and the end.
    fn memory(&self) -> Result<&LiveMemory> {
        self.machine.parts.memory.as_ref().ok_or(Error::Stopped)
    }

    fn describe(&self) -> Description {
        Description {
            state: match self.activity {
                Activity::Built | Activity::Paused => State::Paused,
                Activity::Running => State::Running,
                Activity::Halted => State::Halted,
            },
            cpus: self.machine.cpus.get(),
            devices: self.devices(),
            ..self.machine.description.clone()
        }
    }

    fn devices(&self) -> Vec<DeviceDescription> {
        self.present().map(AttachedDevice::describe).collect()
    }

    /// The devices that were not detached by force.
    fn present(&self) -> impl Iterator<Item = &AttachedDevice> + Clone {
        let devices = self.machine.parts.devices.iter();
        devices.filter(|device| !device.severed)
    }

    fn tell(&mut self, event: &Event) {
        self.subscribers.retain_mut(|subscriber| subscriber(event));
    }
}
