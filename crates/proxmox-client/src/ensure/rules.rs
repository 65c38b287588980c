//! Rules of a firewall that end as they should, with one call a change.
//!
//! A change names a rule by its position, so it is bound to the digest of the list that it was made
//! for. The server gives no digest with its answer; how it makes one is known, so that of the list
//! after a change is computed instead of read. A wrong one does no harm: the server refuses the
//! next change, and the list is read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha1::{Digest as _, Sha1};

use super::{ATTEMPTS, may_work, pause};
use crate::api::{Firewall, RuleList};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::firewall::{Rule, RuleChange, apply, diff};

impl Firewall<'_> {
    /// Gets the rules to be these, in this order, and gives what was done. Every other rule of the
    /// level goes; one that is there in another spelling stays.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call); [`ErrorKind::Conflict`] where somebody else keeps
    /// changing them.
    pub async fn ensure_rules(&self, desired: &[Rule]) -> Result<Vec<RuleChange>> {
        let (mut done, mut attempt) = (Vec::new(), 0);
        loop {
            match self.try_rules(desired, &mut done).await {
                Ok(()) => return Ok(done),
                Err(error) if may_work(&error) && attempt < ATTEMPTS => {
                    attempt += 1;
                    pause(attempt, &error).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_rules(&self, desired: &[Rule], done: &mut Vec<RuleChange>) -> Result<()> {
        let mut seen = Seen::new(self.rules().await?);
        let changes = diff(&seen.rules, desired);
        if changes.is_empty() {
            return Ok(());
        }
        for change in changes {
            self.bound(&mut seen, &change).await?;
            seen.after(&change);
            done.push(change);
        }
        let left = self.rules().await?;
        if !same(&left.rules, desired) {
            return Err(conflict());
        }
        Ok(())
    }

    /// One change of the list as it is thought to be.
    async fn bound(&self, seen: &mut Seen, change: &RuleChange) -> Result<()> {
        let is_bound = !matches!(change, RuleChange::Insert { .. });
        if is_bound && seen.digest.is_none() {
            self.look(seen).await?;
        }
        let refused = match self.change_rule(change, seen.digest.as_deref()).await {
            Err(error) if error.kind() == ErrorKind::Conflict && seen.computed => error,
            other => return other,
        };
        tracing::debug!(%refused, "the digest of the rules was another one");
        self.look(seen).await?;
        self.change_rule(change, seen.digest.as_deref()).await
    }

    /// Reads the list, which must be as it was thought to be.
    async fn look(&self, seen: &mut Seen) -> Result<()> {
        let found = self.rules().await?;
        if !same(&found.rules, &seen.rules) {
            return Err(conflict());
        }
        *seen = Seen::new(found);
        Ok(())
    }
}

fn same(one: &[Rule], other: &[Rule]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.normal() == b.normal())
}

fn conflict() -> Error {
    let text = "the rules are not what the changes make of them: somebody else changes them too, or the server writes one in another way";
    Error::new(ErrorKind::Conflict, "change the firewall", text)
}

type Row = BTreeMap<String, String>;

/// The list as it was read, or as it should be after changes.
struct Seen {
    rules: Vec<Rule>,
    /// What the server makes its digest of.
    rows: Vec<Row>,
    digest: Option<String>,
    /// The digest was computed and not read.
    computed: bool,
    /// The server makes its digest as it is made here.
    known: bool,
}

impl Seen {
    fn new(list: RuleList) -> Self {
        let RuleList { rules, digest, rows } = list;
        let known = digest.as_ref().is_none_or(|digest| *digest == digest_of(&rows));
        Self { rules, rows, digest, computed: false, known }
    }

    fn after(&mut self, change: &RuleChange) {
        self.rules = apply(std::slice::from_ref(change), &self.rules);
        match change {
            RuleChange::Insert { rule } => self.rows.insert(0, row(rule, &Row::new())),
            RuleChange::Move { from, to } if *from < self.rows.len() => {
                let row = self.rows.remove(*from);
                let to = if to > from { to - 1 } else { *to };
                self.rows.insert(to.min(self.rows.len()), row);
            }
            RuleChange::Update { pos, .. } => {
                if let (Some(old), Some(rule)) = (self.rows.get_mut(*pos), self.rules.get(*pos)) {
                    *old = row(rule, old);
                }
            }
            RuleChange::Delete { pos } if *pos < self.rows.len() => drop(self.rows.remove(*pos)),
            RuleChange::Move { .. } | RuleChange::Delete { .. } => {}
        }
        self.digest = self.known.then(|| digest_of(&self.rows));
        self.computed = true;
    }
}

/// A rule as the server shows it: with the family that its addresses have.
fn row(rule: &Rule, old: &Row) -> Row {
    let mut row: Row = rule.keys().map(|(key, text)| (key.to_owned(), text.to_owned())).collect();
    // the server spells macros in its own way
    if let Some(name) = row.get_mut("macro")
        && let Some(spelled) = old.get("macro").filter(|old| old.eq_ignore_ascii_case(name))
    {
        name.clone_from(spelled);
    }
    let addresses = ["source", "dest"].into_iter().filter_map(|key| rule.get(key));
    let literal = addresses.filter(|text| text.starts_with(|c: char| c.is_ascii_hexdigit()));
    let by_address = literal.into_iter().find_map(|text| match text {
        _ if text.contains(':') => Some("6"),
        _ if text.contains('.') => Some("4"),
        _ => None,
    });
    let family = by_address.or(match rule.get("proto") {
        Some("icmp") => Some("4"),
        Some("icmpv6" | "ipv6-icmp") => Some("6"),
        _ => None,
    });
    if let Some(family) = family {
        row.insert("ipversion".to_owned(), family.to_owned());
    }
    row
}

/// SHA-1 over `key:value` lines, keys in their order.
fn digest_of(rows: &[Row]) -> String {
    let mut hash = Sha1::new();
    for (key, value) in rows.iter().flatten() {
        hash.update(format!("{key}:{value}\n"));
    }
    let mut text = String::new();
    for byte in hash.finalize() {
        // writing into a text cannot fail
        let _ = write!(text, "{byte:02x}");
    }
    text
}
