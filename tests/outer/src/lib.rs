//! An outer machine: real, nested KVM in an emulated x86_64 Linux.
