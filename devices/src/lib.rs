//! Device models for a virtual machine: buses, platform devices, virtio transports, block, net and rng.
