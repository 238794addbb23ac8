//! Devices that leave, and what is asked of single ones.

use super::*;
use crate::DiskOptions;
use crate::command::DeviceLimits;
use crate::config::BlockConfig;

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
fn a_request_that_the_guest_has_not_read_is_taken_back_at_the_deadline() {
    let (vm, inside) = machine_with_disks();
    let unread = || inside.read(boot::layout::PCI_SLOTS_PORT + 4);
    let kept = vm.detach(name("data"), Duration::ZERO).unwrap_err();
    assert!(kept.to_string().contains("is taken back"), "{kept}");
    assert_eq!(unread(), 0);
    // Not while somebody else waits for it.
    let outcome = ask_for_data(&vm, LONG);
    let kept = vm.detach(name("data"), Duration::ZERO).unwrap_err();
    assert!(kept.to_string().contains("may yet do so"), "{kept}");
    assert_eq!(unread(), 1 << 2);
    inside.eject(2);
    assert!(matches!(outcome.recv(), Ok(Ok(Reply::Done))));
}

#[test]
fn a_guest_that_rests_is_not_asked_for_a_device() {
    let (vm, inside) = machine_with_disks();
    vm.pause().unwrap();
    let refused = vm.detach(name("data"), LONG).unwrap_err();
    assert!(matches!(refused, Error::GuestRests(_)), "{refused}");
    assert!(refused.to_string().contains("resume it first"), "{refused}");
    assert_eq!(inside.read(boot::layout::PCI_SLOTS_PORT + 4), 0);
    // By force it goes all the same.
    vm.force_detach(name("data")).unwrap();
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
fn a_device_is_described_as_it_is_now() {
    let (vm, _) = machine_with_disks();
    let described = || vm.describe().unwrap().devices.remove(1);
    assert_eq!((described().receive, described().transmit), (None, None));
    let rate = devices::rate_limit::Limit::per_second(3000).unwrap();
    let limits = DeviceLimits::Net {
        receive: None,
        transmit: devices::rate_limit::Limits::new(Some(rate), None),
    };
    vm.set_limits(name("data"), limits).unwrap();
    let transmit = described().transmit.unwrap();
    assert_eq!(transmit.operations_per_second, Some(3000));
    assert_eq!(transmit.operations_burst, Some(30));
    assert_eq!(
        (transmit.bytes_per_second, described().receive),
        (None, None)
    );
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
fn a_device_is_said_to_be_detached_when_its_last_act_is_over() {
    let (device, storage) = slow_device("data", 2, Flaw::None);
    let (paused, inside) = machine_with(vec![device], OnReset::Reboot);
    let vm = paused.start().unwrap();
    let events = vm.events();
    let outcome = ask_for_data(&vm, LONG);
    inside.eject(2);
    // Nobody else waits for the storage, and the device is gone.
    assert_eq!(names(&vm), [""; 0]);
    vm.pause().unwrap();
    assert_eq!(events.recv(), Ok(Event::Paused));
    assert!(outcome.try_recv().is_err());
    assert!(events.try_recv().is_err());
    drop(storage);
    assert!(matches!(outcome.recv(), Ok(Ok(Reply::Done))));
    assert_eq!(events.recv(), Ok(Event::DeviceDetached(name("data"))));
}

#[test]
fn a_device_that_does_not_stop_is_taken_by_force_and_said_to_be_detached_once_closed() {
    let (device, storage) = slow_device("data", 2, Flaw::DoesNotStop);
    let (paused, inside) = machine_on(Duration::ZERO, vec![device], OnReset::Reboot);
    let vm = paused.start().unwrap();
    let events = vm.events();
    let stuck = vm.force_detach(name("data")).unwrap_err();
    assert!(matches!(stuck, Error::StillOpen { .. }), "{stuck}");
    assert_eq!(stuck.kind(), ErrorKind::Host);
    assert_eq!(names(&vm), [""; 0]);
    assert_eq!(inside.read(boot::layout::PCI_SLOTS_PORT + 4), 1 << 2);
    // It holds up neither a reset nor the machine's end.
    vm.reset().unwrap();
    assert_eq!(events.recv(), Ok(Event::Restarted));
    assert!(events.try_recv().is_err());
    drop(storage);
    assert_eq!(events.recv(), Ok(Event::DeviceDetached(name("data"))));
}

#[test]
fn a_name_is_free_again_when_the_device_that_had_it_is_closed() {
    let (device, storage) = slow_device("data", 2, Flaw::None);
    let (paused, inside) = machine_with(vec![device], OnReset::Reboot);
    let vm = paused.start().unwrap();
    let events = vm.events();
    let attach = || {
        let disk = BlockConfig {
            file: tempfile::tempfile().unwrap(),
            id: "data".parse().unwrap(),
            options: DiskOptions::default(),
            key: None,
            limits: None,
            volume: None,
        };
        vm.attach(DeviceConfig::Block(disk)).unwrap_err()
    };
    assert!(matches!(attach(), Error::NameTaken(_)));
    inside.eject(2);
    assert_eq!(names(&vm), [""; 0]);
    let refused = attach();
    assert!(matches!(refused, Error::NameClosing(_)), "{refused}");
    drop(storage);
    assert_eq!(events.recv(), Ok(Event::DeviceDetached(name("data"))));
    // A machine without a bus has no other reason left.
    assert!(matches!(attach(), Error::Stopped));
}

#[test]
fn a_machine_that_ends_finishes_what_is_being_closed_as_long_as_it_may() {
    for (patience, closes) in [(LONG, true), (Duration::ZERO, false)] {
        let (device, storage) = slow_device("data", 2, Flaw::None);
        let (paused, inside) = machine_on(patience, vec![device], OnReset::Reboot);
        let vm = paused.start().unwrap();
        let events = vm.events();
        inside.eject(2);
        vm.describe().unwrap();
        let (sender, stopped) = std::sync::mpsc::channel();
        vm.submit(Command::Stop, move |reply| sender.send(reply).unwrap());
        let storage = (!closes).then_some(storage);
        assert!(matches!(stopped.recv(), Ok(Ok(Reply::Done))));
        let told: Vec<_> = events.iter().collect();
        let detached = Event::DeviceDetached(name("data"));
        assert_eq!(told.contains(&detached), closes);
        assert_eq!(told.last(), Some(&Event::Stopped(StopReason::Stopped)));
        drop(storage);
    }
}

#[test]
fn a_reset_gives_up_what_the_guest_was_asked_for() {
    let (vm, _) = machine_with_disks();
    let outcome = ask_for_data(&vm, LONG);
    vm.reset().unwrap();
    assert!(matches!(outcome.recv(), Ok(Ok(Reply::Done))));
}

#[test]
fn a_device_is_where_it_was_after_a_reset_though_one_before_it_has_left() {
    let devices = [("root", 1), ("data", 2), ("net", 3)];
    let devices = devices.map(|(name, slot)| started_device(name, slot, Flaw::None));
    let (paused, inside) = machine_with(devices.into(), OnReset::Reboot);
    let vm = paused.start().unwrap();
    inside.eject(2);
    assert_eq!(names(&vm), ["root", "net"]);
    vm.reset().unwrap();
    let expected = [("root", 1), ("net", 3)];
    let expected = expected.map(|(device, slot)| (name(device), Some(Place::Pci(slot))));
    assert_eq!(*inside.given.lock().unwrap(), expected);
}
