//! Writers of the formats that images are made of.
//!
//! Each lays its output out first, as a [`Content`], and nothing is read before that is written:
//! memory does not grow with the files inside. None looks at a clock or draws a random number.

mod content;
mod cpio;
mod fat;
mod grub;
mod gzip;
mod iso;
mod pe;
mod raw;
mod squashfs;

pub use content::{Content, ContentReader};
pub use cpio::{CpioEntry, newc};
pub use fat::{Esp, EspFile, esp};
pub use grub::{GrubFiles, eltorito_image, is_grub_file};
pub use gzip::StoredGzip;
pub use iso::{Bios, IsoEntry, IsoImage, iso};
pub use pe::{Found, Section, boot_version, sections, uki};
pub use squashfs::squashfs;
