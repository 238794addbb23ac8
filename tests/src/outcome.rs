//! What a guest and its VMM left when they ended.

use std::fmt;
use std::process::ExitStatus;

/// The end of a run.
#[derive(Debug)]
pub struct Outcome {
    /// How the VM process ended.
    pub status: ExitStatus,
    /// What the guest wrote to its console, with plain line ends.
    pub console: String,
    /// What the VM process wrote to standard error.
    pub errors: String,
}

impl Outcome {
    /// Asserts exit status `code` and gives itself back.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// Asserts that the guest's command succeeded and the guest then ended
    /// as it should.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        let outcome = self.ends_with(0);
        outcome.says("plinth-init: exit 0\n");
        outcome
    }

    /// Asserts that the console shows `text`.
    #[track_caller]
    pub fn says(&self, text: &str) {
        assert!(self.console.contains(text), "no \"{text}\" in {self}");
    }

    /// Asserts that standard error shows `text`.
    #[track_caller]
    pub fn complains(&self, text: &str) {
        assert!(self.errors.contains(text), "no \"{text}\" in {self}");
    }

    /// What the one line of the console that begins with `start` says after
    /// it.
    #[track_caller]
    pub fn after(&self, start: &str) -> &str {
        let mut rests = self
            .console
            .lines()
            .filter_map(|line| line.strip_prefix(start));
        match (rests.next(), rests.next()) {
            (Some(rest), None) => rest.trim(),
            (found, _) => panic!("not one but {found:?}… of \"{start}\" in {self}"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "a run that ended with {}; console:", self.status)?;
        writeln!(f, "{}\nstandard error:\n{}", self.console, self.errors)
    }
}
