//! Why the kernel's network could not be read or changed.

use std::error::Error;
use std::io;

use rustix::io::Errno;

/// What went wrong. `task` says where and what was to be done, for instance
/// `network namespace red: bridge br0 cannot be made`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A capability is missing.
    #[error(
        "{task}: this takes the capabilities CAP_NET_ADMIN and CAP_SYS_ADMIN; run plinth as root"
    )]
    NoPrivilege {
        /// What was to be done.
        task: String,
    },
    /// The kernel was built without something, or its module cannot be loaded.
    #[error(
        "{task}: this host's kernel has no {feature}; \
         `modprobe {feature}` as root loads it, if the kernel comes with it"
    )]
    NoSupport {
        /// What was to be done.
        task: String,
        /// What is missing, by the name of its module.
        feature: String,
    },
    /// There is one already, and it is another.
    #[error("{task}: there is {there} already")]
    Taken {
        /// What was to be done.
        task: String,
        /// What is there.
        there: String,
    },
    /// What was to be changed does not exist, or not any more.
    #[error("{task}: it is not there")]
    Gone {
        /// What was to be done.
        task: String,
    },
    /// No interface or namespace can have this name.
    #[error("{name:?} cannot be the name of {what}: {rule}")]
    BadName {
        /// What was asked for.
        name: String,
        /// What was to have it.
        what: &'static str,
        /// What names are allowed.
        rule: &'static str,
    },
    /// The program that nftables are changed with is not installed.
    #[error("{task}: there is no program nft; install the package nftables")]
    NoNft {
        /// What was to be done.
        task: String,
    },
    /// `nft` refused a ruleset; nothing of it is in force.
    #[error("{task}: nft refused: {says}")]
    Refused {
        /// What was to be done.
        task: String,
        /// Its own message, shortened.
        says: String,
    },
    /// Anything else.
    #[error("{task}")]
    Other {
        /// What was to be done.
        task: String,
        /// Why it was not.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// A request that the kernel refused, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", io::Error::from(*errno), said(says))]
pub(super) struct Refusal {
    pub(super) errno: Errno,
    /// The text of netlink's extended acknowledgement, if there was one.
    pub(super) says: Option<String>,
}

fn said(says: &Option<String>) -> String {
    match says {
        Some(says) => format!(": the kernel says {says:?}"),
        None => String::new(),
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, says: None }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None => Self {
                errno: Errno::IO,
                says: Some(error.to_string()),
            },
        }
    }
}

impl Refusal {
    /// The error of whoever was at `task`.
    pub(super) fn at(self, task: String) -> KernelError {
        match self.errno {
            Errno::PERM | Errno::ACCESS => KernelError::NoPrivilege { task },
            Errno::NODEV => KernelError::Gone { task },
            _ => KernelError::Other {
                task,
                source: self.into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_done_about_a_refusal_is_said() {
        let at = |errno: Errno| Refusal::from(errno).at("red cannot be made".into());
        let missing = at(Errno::PERM).to_string();
        assert!(missing.contains("red cannot be made"), "{missing}");
        assert!(missing.contains("CAP_NET_ADMIN"), "{missing}");
        assert!(missing.contains("run plinth as root"), "{missing}");
        assert!(matches!(at(Errno::NODEV), KernelError::Gone { .. }));
        assert!(matches!(at(Errno::INVAL), KernelError::Other { .. }));
    }

    #[test]
    fn the_kernels_own_words_are_kept() {
        let refusal = Refusal {
            errno: Errno::INVAL,
            says: Some("Invalid \x1b prefix".into()),
        };
        let reason = refusal.at("a route".into());
        let reason = reason.source().unwrap().to_string();
        assert!(reason.contains("Invalid argument"), "{reason}");
        assert!(reason.contains("Invalid \\u{1b} prefix"), "{reason}");
    }
}
