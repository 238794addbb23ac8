//! What the outer machine's agent and the host that drives it share: the
//! protocol they speak. The agent itself is this package's binary.

pub mod protocol;
