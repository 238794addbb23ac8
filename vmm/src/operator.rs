//! A way to operate a machine: commands go in, answers and events come out.
//!
//! Clones reach the same machine and do not keep it alive: once it has
//! stopped, every command is answered with [`Error::Stopped`].

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use boot::CpuCount;
use devices::block::mapped_disk::FreezeFiles;

use crate::command::{Answer, Command, DeviceLimits, Reply};
use crate::config::DeviceConfig;
use crate::control::Message;
use crate::description::{Description, DeviceDescription};
use crate::device_name::DeviceName;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::memory::MemoryStatus;
use crate::metrics::Measurements;

/// A machine's operator. Each method is a [`Command`] and waits until it is
/// carried out, for which commands before it are finished first.
#[derive(Clone, Debug)]
pub struct Operator {
    pub(crate) sender: Sender<Message>,
}

impl Operator {
    /// Has `command` carried out; its outcome goes to `receive`, on the
    /// control thread, which must not be held up. It comes in any case, and
    /// once.
    pub fn submit(&self, command: Command, receive: impl FnOnce(Result<Reply>) + Send + 'static) {
        let message = Message::Command(command, Answer::new(receive));
        // If the machine has stopped, the answer is dropped, and says so.
        let _ = self.sender.send(message);
    }

    /// Has `command` carried out and waits for the outcome.
    ///
    /// # Errors
    /// The machine has stopped, or what the command says.
    pub fn execute(&self, command: Command) -> Result<Reply> {
        let (sender, outcome) = channel();
        self.submit(command, move |reply| drop(sender.send(reply)));
        outcome.recv().unwrap_or(Err(Error::Stopped))
    }

    /// What the machine is and what state it is in.
    ///
    /// # Errors
    /// The machine has stopped.
    pub fn describe(&self) -> Result<Description> {
        match self.execute(Command::Describe)? {
            Reply::Description(description) => Ok(*description),
            reply => Err(Error::unexpected_reply(&reply)),
        }
    }

    /// What the machine has done and holds.
    ///
    /// # Errors
    /// The machine has stopped.
    pub fn measure(&self) -> Result<Measurements> {
        match self.execute(Command::Measure)? {
            Reply::Measurements(measurements) => Ok(*measurements),
            reply => Err(Error::unexpected_reply(&reply)),
        }
    }

    /// Brings vCPUs to rest, then devices, finishing what they have in
    /// flight. Guest memory does not change until [`resume`](Self::resume).
    ///
    /// # Errors
    /// The machine has stopped, or a device could not finish in time. That
    /// device is lost to the guest. The others and the vCPUs rest, and another
    /// pause fails in the same way; [`resume`](Self::resume) has the machine go
    /// on without the device.
    pub fn pause(&self) -> Result<()> {
        self.execute(Command::Pause).map(drop)
    }

    /// Has a paused machine go on.
    ///
    /// # Errors
    /// The machine has stopped.
    pub fn resume(&self) -> Result<()> {
        self.execute(Command::Resume).map(drop)
    }

    /// Starts the guest anew, in memory that holds nothing, as if its reset
    /// button were pressed: what it had in flight on disks is finished first.
    /// Devices stay, with all that was changed about them since. A paused
    /// machine stays paused.
    ///
    /// # Errors
    /// The machine has stopped, or it cannot be put together again; then it
    /// stops with [`StopReason::ResetFailed`](crate::StopReason::ResetFailed).
    pub fn reset(&self) -> Result<()> {
        self.execute(Command::Reset).map(drop)
    }

    /// Presses the guest's power button. What follows is up to the guest;
    /// most shut down. One that is paused hears of it when it is resumed.
    ///
    /// # Errors
    /// The machine has stopped.
    pub fn press_power_button(&self) -> Result<()> {
        self.execute(Command::PressPowerButton).map(drop)
    }

    /// Presses the guest's power button, and ends the machine if the guest
    /// has not ended it within `deadline`. A guest that resets instead of
    /// powering off has ended, too. Returns when the machine has stopped;
    /// [`Vm::wait`](crate::Vm::wait) says how: by
    /// [`PowerCut`](crate::StopReason::PowerCut) if the guest did not.
    ///
    /// # Errors
    /// The machine has stopped already.
    pub fn shutdown(&self, deadline: Duration) -> Result<()> {
        self.execute(Command::Shutdown { deadline }).map(drop)
    }

    /// Adds vCPUs while the guest runs, until there are `count`. The guest is
    /// told; whether and when it uses them is up to it (Linux:
    /// `/sys/devices/system/cpu/cpuN/online`).
    ///
    /// # Errors
    /// The machine has stopped, has more already, or was not built for so
    /// many.
    pub fn set_cpus(&self, count: CpuCount) -> Result<()> {
        self.execute(Command::SetCpus(count)).map(drop)
    }

    /// Makes the disk `device` `bytes` long, or as long as its file is, and
    /// tells the guest, which can use the new space at once. Returns its size.
    ///
    /// # Errors
    /// The machine has stopped, there is no such disk, or it cannot have that
    /// size.
    pub fn resize(&self, device: DeviceName, bytes: Option<u64>) -> Result<u64> {
        match self.execute(Command::Resize { device, bytes })? {
            Reply::Capacity(bytes) => Ok(bytes),
            reply => Err(Error::unexpected_reply(&reply)),
        }
    }

