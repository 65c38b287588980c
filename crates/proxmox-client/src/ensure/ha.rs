//! High availability that ends as it should.

use super::until;
use crate::api::{Ha, HaRow};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::ha::{HaChange, HaKind, HaState, diff};

const OPERATION: &str = "change high availability";

impl Ha<'_> {
    /// Gets an entry to be there with these keys, and gives what was done. The manager acts on it
    /// some seconds later.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call); [`ErrorKind::Invalid`] where a rule of another
    /// type has the name; [`ErrorKind::NotFound`] for a resource whose machine is not there.
    pub async fn ensure(&self, desired: &HaState) -> Result<Vec<HaChange>> {
        until::done(
            OPERATION,
            || {
                Box::pin(async move {
                    let found = self.get(desired.kind, &desired.name).await?;
                    if let Some(found) = &found {
                        same_type(desired, found)?;
                    }
                    Ok((diff(desired, found.as_ref()).into_iter().collect(), found))
                })
            },
            |change, found| Box::pin(self.change(change, found)),
        )
        .await
    }

    /// Removes an entry, and gives whether it was there. The machine of a resource stays as it is;
    /// from 9.0 on the rules lose it too.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn ensure_absent(&self, kind: HaKind, name: &str) -> Result<bool> {
        until::gone(
            || Box::pin(async move { Ok(self.get(kind, name).await?.is_some()) }),
            || Box::pin(self.delete(kind, name)),
        )
        .await
    }

    async fn change(&self, change: HaChange, found: Option<HaRow>) -> Result<()> {
        match &change {
            HaChange::Create { entry } => {
                // A key that is to be absent is not sent, and one of a rule that is in force is
                // absent.
                let is_sent =
                    |key: &str, text: &str| !text.is_empty() && (key, text) != ("disable", "0");
                let keys = entry.keys.iter().map(|(key, text)| (key.as_str(), text.as_str()));
                let keys: Vec<_> = keys.filter(|(key, text)| is_sent(key, text)).collect();
                self.create(entry.kind, &entry.name, &keys).await
            }
            HaChange::Set { kind, name, keys } => {
                let set = keys
                    .iter()
                    .filter_map(|(key, _, after)| Some((key.as_str(), after.as_deref()?)));
                let mut all: Vec<(&str, &str)> = set.collect();
                let gone = keys.iter().filter(|(_, _, after)| after.is_none());
                let gone: Vec<&str> = gone.map(|(key, _, _)| key.as_str()).collect();
                let gone = gone.join(",");
                if !gone.is_empty() {
                    all.push(("delete", &gone));
                }
                if *kind == HaKind::Rule {
                    let found = found.as_ref().and_then(|found| found.get("type"));
                    all.extend(found.map(|text| ("type", text.as_str())));
                }
                self.update(*kind, name, &all).await
            }
        }
    }
}

/// The type of a rule cannot be changed.
fn same_type(desired: &HaState, found: &HaRow) -> Result<()> {
    let (wanted, found) = (desired.keys.get("type"), found.get("type"));
    match (wanted, found) {
        (Some(wanted), Some(found)) if wanted != found => {
            let text = format!(
                "{} {} is there as {found}, not {wanted}: remove it first",
                desired.kind, desired.name
            );
            Err(Error::new(ErrorKind::Invalid, OPERATION, text))
        }
        _ => Ok(()),
    }
}
