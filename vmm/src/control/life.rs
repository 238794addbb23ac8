//! A machine's life, as the control thread brings it about: pause and resume,
//! reset, and the ways to its end.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use boot::CpuCount;

use super::{Activity, Control, Due, Outcome, Reporter};
use crate::attach::AttachedDevice;
use crate::command::{Answer, Reply};
use crate::config::OnReset;
use crate::error::{Error, Result};
use crate::event::{Event, StopReason};

/// A guest is reminded of what it was told until it has looked: one that boots
/// has not set the interrupt up yet, and an edge that it cannot see is lost.
/// The first time after so long, then after twice as long each time.
const FIRST_REMINDER: Duration = Duration::from_millis(250);
/// No reminder is further from the one before than this.
const LAST_REMINDER: Duration = Duration::from_secs(8);

impl Control {
    /// A pause that failed may be asked for again: whoever rests already, has
    /// nothing to do.
    pub(super) fn pause(&mut self) -> Result<()> {
        if matches!(self.activity, Activity::Built | Activity::Paused) {
            return Ok(());
        }
        self.machine.parts.vcpus.pause();
        self.activity = Activity::Halted;
        // A guest that rests cannot count it down anew.
        if let Some(watchdog) = &self.machine.parts.watchdog {
            watchdog.hold();
        }
        let mut result = Ok(());
        for device in &self.machine.parts.devices {
            // All come to rest, even if one does not.
            result = result.and(device.pause());
        }
        result?;
        self.activity = Activity::Paused;
        self.tell(&Event::Paused);
        Ok(())
    }

    /// After a pause that failed, nobody was told that the machine paused, so
    /// that nobody is told that it goes on.
    pub(super) fn resume(&mut self) {
        let before = std::mem::replace(&mut self.activity, Activity::Running);
        if before == Activity::Running {
            return;
        }
        let parts = &self.machine.parts;
        parts.devices.iter().for_each(AttachedDevice::resume);
        if let Some(watchdog) = &parts.watchdog {
            watchdog.release();
        }
        parts.vcpus.run();
        match before {
            Activity::Built => self.tell(&Event::Started),
            Activity::Paused => self.tell(&Event::Resumed),
            Activity::Halted | Activity::Running => {}
        }
    }

    /// The guest asked for a reset, or its watchdog did, as `event` tells. It
    /// starts anew, or its machine ends for `reason`; one that is to shut down
    /// does not start anew.
    pub(super) fn run_ends(&mut self, event: &Event, reason: StopReason) -> Outcome {
        self.tell(event);
        let shutting_down = !self.stopping.is_empty();
        match self.machine.on_reset {
            OnReset::Reboot if !shutting_down => self.reset(None),
            _ => ControlFlow::Break(reason),
        }
    }

    /// The guest starts anew. If it cannot, that ends the machine: there is
    /// nothing left of it.
    pub(super) fn reset(&mut self, answer: Option<Answer>) -> Outcome {
        let rebuilt = self.rebuild();
        let end = rebuilt.as_ref().err().map(StopReason::reset_failed);
        if let Some(answer) = answer {
            answer.send(rebuilt.map(|()| Reply::Done));
        }
        end.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }

    /// Takes the machine apart and puts it together again, with the devices
    /// that it has now. Paused, it stays so.
    fn rebuild(&mut self) -> Result<()> {
        self.machine.clock.reset(Instant::now());
        let mut parts = std::mem::take(&mut self.machine.parts);
        parts.devices.retain(|device| !device.severed);
        let devices = parts.dismantle()?;
        let devices = self.staying(devices);
        self.run += 1;
        let reporter = Reporter::new(Some(self.run), self.sender.clone());
        let cpus = self.machine.cpus;
        let assembler = &mut self.machine.assembler;
        self.machine.parts = assembler.assemble(devices, cpus, &reporter)?;
        self.tell(&Event::Restarted);
        match self.activity {
            Activity::Running => self.machine.parts.vcpus.run(),
            // Whatever did not rest is gone.
            Activity::Halted => {
                self.activity = Activity::Paused;
                self.tell(&Event::Paused);
            }
            Activity::Built | Activity::Paused => {}
        }
        Ok(())
    }

    /// What the guest makes of it is its own business. A paused one finds it
    /// when it goes on.
    pub(super) fn press_power_button(&mut self) {
        if let Some(events) = &self.machine.parts.events {
            events.power_button.raise();
        }
        self.remind_until_heard();
    }

    /// Asks the guest to end, and ends it at the deadline. Of several, the
    /// first counts.
    pub(super) fn shut_down(&mut self, deadline: Duration, answer: Answer) {
        self.press_power_button();
        self.stopping.push(answer);
        // One beyond the end of time is none.
        if let Some(at) = Instant::now().checked_add(deadline) {
            let patience = deadline;
            self.deadlines.add(at, Due::PowerCut { patience });
        }
    }

    /// The vCPUs exist and wait: the guest is told that it may start them.
    pub(super) fn set_cpus(&mut self, count: CpuCount) -> Result<()> {
        let (asked, present) = (count.get(), self.machine.cpus.get());
        let max = self.machine.description.max_cpus;
        if asked < present {
            return Err(Error::FewerCpus { asked, present });
        }
        if asked > max {
            return Err(Error::TooManyCpus { asked, max });
        }
        self.machine.cpus = count;
        if let Some(events) = &self.machine.parts.events {
            events.cpu_count.announce(asked);
        }
        self.remind_until_heard();
        Ok(())
    }

    /// Has the guest reminded of what it was just told.
    pub(super) fn remind_until_heard(&mut self) {
        // The next may have been further off.
        self.deadlines.cancel(&Due::Reminder);
        self.deadlines
            .add(Instant::now() + FIRST_REMINDER, Due::Reminder);
        self.reminding = Some(FIRST_REMINDER);
    }

    pub(super) fn remind(&mut self) {
        let events = self.machine.parts.events.as_ref();
        let unread = events.is_some_and(|events| events.register.remind());
        let last = self.reminding.take().filter(|_| unread);
        self.reminding = last.map(|last| LAST_REMINDER.min(last * 2));
        if let Some(next) = self.reminding {
            self.deadlines.add(Instant::now() + next, Due::Reminder);
        }
    }
}
