use super::*;
use crate::attach::{Flaw, started_device};
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
        _: Vec<NamedDevice>,
        cpus: CpuCount,
        reporter: &Reporter,
    ) -> Result<Parts> {
        *self.inside.reporter.lock().unwrap() = reporter.clone();
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

/// A machine that reboots, and its inside.
fn machine() -> (PausedVm, Inside) {
    machine_with(Vec::new(), OnReset::Reboot)
}

fn machine_with(devices: Vec<AttachedDevice>, on_reset: OnReset) -> (PausedVm, Inside) {
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
fn whoever_waits_hears_why_it_stopped() {
    let (paused, inside) = machine();
    let vm = paused.start().unwrap();
    std::thread::scope(|scope| {
        let waiters = [(); 4].map(|()| scope.spawn(|| vm.wait()));
        inside.request(MachineRequest::PowerOff);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), StopReason::PowerOff);
        }
    });
}

#[test]
fn a_machine_that_its_user_ended_before_it_ran_says_so_in_the_usual_way() {
    let (paused, inside) = machine();
    inside.request(MachineRequest::UserQuit);
    let vm = paused.start().unwrap();
    assert_eq!(vm.wait(), StopReason::UserQuit);
}

#[test]
fn a_stopped_machine_refuses_everything() {
    let (paused, inside) = machine();
    let vm = paused.start().unwrap();
    inside.request(MachineRequest::PowerOff);
    assert_eq!(vm.wait(), StopReason::PowerOff);
    let answers = [
        vm.pause(),
        vm.resume(),
        vm.reset(),
        vm.press_power_button(),
        vm.shutdown(Duration::MAX),
        vm.stop(),
    ];
    for answer in answers {
        assert!(matches!(answer, Err(Error::Stopped)));
    }
    assert_eq!(vm.events().iter().count(), 0);
}

#[test]
fn the_first_thing_that_ends_a_machine_is_the_reason() {
    let (paused, inside) = machine_with(Vec::new(), OnReset::Stop);
    let requests = inside.requests();
    requests.send(MachineRequest::Reset);
    requests.send(MachineRequest::PowerOff);
    inside.crash(crash_of(0));
    // Paused or not makes no difference.
    assert_eq!(paused.start().unwrap().wait(), StopReason::Reset);

    let (PausedVm(vm), inside) = machine();
    inside.crash(crash_of(3));
    inside.request(MachineRequest::UserQuit);
    assert_eq!(vm.wait(), StopReason::Crashed(crash_of(3)));
}

#[test]
fn a_guest_that_resets_starts_anew_as_often_as_it_likes() {
    let (paused, inside) = machine();
    let events = paused.events();
    let vm = paused.start().unwrap();
    assert_eq!(events.recv(), Ok(Event::Started));
    for _ in 0..20 {
        inside.request(MachineRequest::Reset);
        assert_eq!(events.recv(), Ok(Event::ResetRequested));
        assert_eq!(events.recv(), Ok(Event::Restarted));
    }
    assert_eq!(vm.describe().unwrap().state, State::Running);
    assert_eq!(vm.statistics().resets, 20);
    inside.request(MachineRequest::PowerOff);
    assert_eq!(vm.wait(), StopReason::PowerOff);
}

