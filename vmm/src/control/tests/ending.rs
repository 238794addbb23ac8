//! The ways to a machine's end.

use super::*;

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
    let patience = Duration::ZERO;
    assert_eq!(vm.wait(), StopReason::PowerCut { patience });
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
