//! The plinth command line and the layer above one virtual machine.

fn main() {}
