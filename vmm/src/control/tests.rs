use super::*;
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
    let channel = ControlChannel::new();
    let (sender, requests) = (channel.sender.clone(), channel.request_sender());
    let crash = channel.crash_reporter();
    let parts = Parts {
        vcpus: Vcpus::default(),
        devices: Vec::new(),
        description: Description {
            state: State::Paused,
            cpus: 1,
            memory_bytes: 64 << 20,
            devices: Vec::new(),
        },
        _keep: Box::new(remains),
    };
    let vm = Vm {
        operator: Operator { sender },
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
    assert_eq!(vm.describe().unwrap().state, State::Running);
    vm.pause().unwrap();
    assert_eq!(vm.describe().unwrap().state, State::Paused);
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
