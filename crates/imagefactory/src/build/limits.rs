//! How much is too much: beyond these an input is not what it says it is.

/// Most entries of an extension; the biggest official one has some thousand.
pub(super) const EXTENSION_ENTRIES: usize = 50_000;
/// Most unpacked bytes of a layer of an extension.
pub(super) const EXTENSION_BYTES: u64 = 4 << 30;
/// Most entries of a base image.
pub(super) const BASE_ENTRIES: usize = 500_000;
/// Most unpacked bytes of a layer of a base image.
pub(super) const BASE_BYTES: u64 = 16 << 30;
/// Most bytes of a small file of a base image: a boot loader, a module of GRUB.
pub(super) const SMALL: u64 = 16 << 20;
