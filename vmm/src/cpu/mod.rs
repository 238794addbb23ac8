//! vCPUs: what the guest is told of them ([`cpuid`]), how they are made
//! ([`create`], [`registers`]), how they run ([`vcpu`], [`vcpus`]), why they stop ([`exit`],
//! [`crash`]) and how they are made to ([`kick`], [`gate`]).

pub(crate) mod cpuid;
pub(crate) mod crash;
pub(crate) mod create;
pub(crate) mod exit;
pub(crate) mod gate;
pub(crate) mod kick;
pub(crate) mod registers;
pub(crate) mod thread_clock;
pub(crate) mod vcpu;
pub(crate) mod vcpus;
