use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use vmm::handover::{End, Registration};

struct Fixture {
    directory: tempfile::TempDir,
    registry: Registry,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::at(directory.path().join("r"));
        Self {
            directory,
            registry,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("r").join(name)
    }

    /// A machine whose process is this one: it lives as long as the second.
    fn start(&self, name: &str, detached: bool) -> (NewMachine, Belongings) {
        let record = Record {
            detached,
            ..Record::default()
        };
        let name = Some(name.parse().unwrap());
        let (mut machine, belongings) = self.registry.create(name, &record).unwrap();
        machine.started(std::process::id()).unwrap();
        (machine, belongings)
    }

    /// Waits until nobody holds the machine's lock: for a moment, another
    /// test's child has a copy of every descriptor.
    fn wait_for_end(&self, name: &str) {
        let lock = File::open(self.path(name).join("lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let machines = self.registry.machines().unwrap();
        machines.iter().map(|m| m.name().to_string()).collect()
    }

    fn find(&self, name: &str) -> Result<Machine, Error> {
        self.registry.find(&name.parse().unwrap())
    }
}

fn end(belongings: Belongings, message: &str) {
    let registration = Registration {
        lock: belongings.lock,
        end: belongings.end,
        detached: None,
    };
    registration.ended(&End::now(0, message)).unwrap();
}

#[test]
fn a_machine_lives_until_its_process_lets_go_of_the_lock() {
    let f = Fixture::new();
    let (_machine, belongings) = f.start("web", true);
    assert!(f.find("web").unwrap().is_alive());
    let copy = belongings.lock.try_clone().unwrap();
    end(belongings, "the guest powered off");
    assert!(f.find("web").unwrap().is_alive());
    drop(copy);
    f.wait_for_end("web");
    let machine = f.find("web").unwrap();
    assert!(!machine.is_alive());
    assert_eq!(machine.last_words(), "the guest powered off");
    let error = machine.expect_alive().unwrap_err().report();
    assert!(
        error.contains("'web' has ended: the guest powered off"),
        "{error}"
    );
}

#[test]
fn a_machine_that_is_killed_is_shown_as_dead_without_a_word() {
    let f = Fixture::new();
    let (machine, belongings) = f.start("web", true);
    fs::write(f.path("web/log"), "one\ntwo\x1b[31m\n").unwrap();
    drop((machine, belongings));
    f.wait_for_end("web");
    let machine = f.find("web").unwrap();
    assert!(!machine.is_alive());
    assert!(machine.last_words().contains("died without a word"));
    assert_eq!(machine.log_tail(1), ["two[31m"]);
}

#[test]
fn a_living_machines_name_is_refused_and_a_dead_ones_is_taken_over() {
    let f = Fixture::new();
    let (_first, belongings) = f.start("web", true);
    let taken = f
        .registry
        .create(Some("web".parse().unwrap()), &Record::default());
    let error = taken.unwrap_err().report();
    assert!(
        error.contains("machine 'web' is running already"),
        "{error}"
    );
    assert!(f.find("web").unwrap().is_alive());

    end(belongings, "over");
    f.wait_for_end("web");
    let (_second, _belongings) = f.start("web", true);
    let machine = f.find("web").unwrap();
    assert!(machine.is_alive() && machine.end().is_none());
}

#[test]
fn an_ended_machine_in_the_foreground_is_forgotten_and_a_detached_one_is_not() {
    let f = Fixture::new();
    let (_a, foreground) = f.start("a", false);
    let (_b, detached) = f.start("b", true);
    let (_c, killed) = f.start("c", false);
    assert_eq!(f.names(), ["a", "b", "c"]);
    end(foreground, "over");
    end(detached, "over");
    drop(killed);
    for name in ["a", "b", "c"] {
        f.wait_for_end(name);
    }
    assert_eq!(f.names(), ["b", "c"]);
    let (_d, _belongings) = f.start("d", false);
    assert!(!f.path("a").exists());
    assert_eq!(f.names(), ["b", "c", "d"]);
}

#[test]
fn a_machine_that_was_not_started_leaves_nothing() {
    let f = Fixture::new();
    let (machine, belongings) = f.registry.create(None, &Record::default()).unwrap();
    assert!(f.path(machine.name().as_str()).exists());
    drop((machine, belongings));
    assert_eq!(fs::read_dir(f.path("")).unwrap().count(), 0);
}

#[test]
fn a_machine_that_did_not_start_has_its_name_until_its_directory_is_gone() {
    let f = Fixture::new();
    let create = || {
        f.registry
            .create(Some("web".parse().unwrap()), &Record::default())
    };
    let (machine, belongings) = create().unwrap();
    drop(belongings);
    let error = create().unwrap_err().report();
    assert!(error.contains("'web' is running already"), "{error}");
    drop(machine);
    create().unwrap();
}

#[test]
fn only_the_dead_are_removed() {
    let f = Fixture::new();
    let (_machine, belongings) = f.start("web", true);
    let name = "web".parse().unwrap();
    let error = f.registry.remove(&name).unwrap_err().report();
    assert!(
        error.contains("'web' is running") && error.contains("vm stop web"),
        "{error}"
    );
    drop(belongings);
    f.wait_for_end("web");
    f.registry.remove(&name).unwrap();
    assert!(f.names().is_empty());
    assert!(f.registry.remove(&name).is_err());
}

#[test]
fn a_machine_that_is_being_started_has_its_name_already() {
    let f = Fixture::new();
    let name: VmName = "web".parse().unwrap();
    let create = || {
        f.registry
            .create(Some(name.clone()), &Record::now(true, [].into()))
    };
    let _first = create().unwrap();
    let error = create().unwrap_err().report();
    assert!(error.contains("'web' is running already"), "{error}");
    let error = f.registry.remove(&name).unwrap_err().report();
    assert!(error.contains("'web' is running"), "{error}");
    assert!(f.find("web").unwrap().is_alive());
}

#[test]
fn an_unknown_machine_is_told_which_there_are() {
    let f = Fixture::new();
    let error = f.find("web").unwrap_err().report();
    assert!(
        error.contains("there is no machine 'web', and no other"),
        "{error}"
    );
    let (_a, _belongings_a) = f.start("db", true);
    let (_b, _belongings_b) = f.start("mail", true);
    let error = f.find("web").unwrap_err().report();
    assert!(error.contains("try: one of db, mail"), "{error}");
}

#[test]
fn the_directory_is_the_users_alone() {
    let f = Fixture::new();
    let (_machine, _belongings) = f.start("web", true);
    for directory in ["", "web"] {
        let mode = fs::metadata(f.path(directory))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

#[test]
fn a_socket_whose_path_is_too_long_is_refused_before_anything_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::at(directory.path().join("x".repeat(80)));
    let name = Some("n".repeat(20).parse().unwrap());
    let error = registry.create(name, &Record::default()).unwrap_err();
    assert!(
        error.report().contains("a socket's may have 107"),
        "{}",
        error.report()
    );
    assert!(registry.machines().unwrap().is_empty());
}

#[test]
fn what_was_recorded_can_be_changed() {
    let f = Fixture::new();
    let (_machine, _belongings) = f.start("web", true);
    let name = "web".parse().unwrap();
    f.registry
        .update(&name, |record| {
            record.disks.insert("data".into(), "/d".into());
        })
        .unwrap();
    let machine = f.find("web").unwrap();
    assert_eq!(machine.record().disks["data"], PathBuf::from("/d"));
    assert_eq!(machine.record().pid, Some(std::process::id()));
}

#[test]
fn machines_that_somebody_else_could_have_put_there_are_not_found() {
    let f = Fixture::new();
    let (_machine, _belongings) = f.start("web", true);
    fs::set_permissions(f.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    let error = f.find("web").unwrap_err().report();
    assert!(error.contains("is open to other users"), "{error}");
}
