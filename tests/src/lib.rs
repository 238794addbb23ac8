//! Tests that boot real guests under real KVM; they are in `tests/tests/`.
//!
//! They need a hardware KVM or the nested one of an outer machine, and fail
//! without one. `cargo xtask test --guest NAME` runs those that match NAME.
