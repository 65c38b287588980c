//! Firewall configuration of a simulated cluster: what its files hold and what a rule must be.

pub(crate) mod address;
pub(crate) mod macros;
pub(crate) mod names;
pub(crate) mod port;
mod reach;
pub(crate) mod verify;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::digest;

/// A rule: `type`, `action`, `enable` and the other keys of the API as text.
pub(crate) type Rule = BTreeMap<String, String>;

/// How long a provisional `enable` of the cluster holds, in seconds.
const PROVISIONAL: u64 = 60;

/// Where a configuration belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Cluster,
    Node(String),
    Vm(u32),
    Vnet(String),
}

/// All configurations.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Firewall {
    pub(crate) cluster: Conf,
    pub(crate) nodes: BTreeMap<String, Conf>,
    pub(crate) vms: BTreeMap<u32, Conf>,
    pub(crate) vnets: BTreeMap<String, Conf>,
    /// When that of the cluster was switched on, in milliseconds since 1970.
    #[serde(default)]
    pub(crate) on_since_ms: u64,
}

/// One configuration file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Conf {
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) rules: Vec<Rule>,
    /// Security groups, of the cluster only.
    pub(crate) groups: BTreeMap<String, Group>,
    /// Aliases by their name in lower case.
    pub(crate) aliases: BTreeMap<String, Alias>,
    pub(crate) ipsets: BTreeMap<String, IpSet>,
}

/// A security group.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) comment: Option<String>,
    pub(crate) rules: Vec<Rule>,
}

/// A name for an address or a network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Alias {
    pub(crate) name: String,
    pub(crate) cidr: String,
    pub(crate) comment: Option<String>,
}

/// A set of addresses; the file keeps its entries sorted by their text.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct IpSet {
    pub(crate) comment: Option<String>,
    pub(crate) entries: BTreeMap<String, Entry>,
}

/// An entry of a set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) nomatch: bool,
    pub(crate) comment: Option<String>,
}

impl Firewall {
    /// The configuration of a place, when it has one.
    pub(crate) fn get(&self, place: &Place) -> Option<&Conf> {
        match place {
            Place::Cluster => Some(&self.cluster),
            Place::Node(name) => self.nodes.get(name),
            Place::Vm(vmid) => self.vms.get(vmid),
            Place::Vnet(name) => self.vnets.get(name),
        }
    }

    /// The configuration of a place for a change.
    pub(crate) fn get_mut(&mut self, place: &Place) -> &mut Conf {
        match place {
            Place::Cluster => &mut self.cluster,
            Place::Node(name) => self.nodes.entry(name.clone()).or_default(),
            Place::Vm(vmid) => self.vms.entry(*vmid).or_default(),
            Place::Vnet(name) => self.vnets.entry(name.clone()).or_default(),
        }
    }

    /// Whether that of the cluster is switched on.
    pub(crate) fn is_on(&self) -> bool {
        self.cluster.options.get("enable").is_some_and(|text| text != "0")
    }

    /// Whether a new connection of a caller comes through to the API of a node. Nodes put it into
    /// force some time after it was switched on.
    pub(crate) fn lets_in(&self, node: &str, caller: IpAddr, now_ms: u64, lag_ms: u64) -> bool {
        let in_force = self.is_on() && now_ms >= self.on_since_ms.saturating_add(lag_ms);
        !in_force || reach::lets_in(self, node, caller)
    }

    /// Ends a provisional `enable` of the cluster whose time is over.
    pub(crate) fn settle(&mut self, now: u64) {
        let since = self.cluster.options.get("enable").and_then(|text| text.parse::<u64>().ok());
        if since.is_some_and(|since| since > 1 && now.saturating_sub(since) > PROVISIONAL) {
            self.cluster.options.insert("enable".to_owned(), "0".to_owned());
        }
    }
}

impl Conf {
    /// A configuration without anything in it.
    pub(crate) const fn new() -> Self {
        Self {
            options: BTreeMap::new(),
            rules: Vec::new(),
            groups: BTreeMap::new(),
            aliases: BTreeMap::new(),
            ipsets: BTreeMap::new(),
        }
    }
}

impl Alias {
    /// 4 or 6.
    pub(crate) fn family(&self) -> u8 {
        if self.cidr.contains(':') { 6 } else { 4 }
    }
}

/// A comment as the file gives it back: one line, trimmed; `None` when nothing is left.
pub(crate) fn comment(text: &str) -> Option<String> {
    let line = text.lines().next().unwrap_or_default().trim();
    (!line.is_empty() && line != "0").then(|| line.to_owned())
}

/// Digest over lists and objects: `key:value` lines, keys sorted.
pub(crate) fn digest_of<'a>(
    objects: impl Iterator<Item = Vec<(&'a str, std::borrow::Cow<'a, str>)>>,
) -> String {
    let mut text = String::new();
    for mut fields in objects {
        fields.sort_unstable();
        for (key, value) in fields {
            text.extend([key, ":", value.as_ref(), "\n"]);
        }
    }
    digest::sha1(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provisional_enable_ends_after_a_minute() {
        let mut firewall = Firewall::default();
        firewall.cluster.options.insert("enable".to_owned(), "1000".to_owned());
        firewall.settle(1060);
        assert_eq!(firewall.cluster.options["enable"], "1000");
        firewall.settle(1061);
        assert_eq!(firewall.cluster.options["enable"], "0");
        firewall.cluster.options.insert("enable".to_owned(), "1".to_owned());
        firewall.settle(9_999);
        assert_eq!(firewall.cluster.options["enable"], "1");
    }

    #[test]
    fn comments_are_one_trimmed_line() {
        assert_eq!(comment("  a b \nIN DROP"), Some("a b".to_owned()));
        assert_eq!(comment(" \t"), None);
    }
}
