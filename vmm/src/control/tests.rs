//! A machine without vCPUs that is operated from outside and from inside: what
//! goes on while it lives, and what all tests of it share.

mod ending;
mod plug;
mod reset;

use super::*;
use crate::attach::{Flaw, Place, slow_device, started_device};
use crate::catalog::NamedDevice;
use crate::config::DeviceConfig;
use crate::cpu::crash::{Crash, CrashCause};
use crate::error::{Error, ErrorKind, Result};
use crate::operator::Operator;
use crate::platform::{GuestEvents, WatchdogClock, make_watchdog};
use crate::vm::{PausedVm, Vm};
use devices::bus::Bus;
use devices::interrupt::InterruptLine;
use devices::platform::request::RequestSender;
use devices::platform::watchdog::Watchdog;
use devices::reactor::Reactor;
use std::sync::Mutex;
use std::time::Duration;

/// A device, and where it is to be.
type Given = (DeviceName, Option<Place>);

/// A machine without vCPUs, from inside.
#[derive(Clone)]
struct Inside {
    /// How the present run reports.
    reporter: Arc<Mutex<Reporter>>,
    /// Where the guest hears of events.
    line: InterruptLine,
    ports: Bus,
    watchdog: Watchdog,
    /// What becomes of the next that is put together.
    fails: Arc<Mutex<bool>>,
    /// The devices that the present run was put together with.
    given: Arc<Mutex<Vec<Given>>>,
    /// Goes with the machine.
    held: Arc<()>,
}

impl Inside {
    fn request(&self, request: MachineRequest) {
        self.requests().send(request);
    }

    fn requests(&self) -> RequestSender {
        self.reporter.lock().unwrap().request_sender()
    }

    fn crash(&self, crash: Crash) {
        self.reporter.lock().unwrap().crash_reporter()(crash);
    }

    /// The events that the guest finds.
    fn events(&self) -> u32 {
        self.read(boot::layout::EVENTS_PORT)
    }

    /// The vCPUs that the guest finds.
    fn cpus(&self) -> u32 {
        self.read(boot::layout::CPU_COUNT_PORT)
    }

    /// The guest gives the device in `slot` up.
    fn eject(&self, slot: u32) {
        let register = u64::from(boot::layout::PCI_SLOTS_PORT) + 8;
        self.ports.write(register, &slot.to_le_bytes());
    }

    fn read(&self, port: u16) -> u32 {
        let mut data = [0; 4];
        self.ports.read(port.into(), &mut data);
        u32::from_le_bytes(data)
    }

    /// The guest has its watchdog count down.
    fn start_watchdog(&self) {
        let running = boot::layout::WATCHDOG_PORT.into();
        self.ports.write(running, &1_u32.to_le_bytes());
    }

    /// How many hold on to what goes with the machine, beside the test.
    fn holders(&self) -> usize {
        Arc::strong_count(&self.held) - 1
    }
}

/// Puts such a machine together.
struct Assembler {
    inside: Inside,
    reactor: Reactor,
    _held: Arc<()>,
}

impl Assemble for Assembler {
    fn assemble(
        &mut self,
        devices: Vec<NamedDevice>,
        cpus: CpuCount,
        reporter: &Reporter,
    ) -> Result<Parts> {
        *self.inside.reporter.lock().unwrap() = reporter.clone();
        let given = devices.into_iter();
        *self.inside.given.lock().unwrap() = given
            .map(|device| (device.description.name, device.place))
            .collect();
        if *self.inside.fails.lock().unwrap() {
            return Err(Error::host("memory")(io::ErrorKind::OutOfMemory.into()));
        }
        let (ports, line) = (&self.inside.ports, self.inside.line.clone());
        for port in [
            boot::layout::EVENTS_PORT,
            boot::layout::PCI_SLOTS_PORT,
            boot::layout::CPU_COUNT_PORT,
            boot::layout::WATCHDOG_PORT,
        ] {
            ports.remove(port.into());
        }
        let watchdog = WatchdogClock::start(
            &self.inside.watchdog,
            ports,
            &self.reactor.handle(),
            &reporter.request_sender(),
        );
        Ok(Parts {
            events: Some(GuestEvents::new(
                ports,
                line,
                cpus,
                reporter.eject_reporter(),
            )?),
            watchdog: Some(watchdog?),
            keep: Some(Box::new(Arc::clone(&self._held))),
            ..Parts::default()
        })
    }

