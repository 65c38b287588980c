//! Sets of addresses, changed in place: the set is there all the time, and what comes is there
//! before what goes is gone.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::spelling::one_comment;

/// What a set says of one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whether the network is left out of the set, although a wider one is in it.
    #[serde(default)]
    pub nomatch: bool,
    /// What is written on it.
    #[serde(default)]
    pub comment: Option<String>,
}

/// One change: one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum EntryChange {
    /// A network comes into the set.
    Add {
        /// The network.
        cidr: String,
        /// What the set says of it.
        entry: Entry,
    },
    /// Something else is said of a network.
    Update {
        /// The network.
        cidr: String,
        /// What will be said.
        entry: Entry,
    },
    /// A network goes.
    Remove {
        /// The network.
        cidr: String,
    },
}

impl fmt::Display for EntryChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { cidr, .. } => write!(f, "add {cidr}"),
            Self::Update { cidr, .. } => write!(f, "update {cidr}"),
            Self::Remove { cidr } => write!(f, "remove {cidr}"),
        }
    }
}

/// A network as the server writes it: without host bits, a single address without a length, and
/// names of aliases in lower case.
pub fn normal(text: &str) -> String {
    let text = text.trim();
    let (addr, length) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let Ok(addr) = addr.parse::<IpAddr>() else { return text.to_ascii_lowercase() };
    let width = if addr.is_ipv4() { 32 } else { 128 };
    let bits = length.map_or(Some(width), |length| length.parse().ok());
    match bits.and_then(|bits: u8| ipnet::IpNet::new(addr, bits).ok()) {
        Some(net) if net.prefix_len() == width => net.addr().to_string(),
        Some(net) => net.trunc().to_string(),
        None => text.to_owned(),
    }
}

/// What it takes: first what comes, then what changes, then what goes.
pub fn diff_set(
    desired: &BTreeMap<String, Entry>,
    observed: &BTreeMap<String, Entry>,
) -> Vec<EntryChange> {
    let plain = |entry: &Entry| Entry {
        nomatch: entry.nomatch,
        comment: entry
            .comment
            .as_deref()
            .map(one_comment)
            .filter(|text| !text.is_empty())
            .map(str::to_owned),
    };
    let wanted: BTreeMap<String, Entry> =
        desired.iter().map(|(cidr, entry)| (normal(cidr), plain(entry))).collect();
    let there: BTreeMap<String, (&String, Entry)> =
        observed.iter().map(|(cidr, entry)| (normal(cidr), (cidr, plain(entry)))).collect();
    let (mut added, mut updated) = (Vec::new(), Vec::new());
    for (cidr, entry) in &wanted {
        match there.get(cidr) {
            None => added.push(EntryChange::Add { cidr: cidr.clone(), entry: entry.clone() }),
            Some((own, old)) if old != entry => {
                updated.push(EntryChange::Update { cidr: (*own).clone(), entry: entry.clone() });
            }
            Some(_) => {}
        }
    }
    let gone = there.iter().filter(|(cidr, _)| !wanted.contains_key(*cidr));
    let removed = gone.map(|(_, (own, _))| EntryChange::Remove { cidr: (*own).clone() });
    added.into_iter().chain(updated).chain(removed).collect()
}

/// The set after the changes.
pub fn apply_set(
    changes: &[EntryChange],
    observed: &BTreeMap<String, Entry>,
) -> BTreeMap<String, Entry> {
    let mut set = observed.clone();
    for change in changes {
        match change {
            EntryChange::Add { cidr, entry } | EntryChange::Update { cidr, entry } => {
                set.insert(cidr.clone(), entry.clone());
            }
            EntryChange::Remove { cidr } => drop(set.remove(cidr)),
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_compared_as_the_server_writes_them() {
        assert_eq!(normal("10.0.0.5/24"), "10.0.0.0/24");
        assert_eq!(normal("10.0.0.5/32"), "10.0.0.5");
        assert_eq!(normal("FD00::1/128"), "fd00::1");
        assert_eq!(normal("fd00:0:0::/48"), "fd00::/48");
        assert_eq!(normal("dc/Office"), "dc/office");
    }

    #[test]
    fn comments_are_compared_as_the_server_keeps_them() {
        let set = |text: &str| {
            let entry = Entry { nomatch: false, comment: Some(text.to_owned()) };
            BTreeMap::from([("fd00::1".to_owned(), entry)])
        };
        assert_eq!(diff_set(&set(" office \nof a test"), &set("office")), []);
        assert_eq!(diff_set(&set("office"), &set("offices")).len(), 1);
    }
}
