//! One probe's verdict.

use std::fmt;

use serde::Serialize;

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Fully usable.
    Ok,
    /// Usable in part, or not by everybody.
    Warn,
    /// Not usable.
    Missing,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Missing => "missing",
        })
    }
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was probed.
    pub name: &'static str,
    /// The verdict.
    pub level: Level,
    /// What was seen, and what it means for guests.
    pub detail: String,
    /// What to do about it, where something can be done.
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Level::Ok, detail.into(), None)
    }

    /// Usable with limits.
    pub fn warn(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(name, Level::Warn, detail.into(), Some(remedy.into()))
    }

    /// Not usable.
    pub fn missing(
        name: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(name, Level::Missing, detail.into(), Some(remedy.into()))
    }

    fn new(name: &'static str, level: Level, detail: String, remedy: Option<String>) -> Self {
        Self {
            name,
            level,
            detail,
            remedy,
        }
    }
}

impl fmt::Display for Finding {
    /// A line, and another for the remedy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {:<12} {}", self.level, self.name, self.detail)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n{:<21} try: {remedy}", ""),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_a_line_with_its_remedy_below() {
        let finding = Finding::missing("tap", "there is none", "making one");
        assert_eq!(
            finding.to_string(),
            "missing  tap          there is none\n                      try: making one"
        );
        assert_eq!(
            Finding::ok("kvm", "usable").to_string(),
            "ok       kvm          usable"
        );
    }
}
