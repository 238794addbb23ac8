//! Recipes for guest kernels, initramfs and root disks.
