//! `unlock`: removes the lock of a site whose owner is gone.

use super::session::{Session, runtime};
use super::{Context, Error};
use crate::compose::lock::{self, Holder};

pub use crate::compose::lock::Owner;

/// Who holds the lock of a site, if somebody does; for the question that is asked.
///
/// # Errors
/// The tree has errors, or Proxmox cannot be asked.
pub fn holder(context: &Context, lab: bool) -> Result<Option<Owner>, Error> {
    let session = Session::open(context, lab)?;
    runtime()?.block_on(lock::owner(&session.crew.proxmox, &session.crew.site_key))
}

/// Removes the lock of the owner that was asked about; false when there is none any more.
///
/// # Errors
/// Its owner is a process of this host that is alive or another by now, or Proxmox cannot be
/// asked.
pub fn unlock(context: &Context, lab: bool, asked: &Owner) -> Result<bool, Error> {
    let session = Session::open(context, lab)?;
    let this = Holder::this("unlock", &context.variables);
    runtime()?.block_on(lock::unlock(&session.crew.proxmox, &session.crew.site_key, &this, asked))
}
