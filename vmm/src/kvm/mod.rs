//! KVM: the machine it makes, and the descriptors that connect devices to it
//! without exits to this process.

pub(crate) mod machine;
pub(crate) mod messages;
pub(crate) mod routes;
pub(crate) mod stats;
