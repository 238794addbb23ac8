//! The switchboard by itself, with host programs and no guest.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::*;
use crate::clock::fake::FakeClock;

fn switchboard(directory: &Path) -> Switchboard {
    let listener = UnixListener::bind(directory.join("vm.sock")).unwrap();
    let services = std::fs::File::open(directory).unwrap();
    let stem = "vm.sock".parse().unwrap();
    let host = HostEnd::new(listener.into(), services.into(), stem).unwrap();
    let cid = GuestCid::new(3).unwrap();
    Switchboard::new(cid, host, Arc::default(), FakeClock::new()).unwrap()
}

/// A program that wants to talk to the guest, as far as the guest's turn.
fn program(directory: &Path, switchboard: &mut Switchboard) -> UnixStream {
    let mut program = UnixStream::connect(directory.join("vm.sock")).unwrap();
    program.write_all(b"CONNECT 52\n").unwrap();
    switchboard.look();
    program
}

#[test]
fn programs_that_leave_before_the_guest_looks_leave_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut switchboard = switchboard(directory);
    let _stays = program(directory, &mut switchboard);
    for _ in 0..4 * MOST_ANSWERS {
        drop(program(directory, &mut switchboard));
        switchboard.look();
    }
    assert_eq!(switchboard.connections.len(), 1);
    assert!(
        switchboard.turns.len() <= MOST_ANSWERS + 1,
        "{} turns",
        switchboard.turns.len()
    );
    // The one that stays still has its turn, once.
    let connection = switchboard.connections.values().next().unwrap();
    assert!(connection.has_turn);
    switchboard.drop_ended_turns();
    assert_eq!(switchboard.turns.len(), 1);
}