#[test]
fn a_guest_whose_watchdog_ran_out_starts_anew_unless_that_is_to_end_it() {
    for (on_reset, last) in [
        (OnReset::Reboot, Event::Restarted),
        (OnReset::Stop, Event::Stopped(StopReason::Watchdog)),
    ] {
        let (paused, inside) = machine_with(Vec::new(), on_reset);
        let events = paused.events();
        let _vm = paused.start().unwrap();
        inside.request(MachineRequest::Watchdog);
        let told: Vec<_> = events.iter().take(3).collect();
        assert_eq!(told, [Event::Started, Event::Watchdog, last]);
    }
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
fn what_the_guest_of_an_earlier_run_said_is_not_heeded() {
    let (paused, inside) = machine();
    let before = inside.reporter.lock().unwrap().clone();
    let vm = paused.start().unwrap();
    vm.reset().unwrap();
    before.request_sender().send(MachineRequest::PowerOff);
    before.crash_reporter()(crash_of(1));
    assert_eq!(vm.describe().unwrap().state, State::Running);
    // The console's user is none of the guest's.
    let user = Reporter::new(None, vm.operator().sender);
    user.request_sender().send(MachineRequest::UserQuit);
    assert_eq!(vm.wait(), StopReason::UserQuit);
}

#[test]
fn a_machine_that_is_reset_from_outside_goes_on_as_it_was() {
    let (paused, _) = machine();
    let events = paused.events();
    paused.operator().reset().unwrap();
    assert_eq!(paused.operator().describe().unwrap().state, State::Paused);
    let vm = paused.start().unwrap();
    vm.reset().unwrap();
    assert_eq!(vm.describe().unwrap().state, State::Running);
    vm.pause().unwrap();
    vm.reset().unwrap();
    assert_eq!(vm.describe().unwrap().state, State::Paused);
    drop(vm);
    let told: Vec<_> = events.iter().collect();
    let expected = [
        Event::Restarted,
        Event::Started,
        Event::Restarted,
        Event::Paused,
        Event::Restarted,
        Event::Stopped(StopReason::Stopped),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_machine_that_cannot_be_put_together_again_ends_and_says_why() {
    let (paused, inside) = machine();
    let vm = paused.start().unwrap();
    *inside.fails.lock().unwrap() = true;
    assert!(matches!(vm.reset(), Err(Error::Host { .. })));
    let StopReason::ResetFailed { kind, reason } = vm.wait() else {
        panic!("it cannot start anew");
    };
    assert_eq!(kind, ErrorKind::Host);
    assert_eq!(reason, "the host refused memory: out of memory");
    assert_eq!(inside.holders(), 0);
}

#[test]
fn a_device_that_does_not_stop_keeps_the_guest_from_starting_anew() {
    let (paused, inside) = machine_with(
        vec![started_device("disk root", 1, Flaw::DoesNotStop)],
        OnReset::Reboot,
    );
    let vm = paused.start().unwrap();
    inside.request(MachineRequest::Reset);
    let StopReason::ResetFailed { reason, .. } = vm.wait() else {
        panic!("its memory is not its own");
    };
    assert!(reason.contains("disk root"), "{reason}");
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
fn a_guest_that_shuts_down_answers_all_who_asked_for_it() {
    for (request, reason) in [
        (MachineRequest::PowerOff, StopReason::PowerOff),
        (MachineRequest::Watchdog, StopReason::Watchdog),
        // It was to end, so that it does not start anew.
        (MachineRequest::Reset, StopReason::Reset),
    ] {
        let (paused, inside) = machine();
        let vm = paused.start().unwrap();
        let (sender, answers) = std::sync::mpsc::channel();
        for _ in 0..3 {
            let sender = sender.clone();
            let deadline = Duration::MAX;
            let receive = move |answer| sender.send(answer).unwrap();
            vm.submit(Command::Shutdown { deadline }, receive);
        }
        // All have been carried out, and nothing has come of it.
        vm.describe().unwrap();
        assert!(answers.try_recv().is_err());
        assert_eq!(inside.events(), boot::layout::EVENT_POWER_BUTTON);
        inside.request(request);
        for _ in 0..3 {
            assert!(matches!(answers.recv().unwrap(), Ok(Reply::Done)));
        }
        assert_eq!(vm.wait(), reason);
    }
}

#[test]
fn a_guest_that_does_not_shut_down_in_time_is_ended() {
    let (paused, inside) = machine();
    let vm = paused.start().unwrap();
    let (sender, patient) = std::sync::mpsc::channel();
    let deadline = Duration::from_secs(3600);
    vm.submit(Command::Shutdown { deadline }, move |answer| {
        sender.send(answer).unwrap();
    });
    vm.shutdown(Duration::ZERO).unwrap();
    assert!(matches!(patient.recv().unwrap(), Ok(Reply::Done)));
    assert_eq!(inside.events(), boot::layout::EVENT_POWER_BUTTON);
    assert_eq!(vm.wait(), StopReason::Stopped);
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

#[test]
fn everything_is_gone_when_the_end_is_told() {
    let (paused, inside) = machine();
    let events = paused.events();
    assert!(inside.holders() > 0);
    inside.request(MachineRequest::PowerOff);
    let told = events.recv().unwrap();
    assert_eq!(told, Event::Stopped(StopReason::PowerOff));
    assert_eq!(inside.holders(), 0);
}

#[test]
fn a_machine_is_dropped_unstarted_from_another_thread_and_while_its_events_are_read() {
    let (paused, inside) = machine();
    drop(paused);
    assert_eq!(inside.holders(), 0);

    let (paused, inside) = machine();
    std::thread::spawn(|| drop(paused)).join().unwrap();
    assert_eq!(inside.holders(), 0);

    let (paused, inside) = machine();
    let events = paused.events();
    let mut vm = Some(paused.start().unwrap());
    let mut last = None;
    for event in events {
        vm = None;
        last = Some(event);
    }
    assert!(vm.is_none());
    assert_eq!(last, Some(Event::Stopped(StopReason::Stopped)));
    assert_eq!(inside.holders(), 0);
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

fn name(text: &str) -> DeviceName {
    text.parse().unwrap()
}

/// A machine with two disks that runs, "root" in slot 1 and "data" in slot 2.
fn machine_with_disks() -> (Vm, Inside) {
    let disks = [("root", 1), ("data", 2)];
    let disks = disks.map(|(name, slot)| started_device(name, slot, Flaw::None));
    let (paused, inside) = machine_with(disks.into(), OnReset::Reboot);
    (paused.start().unwrap(), inside)
}

fn names(vm: &Vm) -> Vec<String> {
    let devices = vm.describe().unwrap().devices;
    devices.iter().map(|d| d.name.to_string()).collect()
}

/// Asks for "data" to be detached. What comes of it arrives here.
fn ask_for_data(vm: &Vm, deadline: Duration) -> Receiver<Result<Reply>> {
    let (sender, outcome) = std::sync::mpsc::channel();
    let device = name("data");
    let detach = Command::Detach { device, deadline };
    vm.submit(detach, move |reply| sender.send(reply).unwrap());
    // The command before is finished when this is answered.
    vm.describe().unwrap();
    outcome
}

#[test]
fn a_device_leaves_when_the_guest_has_given_it_up() {
    let (vm, inside) = machine_with_disks();
    let events = vm.events();
    let outcome = ask_for_data(&vm, LONG);
    let unwanted = inside.read(boot::layout::PCI_SLOTS_PORT + 4);
    assert_eq!(unwanted, 1 << 2, "the guest is asked");
    assert!(outcome.try_recv().is_err());
    assert_eq!(names(&vm), ["root", "data"]);
    inside.eject(2);
    assert!(matches!(outcome.recv(), Ok(Ok(Reply::Done))));
    assert_eq!(names(&vm), ["root"]);
    assert_eq!(events.recv(), Ok(Event::DeviceDetached(name("data"))));
}

#[test]
fn a_guest_that_keeps_a_device_past_the_deadline_may_give_it_up_later() {
    let (vm, inside) = machine_with_disks();
    let kept = vm.detach(name("data"), Duration::ZERO).unwrap_err();
    assert_eq!(kept.kind(), ErrorKind::Guest);
    assert!(kept.to_string().contains("'data'"), "{kept}");
    assert_eq!(names(&vm), ["root", "data"]);
    inside.eject(2);
    assert_eq!(names(&vm), ["root"]);
}

#[test]
fn a_guest_may_give_a_device_up_of_its_own_accord() {
    let (vm, inside) = machine_with_disks();
    let events = vm.events();
    for slot in [2, 2, 3, 31, 32, u32::MAX] {
        inside.eject(slot);
    }
    assert_eq!(events.recv(), Ok(Event::DeviceDetached(name("data"))));
    assert_eq!(names(&vm), ["root"]);
}

#[test]
fn what_cannot_leave_stays() {
    let (vm, inside) = machine_with_disks();
    let root = vm.detach(name("root"), LONG).unwrap_err();
    assert!(matches!(root, Error::RootDisk(_)), "{root}");
    let unknown = vm.detach(name("dta"), LONG).unwrap_err();
    assert!(
        unknown.to_string().contains("there are root, data"),
        "{unknown}"
    );
    assert!(vm.force_detach(name("dta")).is_err());
    assert_eq!(inside.read(boot::layout::PCI_SLOTS_PORT + 4), 0);
    assert_eq!(names(&vm), ["root", "data"]);
}

#[test]
fn a_device_detached_by_force_is_gone_before_the_guest_knows() {
    let (vm, inside) = machine_with_disks();
    let waiting = ask_for_data(&vm, LONG);
    vm.force_detach(name("data")).unwrap();
    assert!(
        matches!(waiting.recv(), Ok(Ok(Reply::Done))),
        "nobody waits on"
    );
    assert_eq!(names(&vm), ["root"]);
    assert!(vm.force_detach(name("data")).is_err());
    // Told once, whatever the guest makes of it.
    let events = vm.events();
    inside.eject(2);
    vm.pause().unwrap();
    assert_eq!(events.recv(), Ok(Event::Paused));
}

#[test]
fn a_device_detached_by_force_is_gone_though_what_was_written_may_be_lost() {
    let device = started_device("data", 2, Flaw::DoesNotSync);
    let (paused, inside) = machine_with(vec![device], OnReset::Reboot);
    let vm = paused.start().unwrap();
    let events = vm.events();
    let lost = vm.force_detach(name("data")).unwrap_err();
    assert!(matches!(lost, Error::Detach { .. }), "{lost}");
    assert_eq!(names(&vm), [""; 0]);
    assert_eq!(events.recv(), Ok(Event::DeviceDetached(name("data"))));
    assert_eq!(inside.read(boot::layout::PCI_SLOTS_PORT + 4), 1 << 2);
}

#[test]
fn a_device_detached_by_force_is_not_measured_any_more() {
    let (vm, _) = machine_with_disks();
    assert_eq!(vm.measure().unwrap().nets.len(), 2);
    vm.force_detach(name("data")).unwrap();
    assert_eq!(vm.measure().unwrap().nets.len(), 1);
}

#[test]
fn all_who_wait_for_a_device_hear_that_it_did_not_leave_in_order() {
    let device = started_device("data", 2, Flaw::DoesNotStop);
    let (paused, inside) = machine_with(vec![device], OnReset::Reboot);
    let vm = paused.start().unwrap();
    let waiting = [(); 2].map(|()| ask_for_data(&vm, LONG));
    inside.eject(2);
    for outcome in waiting {
        let error = outcome.recv().unwrap().unwrap_err();
        assert!(error.to_string().contains("data"), "{error}");
    }
}

#[test]
fn a_device_that_does_not_stop_is_not_said_to_be_detached() {
    let device = started_device("data", 2, Flaw::DoesNotStop);
    let (paused, _) = machine_with(vec![device], OnReset::Reboot);
    let vm = paused.start().unwrap();
    let stuck = vm.force_detach(name("data")).unwrap_err();
    assert!(matches!(stuck, Error::Pause { .. }), "{stuck}");
    assert_eq!(names(&vm), ["data"]);
}

#[test]
fn a_reset_gives_up_what_the_guest_was_asked_for() {
    let (vm, _) = machine_with_disks();
    let outcome = ask_for_data(&vm, LONG);
    vm.reset().unwrap();
    assert!(matches!(outcome.recv(), Ok(Ok(Reply::Done))));
}
