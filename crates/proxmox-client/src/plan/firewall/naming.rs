//! What rules and sets name. The server removes an alias, a set or a security group that is named,
//! and a rule that names what is not there is not in force any more.

use std::fmt;

use super::rules::Rule;

/// Something of a firewall that rules name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'n> {
    /// A name for an address or a network; sets name it too.
    Alias(&'n str),
    /// A set of addresses.
    Set(&'n str),
    /// A security group.
    Group(&'n str),
}

/// Whose alias or set is meant where a name is written with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Of the cluster.
    Cluster,
    /// Of a machine or a container.
    Guest,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alias(name) => write!(f, "alias {name}"),
            Self::Set(name) => write!(f, "set {name}"),
            Self::Group(name) => write!(f, "security group {name}"),
        }
    }
}

impl Named<'_> {
    /// Whether a rule names it, in force or not. A name that is written without its level counts
    /// as of either: which one the server takes depends on what else is there.
    pub(crate) fn is_in_rule(self, rule: &Rule, scope: Scope) -> bool {
        if let Self::Group(name) = self {
            let is =
                |key, text: &str| rule.get(key).is_some_and(|one| one.eq_ignore_ascii_case(text));
            return is("type", "group") && is("action", name);
        }
        let addresses = ["source", "dest"].into_iter().filter_map(|key| rule.get(key));
        addresses.flat_map(|list| list.split(',')).any(|text| self.is_text(text, scope))
    }

    /// Whether firewalls use it by its name alone, without a rule: who manages the cluster and who
    /// is never let in, the network of the nodes, and the addresses that a card of a machine may
    /// send from.
    pub(crate) fn is_used_by_name(self, scope: Scope) -> bool {
        let is = |name: &str, known: &str| name.eq_ignore_ascii_case(known);
        match (self, scope) {
            (Self::Set(name), Scope::Cluster) => is(name, "management") || is(name, "blacklist"),
            (Self::Alias(name), Scope::Cluster) => is(name, "local_network"),
            (Self::Set(name), Scope::Guest) => {
                let name = name.to_ascii_lowercase();
                let card = name.strip_prefix("ipfilter-net");
                card.is_some_and(|number| number.parse::<u8>().is_ok())
            }
            _ => false,
        }
    }

    /// Whether an entry of a set names it.
    pub(crate) fn is_in_entry(self, cidr: &str, scope: Scope) -> bool {
        matches!(self, Self::Alias(_)) && self.is_text(cidr, scope)
    }

    fn is_text(self, text: &str, scope: Scope) -> bool {
        let text = text.trim();
        let (text, name) = match self {
            Self::Alias(name) => (text, name),
            Self::Set(name) => match text.strip_prefix('+') {
                Some(text) => (text, name),
                None => return false,
            },
            Self::Group(_) => return false,
        };
        let level = match scope {
            Scope::Cluster => "dc",
            Scope::Guest => "guest",
        };
        match text.split_once('/') {
            Some((of, text)) => of == level && text.eq_ignore_ascii_case(name),
            None => text.eq_ignore_ascii_case(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_names_need_no_rule() {
        let (cluster, guest) = (Scope::Cluster, Scope::Guest);
        for (what, scope, used) in [
            (Named::Set("management"), cluster, true),
            (Named::Set("Blacklist"), cluster, true),
            (Named::Set("managements"), cluster, false),
            (Named::Set("local_network"), cluster, false),
            (Named::Set("ipfilter-net0"), cluster, false),
            (Named::Alias("local_network"), cluster, true),
            (Named::Alias("management"), cluster, false),
            (Named::Group("management"), cluster, false),
            (Named::Set("management"), guest, false),
            (Named::Set("ipfilter-net31"), guest, true),
            (Named::Set("ipfilter-net"), guest, false),
            (Named::Set("ipfilter-office"), guest, false),
            (Named::Alias("local_network"), guest, false),
        ] {
            assert_eq!(what.is_used_by_name(scope), used, "{what} of {scope:?}");
        }
    }

    #[test]
    fn names_are_found_in_rules() {
        let from = |text: &str| Rule::new("in", "ACCEPT").with("source", text);
        let to = |text: &str| Rule::new("in", "ACCEPT").with("dest", text);
        let (alias, set, group) =
            (Named::Alias("office"), Named::Set("office"), Named::Group("web"));
        let (cluster, guest) = (Scope::Cluster, Scope::Guest);
        for (what, rule, scope, named) in [
            (alias, from("office"), cluster, true),
            (alias, to("dc/Office"), cluster, true),
            (alias, from("guest/office"), cluster, false),
            (alias, from("guest/office"), guest, true),
            (alias, from("10.0.0.1, dc/office"), cluster, true),
            (alias, from("+office"), cluster, false),
            (alias, from("10.0.0.0/8"), cluster, false),
            (alias, Rule::new("group", "office"), cluster, false),
            (set, from("+office"), guest, true),
            (set, to("+dc/OFFICE"), cluster, true),
            (set, to("+dc/office"), guest, false),
            (set, from("office"), cluster, false),
            (group, Rule::new("group", "web").with("enable", "0"), cluster, true),
            (group, Rule::new("group", "webs"), cluster, false),
            (group, Rule::new("in", "web"), cluster, false),
        ] {
            assert_eq!(what.is_in_rule(&rule, scope), named, "{what} of {scope:?} in {rule:?}");
        }
        assert!(alias.is_in_entry("dc/office", cluster) && !set.is_in_entry("+office", cluster));
    }
}
