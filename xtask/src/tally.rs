//! Counting what test binaries report, from the text they print (libtest's
//! stable format), and printing the sum of it all.

use std::process::ExitStatus;

/// Tests counted so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: u64,
    failed: Vec<String>,
    skipped: Vec<String>,
    tasks: Vec<String>,
    partial_line: Vec<u8>,
    reports: u64,
}

impl Tally {
    /// Adds a step that is not a test binary.
    pub(crate) fn step(&mut self, name: &str, failure: Option<String>) {
        match failure {
            None => self.passed += 1,
            Some(why) => self.failed.push(format!("{name}: {why}")),
        }
    }

    /// Adds what somebody is to do about a step, which passed.
    pub(crate) fn task(&mut self, what: String) {
        self.tasks.push(what);
    }

    /// Counts in the output of a test binary, which may come in pieces.
    pub(crate) fn read(&mut self, output: &[u8]) {
        self.partial_line.extend(output);
        while let Some(end) = self.partial_line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial_line.drain(..=end).collect();
            self.line(String::from_utf8_lossy(&line).trim_end());
        }
    }

    fn line(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.reports += 1;
            self.passed += count(result, "passed");
        } else if let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        {
            if outcome == "FAILED" {
                self.failed.push(name.to_owned());
            } else if let Some(reason) = outcome.strip_prefix("ignored") {
                let reason = reason.strip_prefix(", ").unwrap_or("no reason given");
                self.skipped.push(format!("{name}: {reason}"));
            }
        }
    }

    /// How many test binaries have given their final report.
    pub(crate) fn reports(&self) -> u64 {
        self.reports
    }

    /// Judges the end of a command that ran test binaries: one that failed
    /// without naming a failed test, or passed without any report since there
    /// were `reports_before`, is a failure of its own.
    pub(crate) fn ended(
        &mut self,
        name: &str,
        status: Result<ExitStatus, String>,
        (reports_before, failed_before): (u64, usize),
    ) {
        self.partial_line.clear();
        let explained = self.failed.len() > failed_before;
        match status {
            Ok(status) if status.success() && self.reports > reports_before => {}
            Ok(status) if status.success() => {
                self.failed.push(format!("{name}: ended without a report"));
            }
            Ok(_) if explained => {}
            Ok(status) => self.failed.push(format!("{name}: {status}")),
            Err(why) => self.failed.push(format!("{name}: {why}")),
        }
    }

    /// What [`Tally::ended`] needs to know from before the command.
    pub(crate) fn mark(&self) -> (u64, usize) {
        (self.reports(), self.failed.len())
    }

    /// Prints what failed, what was skipped and why, and what is to be done, then
    /// the one line of counts; true if anything ran and nothing failed.
    pub(crate) fn print(&self) -> bool {
        println!();
        for failed in &self.failed {
            println!("failed: {failed}");
        }
        for skipped in &self.skipped {
            println!("skipped: {skipped}");
        }
        for what in &self.tasks {
            println!("TO DO: {what}");
        }
        let (failed, skipped) = (self.failed.len(), self.skipped.len());
        println!("{} passed, {failed} failed, {skipped} skipped", self.passed);
        if self.passed == 0 && failed + skipped == 0 {
            println!("no test has such a name");
            return false;
        }
        self.failed.is_empty()
    }
}

/// The number before `what` in `ok. 3 passed; 0 failed; …`.
fn count(result: &str, what: &str) -> u64 {
    let words: Vec<&str> = result.split([' ', ';', '.']).collect();
    words
        .windows(2)
        .find(|pair| pair[1] == what)
        .and_then(|pair| pair[0].parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    const REPORT: &str = "\
test a::one ... ok
test a::two ... FAILED
test a::three ... ignored, needs a disk
test result: FAILED. 12 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out
";

    fn status(code: i32) -> Result<ExitStatus, String> {
        Ok(ExitStatus::from_raw(code << 8))
    }

    #[test]
    fn counts_and_names_from_pieces() {
        let mut tally = Tally::default();
        for piece in REPORT.as_bytes().chunks(5) {
            tally.read(piece);
        }
        tally.ended("a", status(101), (0, 0));
        assert_eq!(tally.passed, 12);
        assert_eq!(tally.failed, ["a::two"]);
        assert_eq!(tally.skipped, ["a::three: needs a disk"]);
    }

    #[test]
    fn a_crash_and_a_silent_success_are_failures() {
        let mut tally = Tally::default();
        tally.ended("crashed", status(101), tally.mark());
        tally.ended("silent", status(0), tally.mark());
        tally.ended("stuck", Err("no answer".to_owned()), tally.mark());
        assert_eq!(tally.failed.len(), 3);
        assert!(tally.failed[1].contains("without a report"));
    }

    #[test]
    fn a_good_report_is_no_failure() {
        let mut tally = Tally::default();
        tally.read(b"test result: ok. 3 passed; 0 failed; 0 ignored\n");
        tally.ended("good", status(0), (0, 0));
        tally.step("formatting", None);
        assert_eq!((tally.passed, tally.failed.len()), (4, 0));
    }
}
