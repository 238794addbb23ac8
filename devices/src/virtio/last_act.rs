//! What is left to do about a device's backend once the device has let go of
//! it: make durable what was written, and close.
//!
//! That takes as long as the host's storage takes, for ever if it is dead. So
//! it is apart from the device: whoever severs one performs its last act on a
//! thread that nobody waits for without a limit, with no register locked.

use std::fmt;
use std::io;

type Act = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// A device's last act. Dropped instead of performed, it closes what it can
/// without making anything durable.
#[must_use = "nothing is durable before it is performed"]
pub struct LastAct(Act);

impl LastAct {
    /// The device has done everything already.
    pub fn none() -> Self {
        Self::new(|| Ok(()))
    }

    /// `act` is what is left. It returns when the backend is closed, and fails
    /// if what was written may not be durable.
    pub fn new(act: impl FnOnce() -> io::Result<()> + Send + 'static) -> Self {
        Self(Box::new(act))
    }

    /// The same, with less to hope for: `reason` is why something was lost
    /// before, whatever comes of the rest.
    pub fn in_vain<E>(self, reason: E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        Self::new(move || {
            self.perform()?;
            Err(io::Error::other(reason))
        })
    }

    /// Performs it, and waits for the host's storage as long as it takes.
    ///
    /// # Errors
    /// What was written may not be durable. The backend is closed all the same.
    pub fn perform(self) -> io::Result<()> {
        (self.0)()
    }
}

impl fmt::Debug for LastAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastAct").finish_non_exhaustive()
    }
}
