//! An outer machine: real, nested KVM on any x86_64 Linux host.
//!
//! QEMU's emulator has AMD's SVM, so that a stock Debian kernel booted in it
//! has a complete KVM of its own. [`OuterMachine`] boots one whose root is
//! the host's own file system and runs commands in it; [`Deterministic`] runs
//! one command in a machine whose time is counted in instructions.
//!
//! A missing exit status is always an error, never a pass.

pub mod child;
mod command;
mod config;
mod deterministic;
mod dice;
mod emulator;
mod error;
mod initramfs;
mod kvm;
mod line;
mod machine;
mod nbd;
mod output;
mod power;
mod remote;
mod tsc;
mod volatile_disk;
mod warm;

pub use command::{Command, Input};
pub use config::OuterConfig;
pub use deterministic::{Deterministic, Finished};
pub use dice::Dice;
pub use error::{Error, ErrorKind, Result};
pub use kvm::{KvmUse, usable_kvm};
pub use machine::OuterMachine;
pub use output::{Captured, Inherited, Output};
pub use power::{Cut, PoweredDisk};
pub use remote::{RemoteMachine, serve};
pub use warm::WarmMachine;
