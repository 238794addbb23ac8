use super::*;
use crate::attach::stuck_device;
use crate::cpu::crash::CrashCause;
use crate::error::Error;
use crate::operator::Operator;
use crate::statistics::BootClock;
use crate::vm::{PausedVm, Vm};
use std::sync::Arc;
use std::time::Instant;

/// A machine without vCPUs and devices, and what is told to its control
/// thread. `remains` go with it.
fn machine(remains: impl Send + 'static) -> (PausedVm, RequestSender, impl Fn(Crash)) {
    machine_with(Vec::new(), remains)
}

fn machine_with(
    devices: Vec<AttachedDevice>,
    remains: impl Send + 'static,
) -> (PausedVm, RequestSender, impl Fn(Crash)) {
    let channel = ControlChannel::new();
    let (sender, requests) = (channel.sender.clone(), channel.request_sender());
    let crash = channel.crash_reporter();
    let parts = Parts {
        vcpus: Vcpus::default(),
        devices,
        description: Description {
            state: State::Paused,
            cpus: 1,
            memory_bytes: 64 << 20,
            devices: Vec::new(),
        },
        _keep: Box::new(remains),
    };
    let control = spawn(channel, parts).unwrap();
    let clock = Arc::new(BootClock::new(Instant::now()));
    let vm = Vm::new(Operator { sender }, control, Vec::new(), clock);
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
    let (paused, ..) = machine_with(vec![stuck_device("disk root")], ());
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
    let (paused, requests, _) = machine(());
    let vm = paused.start().unwrap();
    std::thread::scope(|scope| {
        let waiters = [(); 4].map(|()| scope.spawn(|| vm.wait()));
        requests.send(MachineRequest::PowerOff);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), StopReason::PowerOff);
        }
    });
}

#[test]
fn a_machine_that_its_user_ended_before_it_ran_says_so_in_the_usual_way() {
    let (paused, requests, _) = machine(());
    requests.send(MachineRequest::UserQuit);
    let vm = paused.start().unwrap();
    assert_eq!(vm.wait(), StopReason::UserQuit);
}

#[test]
fn a_stopped_machine_refuses_everything() {
    let (paused, requests, _) = machine(());
    let vm = paused.start().unwrap();
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
    // Whoever starts it hears of that in the usual way.
    assert_eq!(paused.start().unwrap().wait(), StopReason::Reset);
    let (PausedVm(vm), requests, crash) = machine(());
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
