//! What clusterctl keeps on the disk, and where.

mod file;
mod layout;
mod lockfile;

pub use file::{
    FileError, Mode, copy_file, read_if_present, read_text_if_present, remove_if_present, write,
    write_new,
};
pub use layout::Layout;
pub use lockfile::{
    ClusterPin, ImagePin, LOCK_FORMAT, LedgerEntry, LockFile, LockFileError, StoredFile, ThingKind,
    is_pinned_form,
};