    /// Has volumes keep what they hold at one moment, each in the files of a
    /// freeze whose moment is to come, while the guest goes on. Returns how long
    /// their requests were held back.
    ///
    /// # Errors
    /// The machine has stopped; there is no such device, or it is no volume; or
    /// a freeze cannot begin. Those that began before it are of no use.
    pub fn freeze(&self, volumes: Vec<(DeviceName, FreezeFiles)>) -> Result<Duration> {
        match self.execute(Command::Freeze(volumes))? {
            Reply::Frozen(pause) => Ok(pause),
            reply => Err(Error::unexpected_reply(&reply)),
        }
    }

    /// Limits `device`, from now on and for requests that wait already.
    ///
    /// # Errors
    /// The machine has stopped, or there is no such device, or it is of
    /// another kind.
    pub fn set_limits(&self, device: DeviceName, limits: DeviceLimits) -> Result<()> {
        self.execute(Command::SetLimits { device, limits })
            .map(drop)
    }

    /// Ends the machine at once, as if its power were cut. What the guest had
    /// in flight on disks is finished first.
    ///
    /// # Errors
    /// The machine has stopped already.
    pub fn stop(&self) -> Result<()> {
        self.execute(Command::Stop).map(drop)
    }

    /// Asks the guest to put `target` bytes into its balloon, rounded down to
    /// pages of 4 KiB. What comes of it [`memory`](Self::memory) tells.
    ///
    /// # Errors
    /// The machine has no balloon, or the guest would keep too little; or it
    /// has stopped.
    pub fn set_balloon(&self, target: u64) -> Result<()> {
        self.execute(Command::SetBalloon { target }).map(drop)
    }

    /// Asks the guest to have `bytes` of memory in all. What comes of it
    /// [`memory`](Self::memory) tells.
    ///
    /// # Errors
    /// The machine's memory cannot grow, or not that far; or it has stopped.
    pub fn set_memory(&self, bytes: u64) -> Result<()> {
        self.execute(Command::SetMemory { bytes }).map(drop)
    }

    /// How much memory there is. Has the guest asked for new statistics.
    ///
    /// # Errors
    /// The machine has stopped.
    pub fn memory(&self) -> Result<MemoryStatus> {
        match self.execute(Command::Memory)? {
            Reply::Memory(status) => Ok(*status),
            reply => Err(Error::unexpected_reply(&reply)),
        }
    }

    /// Plugs a disk or a network interface in and tells the guest of it.
    ///
    /// # Errors
    /// Its name or all slots are taken, a device that had the name is not closed
    /// yet, the machine has no PCI bus, or the device cannot be made.
    pub fn attach(&self, device: DeviceConfig) -> Result<DeviceDescription> {
        match self.execute(Command::Attach(Box::new(device)))? {
            Reply::Attached(description) => Ok(description),
            reply => Err(Error::unexpected_reply(&reply)),
        }
    }

    /// Asks the guest to give a device up, and waits until it has: then the
    /// device's descriptor is closed, and what was written is durable.
    ///
    /// # Errors
    /// There is no such device, it is the root disk, or the machine is paused.
    /// Or the guest did not give it up within `deadline`: then it may do so
    /// later, unless it had not read the request, which is taken back.
    /// Or the host's storage is not done with it ([`Error::StillOpen`]), or has
    /// lost something.
    pub fn detach(&self, device: DeviceName, deadline: Duration) -> Result<()> {
        let command = Command::Detach { device, deadline };
        self.execute(command).map(drop)
    }

    /// Closes a device's descriptor without asking the guest, which sees errors
    /// from then on. Requests in flight are waited for, and with them whatever
    /// else is asked of the machine, for up to
    /// [`STOP_PATIENCE`](devices::virtio::device::STOP_PATIENCE); those that the
    /// host's storage never answers stay unanswered in the guest.
    ///
    /// # Errors
    /// There is no such device; or the guest has lost it, and what it had in
    /// flight, or making that durable, does not finish: then its descriptor is
    /// closed when it has ([`Error::StillOpen`]), which
    /// [`Event::DeviceDetached`] tells.
    pub fn force_detach(&self, device: DeviceName) -> Result<()> {
        self.execute(Command::ForceDetach { device }).map(drop)
    }

    /// Hears of everything that will happen to the machine. The channel
    /// closes when it has stopped.
    pub fn events(&self) -> Receiver<Event> {
        let (sender, receiver) = channel();
        // If the machine has stopped, the sender is dropped: a closed channel.
        let _ = self.sender.send(Message::Subscribe(Box::new(move |event| {
            sender.send(event.clone()).is_ok()
        })));
        receiver
    }

    /// Has `hear` called with everything that will happen to the machine, on
    /// the control thread, which must not be held up, until it returns false.
    pub fn subscribe(&self, hear: impl FnMut(&Event) -> bool + Send + 'static) {
        let _ = self.sender.send(Message::Subscribe(Box::new(hear)));
    }
}
