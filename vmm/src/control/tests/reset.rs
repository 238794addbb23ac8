//! Guests that start anew.

use super::*;

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
