//! What a program does to its own process while it serves a guest's console:
//! `plinth-vmm` and `plinth vm console` do. The rest of this library does not
//! use it: what is set here is global to a process.

pub mod descriptors;
pub mod terminal;
pub mod termination;