    fn make(&mut self, _: DeviceConfig) -> Result<NamedDevice> {
        Err(Error::host("a device")(io::ErrorKind::Unsupported.into()))
    }
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// A machine that reboots, and its inside.
fn machine() -> (PausedVm, Inside) {
    machine_with(Vec::new(), OnReset::Reboot)
}

fn machine_with(devices: Vec<AttachedDevice>, on_reset: OnReset) -> (PausedVm, Inside) {
    machine_on(LONG, devices, on_reset)
}

/// The same, on storage that has so long.
fn machine_on(
    storage_patience: Duration,
    devices: Vec<AttachedDevice>,
    on_reset: OnReset,
) -> (PausedVm, Inside) {
    let channel = ControlChannel::new();
    let operator = Operator {
        sender: channel.sender.clone(),
    };
    let held = Arc::new(());
    let inside = Inside {
        reporter: Arc::new(Mutex::new(channel.reporter(Some(0)))),
        line: InterruptLine::new().unwrap(),
        ports: Bus::default(),
        watchdog: make_watchdog().unwrap(),
        fails: Arc::default(),
        given: Arc::default(),
        held: Arc::clone(&held),
    };
    let cpus = CpuCount::new(2).unwrap();
    let mut assembler = Assembler {
        inside: inside.clone(),
        reactor: Reactor::spawn("test").unwrap(),
        _held: held,
    };
    // The assembler's own does not count.
    assembler.inside.held = Arc::default();
    let mut parts = assembler
        .assemble(Vec::new(), cpus, &channel.reporter(Some(0)))
        .unwrap();
    parts.devices = devices;
    let clock = Arc::new(BootClock::new(Instant::now()));
    let machine = Machine {
        parts,
        assembler: Box::new(assembler),
        description: Description {
            state: State::Paused,
            cpus: 0,
            max_cpus: 4,
            memory_bytes: 64 << 20,
            devices: Vec::new(),
        },
        cpus,
        root: Some("root".parse().unwrap()),
        on_reset,
        clock: Arc::clone(&clock),
        storage_patience,
    };
    let control = spawn(channel, machine).unwrap();
    (
        PausedVm(Vm::new(operator, control, Vec::new(), clock)),
        inside,
    )
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
    let (paused, _) = machine();
    let events = paused.events();
    let vm = paused.start().unwrap();
    vm.resume().unwrap();
    vm.pause().unwrap();
    vm.pause().unwrap();
    vm.resume().unwrap();
    assert_eq!(vm.describe().unwrap().state, State::Running);
    vm.pause().unwrap();
    assert_eq!(vm.describe().unwrap().state, State::Paused);
    vm.stop().unwrap();
    assert_eq!(vm.wait(), StopReason::Stopped);
    assert_eq!(vm.wait(), StopReason::Stopped);
    let told: Vec<_> = events.iter().collect();
    let expected = [
        Event::Started,
        Event::Paused,
        Event::Resumed,
        Event::Paused,
        Event::Stopped(StopReason::Stopped),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_pause_that_failed_fails_until_the_machine_is_resumed_and_nobody_hears_of_it() {
    let (paused, _) = machine_with(
        vec![started_device("disk root", 1, Flaw::DoesNotStop)],
        OnReset::Reboot,
    );
    let events = paused.events();
    let vm = paused.start().unwrap();
    for _ in 0..2 {
        for _ in 0..2 {
            let error = vm.pause().unwrap_err();
            assert!(error.to_string().contains("disk root"), "{error}");
            assert_eq!(vm.describe().unwrap().state, State::Halted);
        }
        vm.resume().unwrap();
        assert_eq!(vm.describe().unwrap().state, State::Running);
    }
    drop(vm);
    let stopped = Event::Stopped(StopReason::Stopped);
    let told: Vec<_> = events.iter().collect();
    assert_eq!(told, [Event::Started, stopped]);
}

#[test]
fn a_watchdog_rests_with_its_machine_and_is_stopped_by_a_reset() {
    let (paused, inside) = machine();
    let vm = paused.start().unwrap();
    inside.start_watchdog();
    assert!(inside.watchdog.is_counting());
    for _ in 0..2 {
        vm.pause().unwrap();
        assert!(!inside.watchdog.is_counting());
        vm.resume().unwrap();
        assert!(inside.watchdog.is_counting());
    }
    vm.reset().unwrap();
    assert!(!inside.watchdog.is_counting());
    assert_eq!(inside.read(boot::layout::WATCHDOG_PORT), 0);
    inside.start_watchdog();
    assert!(inside.watchdog.is_counting(), "it is there in each run");
    vm.pause().unwrap();
    vm.reset().unwrap();
    vm.resume().unwrap();
    assert!(!inside.watchdog.is_counting());
}

#[test]
fn a_watchdog_rests_though_a_device_does_not() {
    let (paused, inside) = machine_with(
        vec![started_device("disk root", 1, Flaw::DoesNotStop)],
        OnReset::Reboot,
    );
    let vm = paused.start().unwrap();
    inside.start_watchdog();
    vm.pause().unwrap_err();
    assert!(!inside.watchdog.is_counting());
    vm.resume().unwrap();
    assert!(inside.watchdog.is_counting());
}

#[test]
fn a_panic_is_told_and_ends_nothing() {
    let (paused, inside) = machine();
    let events = paused.events();
    let vm = paused.start().unwrap();
    let panicked = inside.reporter.lock().unwrap().panic_reporter();
    panicked();
    assert_eq!(vm.describe().unwrap().state, State::Running);
    inside.request(MachineRequest::Reset);
    let told: Vec<_> = events.iter().take(4).collect();
    let expected = [
        Event::Started,
        Event::GuestPanicked,
        Event::ResetRequested,
        Event::Restarted,
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_press_of_the_power_button_reaches_the_guest_of_the_day() {
    let (paused, inside) = machine();
    let vm = paused.start().unwrap();
    for _ in 0..2 {
        vm.press_power_button().unwrap();
        assert_eq!(inside.line.take(), 1);
        assert_eq!(inside.events(), boot::layout::EVENT_POWER_BUTTON);
        vm.reset().unwrap();
    }
    vm.pause().unwrap();
    vm.press_power_button().unwrap();
    assert_eq!(inside.events(), boot::layout::EVENT_POWER_BUTTON);
}

#[test]
fn a_guest_that_did_not_hear_of_the_power_button_is_reminded() {
    let (paused, inside) = machine();
    let vm = paused.start().unwrap();
    let deadline = Duration::MAX;
    vm.submit(Command::Shutdown { deadline }, drop);
    let mut interrupts = 0;
    while interrupts < 2 {
        interrupts += inside.line.take();
        std::thread::yield_now();
    }
}

#[test]
fn vcpus_are_added_up_to_the_maximum_and_stay_when_the_guest_starts_anew() {
    let (paused, inside) = machine();
    let vm = paused.start().unwrap();
    let set = |count| vm.set_cpus(CpuCount::new(count).unwrap());
    let told = || (inside.events(), inside.cpus());
    assert!(matches!(set(1), Err(Error::FewerCpus { present: 2, .. })));
    assert!(matches!(set(5), Err(Error::TooManyCpus { max: 4, .. })));
    set(2).unwrap();
    assert_eq!(told(), (0, 2));
    set(3).unwrap();
    assert_eq!(told(), (boot::layout::EVENT_CPUS, 3));
    assert_eq!(vm.describe().unwrap().cpus, 3);
    vm.reset().unwrap();
    assert_eq!(told(), (0, 3));
    assert!(matches!(set(2), Err(Error::FewerCpus { present: 3, .. })));
    set(4).unwrap();
    assert_eq!(told(), (boot::layout::EVENT_CPUS, 4));
}

#[test]
fn many_threads_may_pause_resume_reset_and_stop_at_once() {
    let (paused, _) = machine();
    let vm = paused.start().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for command in [
                    Command::Pause,
                    Command::Resume,
                    Command::Reset,
                    Command::Stop,
                ] {
                    // An answer comes in any case.
                    let answer = vm.execute(command);
                    assert!(matches!(answer, Ok(Reply::Done) | Err(Error::Stopped)));
                }
            });
        }
    });
    assert!(matches!(vm.pause(), Err(Error::Stopped)));
}
