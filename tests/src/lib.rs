//! Tests that boot real guests under real KVM.
