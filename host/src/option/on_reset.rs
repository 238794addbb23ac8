//! What becomes of a machine whose guest resets itself.

use clap::ValueEnum;
use vmm::OnReset;

/// `reboot` or `stop`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnResetOption {
    /// The guest starts anew
    #[default]
    Reboot,
    /// The machine ends, as after a power-off
    Stop,
}

impl From<OnResetOption> for OnReset {
    fn from(option: OnResetOption) -> Self {
        match option {
            OnResetOption::Reboot => Self::Reboot,
            OnResetOption::Stop => Self::Stop,
        }
    }
}
