//! Names of a firewall that end as they should: aliases, sets, security groups.

use super::until;
use crate::api::{Firewall, FirewallLevel};
use crate::error::Result;

impl Firewall<'_> {
    /// Gets an alias to stand for this address or network, and gives what was done. What is written
    /// on one that is there stays.
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
                    let all = self.aliases().await?;
                    let found = all.into_iter().find(|one| one.name.eq_ignore_ascii_case(name));
                    let left = match &found {
                        None => vec![format!("create alias {name}: {cidr}")],
                        Some(found) if same_address(&found.cidr, cidr) => Vec::new(),
                        Some(found) => vec![format!("alias {name}: {} -> {cidr}", found.cidr)],
                    };
                    Ok((left, found))
                })
            },
            |_, found| {
                Box::pin(async move {
                    match found {
                        None => self.create_alias(name, cidr, comment).await,
                        Some(found) => self.set_alias(name, cidr, found.comment.as_deref()).await,
                    }
                })
            },
        )
        .await
    }

    /// Removes an alias, and gives whether it was there. Rules that name it are not in force any
    /// more.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn ensure_no_alias(&self, name: &str) -> Result<bool> {
        until::gone(
            || {
                Box::pin(async move {
                    let all = self.aliases().await?;
                    Ok(all.iter().any(|one| one.name.eq_ignore_ascii_case(name)))
                })
            },
            || Box::pin(self.delete_alias(name)),
        )
        .await
    }

    /// Removes a set with what is in it, and gives whether it was there.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn ensure_no_set(&self, name: &str) -> Result<bool> {
        until::gone(
            || {
                Box::pin(async move {
                    let all = self.sets().await?;
                    Ok(all.iter().any(|one| one.name.eq_ignore_ascii_case(name)))
                })
            },
            || Box::pin(self.delete_set(name, true)),
        )
        .await
    }

    /// Gets a security group to be there, and gives whether it was not. Its rules are those of
    /// [`FirewallLevel::Group`]; what is written on one that is there stays.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn ensure_group(&self, name: &str, comment: Option<&str>) -> Result<bool> {
        let made = until::done(
            "make a security group",
            || {
                Box::pin(async move {
                    let there = self.has_group(name).await?;
                    let left = (!there).then(|| format!("create security group {name}"));
                    Ok((left.into_iter().collect(), ()))
                })
            },
            |_, ()| Box::pin(self.create_group(name, comment)),
        )
        .await?;
        Ok(!made.is_empty())
    }

    /// Removes a security group with its rules, and gives whether it was there. Where a rule names
    /// it, the server says so.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn ensure_no_group(&self, name: &str) -> Result<bool> {
        until::gone(
            || Box::pin(self.has_group(name)),
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

    async fn has_group(&self, name: &str) -> Result<bool> {
        Ok(self.groups().await?.iter().any(|one| one.name == name))
    }
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
