//! Names of a firewall that end as they should: aliases, sets, security groups.

use super::until;
use crate::api::{Firewall, FirewallAlias, FirewallLevel, FirewallName};
use crate::error::Result;
use crate::plan::firewall::{Named, one_comment};

impl Firewall<'_> {
    /// Gets an alias to stand for this address or network, and gives what was done. What is written
    /// on one that is there stays where no comment is given.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn ensure_alias(
        &self,
        name: &str,
        cidr: &str,
        comment: Option<&str>,
    ) -> Result<Vec<String>> {
        until::done(
            "change an alias",
            || {
                Box::pin(async move {
                    let found = self.alias(name).await?;
                    Ok((left_of_alias(name, cidr, comment, found.as_ref()), found))
                })
            },
            |_, found| {
                Box::pin(async move {
                    match found {
                        None => self.create_alias(name, cidr, comment).await,
                        Some(found) => {
                            let kept = comment.or(found.comment.as_deref());
                            self.set_alias(name, cidr, kept).await
                        }
                    }
                })
            },
        )
        .await
    }

    /// Removes an alias that no rule and no set names, and gives whether it was there: see
    /// [`Self::named_by`] for what is read, and for the name that needs no rule.
    ///
    /// # Errors
    /// As [`Self::named_by`]; [`ErrorKind::InUse`](crate::ErrorKind::InUse) where it is named.
    pub async fn ensure_no_alias(&self, name: &str) -> Result<bool> {
        until::gone(
            || {
                Box::pin(async move {
                    let there = self.alias(name).await?.is_some();
                    self.if_unnamed(there, Named::Alias(name)).await
                })
            },
            || Box::pin(self.delete_alias(name)),
        )
        .await
    }

    async fn alias(&self, name: &str) -> Result<Option<FirewallAlias>> {
        let all = self.aliases().await?;
        Ok(all.into_iter().find(|one| one.name.eq_ignore_ascii_case(name)))
    }

    /// Removes a set that no rule names, with what is in it, and gives whether it was there: see
    /// [`Self::named_by`] for what is read, and for the names that need no rule.
    ///
    /// # Errors
    /// As [`Self::named_by`]; [`ErrorKind::InUse`](crate::ErrorKind::InUse) where it is named.
    pub async fn ensure_no_set(&self, name: &str) -> Result<bool> {
        until::gone(
            || {
                Box::pin(async move {
                    let all = self.sets().await?;
                    let there = all.iter().any(|one| one.name.eq_ignore_ascii_case(name));
                    self.if_unnamed(there, Named::Set(name)).await
                })
            },
            || Box::pin(self.delete_set(name, true)),
        )
        .await
    }

    /// Gets a security group to be there, and gives what was done. Its rules are those of
    /// [`FirewallLevel::Group`]; what is written on one that is there stays where no comment is
    /// given.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn ensure_group(&self, name: &str, comment: Option<&str>) -> Result<Vec<String>> {
        until::done(
            "make a security group",
            || {
                Box::pin(async move {
                    let found = self.group(name).await?;
                    let left = match &found {
                        None => vec![format!("create security group {name}")],
                        Some(found) => recommented(comment, found.comment.as_deref())
                            .map(|text| format!("security group {name}: comment {text:?}"))
                            .into_iter()
                            .collect(),
                    };
                    Ok((left, found.is_some()))
                })
            },
            |_, there| {
                Box::pin(async move {
                    match comment {
                        Some(text) if there => self.comment_group(name, text).await,
                        _ => self.create_group(name, comment).await,
                    }
                })
            },
        )
        .await
    }

    /// Removes a security group that no rule names, with its own rules, and gives whether it was
    /// there: see [`Self::named_by`] for what is read. The rules of one that is named stay, since a
    /// machine whose policy is to drop would lose what they let in.
    ///
    /// # Errors
    /// As [`Self::named_by`]; [`ErrorKind::InUse`](crate::ErrorKind::InUse) where it is named.
    pub async fn ensure_no_group(&self, name: &str) -> Result<bool> {
        until::gone(
            || {
                Box::pin(async move {
                    let there = self.group(name).await?.is_some();
                    let cluster = self.client.firewall(FirewallLevel::Cluster);
                    cluster.if_unnamed(there, Named::Group(name)).await
                })
            },
            || {
                Box::pin(async move {
                    let rules = self.client.firewall(FirewallLevel::Group(name.to_owned()));
                    rules.ensure_rules(&[]).await?;
                    self.delete_group(name).await
                })
            },
        )
        .await
    }

    async fn group(&self, name: &str) -> Result<Option<FirewallName>> {
        Ok(self.groups().await?.into_iter().find(|one| one.name == name))
    }

    /// Whether something is there, which must not be named then.
    async fn if_unnamed(&self, there: bool, what: Named<'_>) -> Result<bool> {
        if there {
            self.unnamed(what).await?;
        }
        Ok(there)
    }
}

/// What is left to do about an alias.
fn left_of_alias(
    name: &str,
    cidr: &str,
    comment: Option<&str>,
    found: Option<&FirewallAlias>,
) -> Vec<String> {
    let Some(found) = found else { return vec![format!("create alias {name}: {cidr}")] };
    let moved = (!same_address(&found.cidr, cidr))
        .then(|| format!("alias {name}: {} -> {cidr}", found.cidr));
    let written = recommented(comment, found.comment.as_deref())
        .filter(|_| moved.is_none())
        .map(|text| format!("alias {name}: comment {text:?}"));
    // One call does both.
    moved.or(written).into_iter().collect()
}

/// What is to be written on something on which something else is.
fn recommented<'c>(wanted: Option<&'c str>, found: Option<&str>) -> Option<&'c str> {
    wanted.filter(|text| one_comment(text) != one_comment(found.unwrap_or_default()))
}

/// Whether two texts are one address, or one address in one network: an alias keeps the host.
fn same_address(one: &str, other: &str) -> bool {
    let parse = |text: &str| {
        let whole = text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from);
        whole.or_else(|_| text.parse::<ipnet::IpNet>())
    };
    match (parse(one), parse(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_with_their_host() {
        assert!(same_address("10.0.0.1", "10.0.0.1/32"));
        assert!(same_address("fd00:0::1/64", "fd00::1/64"));
        assert!(!same_address("10.0.0.5/24", "10.0.0.0/24"));
        assert!(same_address("dc/A", "dc/a"));
    }
}
