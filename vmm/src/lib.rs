//! An embeddable KVM virtual machine monitor.
