//! Names for devices that end as they should.

use super::until;
use crate::api::{DeviceMapping, Mappings};
use crate::error::Result;
use crate::plan::mapping::{MappingChange, MappingState, diff};

const OPERATION: &str = "change a name for devices";

impl Mappings<'_> {
    /// Gets a name to stand for these devices and no others, and gives what was done.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call);
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) where somebody else keeps changing it.
    pub async fn ensure(&self, desired: &MappingState) -> Result<Vec<MappingChange>> {
        until::done(
            OPERATION,
            || {
                Box::pin(async move {
                    let found = self.get(&desired.id).await?;
                    let observed = found.as_ref().map(state);
                    Ok((diff(desired, observed.as_ref()).into_iter().collect(), found))
                })
            },
            |change, found| Box::pin(self.change(change, found)),
        )
        .await
    }

    /// Removes a name, and gives whether it was there. Machines that use it do not start any more.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn ensure_absent(&self, id: &str) -> Result<bool> {
        until::gone(
            || Box::pin(async move { Ok(self.get(id).await?.is_some()) }),
            || Box::pin(self.delete(id)),
        )
        .await
    }

    async fn change(&self, change: MappingChange, found: Option<DeviceMapping>) -> Result<()> {
        match &change {
            MappingChange::Create { mapping } => {
                let mut keys = flags(mapping);
                if !mapping.description.is_empty() {
                    keys.push(("description", &mapping.description));
                }
                self.create_with(&mapping.id, &devices(mapping), &keys).await
            }
            MappingChange::Set { mapping, .. } => {
                // The call replaces all devices: one that somebody put in since they were read
                // would go unseen.
                let digest = found.as_ref().and_then(|found| found.digest.clone());
                let mut keys = flags(mapping);
                keys.extend(digest.as_deref().map(|digest| ("digest", digest)));
                if !mapping.description.is_empty() {
                    keys.push(("description", &mapping.description));
                } else if found.is_some_and(|found| found.description.is_some()) {
                    keys.push(("delete", "description"));
                }
                self.update(&mapping.id, &devices(mapping), &keys).await
            }
        }
    }
}

fn devices(mapping: &MappingState) -> Vec<&str> {
    mapping.map.iter().map(String::as_str).collect()
}

fn flags(mapping: &MappingState) -> Vec<(&'static str, &str)> {
    let flags = mapping.flags().into_iter();
    flags.map(|(key, flag)| (key, if flag { "1" } else { "0" })).collect()
}

fn state(found: &DeviceMapping) -> MappingState {
    MappingState {
        id: found.id.clone(),
        map: found.map.iter().cloned().collect(),
        description: found.description.clone().unwrap_or_default(),
        mdev: Some(found.mdev),
        live_migration: Some(found.live_migration),
    }
}
