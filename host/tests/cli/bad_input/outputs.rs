//! Files that plinth writes: none is touched by a run that is refused.

use devices::block::lock::{Access, lock};

use super::{CONFIGURATION, HOST};
use crate::plinth::{Fixture, plinth};

#[test]
fn a_console_file_that_cannot_be_written() {
    let f = Fixture::new();
    let run = f.run_on("file=/nonexistent/c", &[]);
    // A host that cannot run guests says that first: no file is made there.
    if plinth(&["doctor"]).code == HOST {
        run.refused(HOST, &["no guest can run here"]);
    } else {
        run.refused(
            CONFIGURATION,
            &["console file '/nonexistent/c' cannot be written to"],
        );
    }
}

#[test]
fn a_refusal_leaves_no_console_file_and_no_lock() {
    let f = Fixture::new();
    let disk = f.file("disk", 1 << 20);
    let log = f.path("log");
    let console = format!("file={}", log.display());
    let run = f.run_on(&console, &["--disk", &disk, "--net", "tap=plinthnone0"]);
    run.refused(CONFIGURATION, &["tap 'plinthnone0' does not exist"]);
    assert!(!log.exists());
    let file = std::fs::File::options().write(true).open(&disk).unwrap();
    lock(&file, Access::Exclusive).unwrap();
}

#[test]
fn a_refused_report_leaves_the_console_file_as_it_was() {
    let f = Fixture::new();
    let log = f.path("log");
    std::fs::write(&log, "an earlier run").unwrap();
    let console = format!("file={}", log.display());
    let run = f.run_on(&console, &["--report", "/nonexistent/r"]);
    if plinth(&["doctor"]).code == HOST {
        run.refused(HOST, &["no guest can run here"]);
    } else {
        run.refused(CONFIGURATION, &["report file '/nonexistent/r' cannot be"]);
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "an earlier run");
}

#[test]
fn a_console_or_report_file_that_is_the_disk_leaves_the_disk_alone() {
    let f = Fixture::new();
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    std::fs::write(&disk, [7; 512]).unwrap();
    let path = disk.display().to_string();
    let console = format!("file={path}");
    f.run_on(&console, &["--disk", &path]).refused(
        CONFIGURATION,
        &["console file", "is also the disk", "try: a file of its own"],
    );
    f.run(&["--disk", &path, "--report", &path])
        .refused(CONFIGURATION, &["report file", "is also the disk"]);
    assert_eq!(std::fs::read(&disk).unwrap(), [7; 512]);
}
