//! Pools that end as they should.

use super::until;
use crate::api::{Pool, Pools};
use crate::error::Result;
use crate::id::VmId;
use crate::plan::pool::{PoolChange, PoolState, diff};

const OPERATION: &str = "change a pool";

impl Pools<'_> {
    /// Gets a pool to be there with what is written on it and with these machines in it, and gives
    /// what was done. Other machines stay in it; one that is in another pool moves.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call);
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) where it does not stay so, as with the
    /// number of a machine that is not there.
    pub async fn ensure(&self, desired: &PoolState) -> Result<Vec<PoolChange>> {
        until::done(
            OPERATION,
            || {
                Box::pin(async move {
                    let observed = self.get(&desired.id).await?.map(state);
                    Ok((diff(desired, observed.as_ref()), ()))
                })
            },
            |change, ()| Box::pin(self.change(change)),
        )
        .await
    }

    async fn change(&self, change: PoolChange) -> Result<()> {
        match &change {
            PoolChange::Create { id, comment } => self.create(id, comment).await,
            PoolChange::Comment { id, after, .. } => self.set_comment(id, after).await,
            PoolChange::Add { id, machines } => self.add(id, machines).await,
        }
    }

    /// Removes a pool that is empty, and gives whether it was there.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call); where something is in it, the server says what.
    pub async fn ensure_absent(&self, id: &str) -> Result<bool> {
        until::gone(
            || Box::pin(async move { Ok(self.get(id).await?.is_some()) }),
            || Box::pin(self.delete(id)),
        )
        .await
    }
}

fn state(pool: Pool) -> PoolState {
    let ids = pool.members.iter().filter_map(|member| u32::try_from(member.vmid?).ok());
    let machines = ids.filter_map(|id| VmId::try_from(id).ok()).collect();
    PoolState { id: pool.poolid, comment: pool.comment.unwrap_or_default(), machines }
}
