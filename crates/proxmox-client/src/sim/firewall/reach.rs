//! Whether the firewall of a node lets a caller in to the API.
//!
//! Rules are read as far as they say from where, by which protocol and to which port. One that asks
//! for more (an interface, a macro, a destination) is passed over: whether it holds is not known
//! here.

use std::net::IpAddr;

use super::{Conf, Firewall, IpSet, Rule, address};

/// The port of the API.
const PORT: u16 = 8006;

/// Keys of what is not known here.
const UNKNOWN: [&str; 5] = ["iface", "macro", "dest", "sport", "icmp-type"];

/// Whether a new connection of a caller comes through: rules of the node, then of the cluster, then
/// what is let in without a rule, then the policy. Callers in the network of the nodes, which are
/// let in always, are not asked for.
pub(crate) fn lets_in(firewall: &Firewall, node: &str, caller: IpAddr) -> bool {
    let cluster = &firewall.cluster;
    let is_off = |conf: &Conf, unset| conf.options.get("enable").map_or(unset, |text| text == "0");
    let node = firewall.nodes.get(node);
    if is_off(cluster, true) || node.is_some_and(|node| is_off(node, false)) {
        return true;
    }
    let of_node = node.and_then(|node| verdict(cluster, &node.rules, caller));
    if let Some(verdict) = of_node.or_else(|| verdict(cluster, &cluster.rules, caller)) {
        return verdict;
    }
    let managers = cluster.ipsets.get("management");
    managers.is_some_and(|set| is_in_set(cluster, set, caller))
        || cluster.options.get("policy_in").is_some_and(|policy| policy == "ACCEPT")
}

/// What the first rule that holds says.
fn verdict(cluster: &Conf, rules: &[Rule], caller: IpAddr) -> Option<bool> {
    let mut on = rules.iter().filter(|rule| rule.get("enable").is_some_and(|flag| flag == "1"));
    on.find_map(|rule| {
        let text = |key: &str| rule.get(key).map(String::as_str).unwrap_or_default();
        match text("type") {
            "group" if !rule.contains_key("iface") => {
                verdict(cluster, &cluster.groups.get(text("action"))?.rules, caller)
            }
            "in" => holds(cluster, rule, caller).then(|| text("action") == "ACCEPT"),
            _ => None,
        }
    })
}

fn holds(cluster: &Conf, rule: &Rule, caller: IpAddr) -> bool {
    let get = |key: &str| rule.get(key).map(String::as_str);
    UNKNOWN.iter().all(|key| !rule.contains_key(*key))
        && get("proto").is_none_or(|text| matches!(text, "tcp" | "6"))
        && get("dport").is_none_or(|list| list.split(',').any(is_port))
        && get("source").is_none_or(|text| is_from(cluster, text, caller))
}

fn is_port(text: &str) -> bool {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
        (Ok(first), Ok(last)) => (first..=last).contains(&PORT),
        _ => false,
    }
}

fn is_from(cluster: &Conf, text: &str, caller: IpAddr) -> bool {
    if let Some(name) = text.strip_prefix('+') {
        let name = name.strip_prefix("dc/").unwrap_or(name).to_ascii_lowercase();
        return cluster.ipsets.get(&name).is_some_and(|set| is_in_set(cluster, set, caller));
    }
    text.split(',').any(|part| {
        span(cluster, part.trim()).is_some_and(|(first, last)| (first..=last).contains(&caller))
    })
}

/// The narrowest entry that the caller is in decides.
fn is_in_set(cluster: &Conf, set: &IpSet, caller: IpAddr) -> bool {
    let spans = set.entries.iter().filter_map(|(text, entry)| Some((span(cluster, text)?, entry)));
    let around = spans.filter(|((first, last), _)| (first..=last).contains(&&caller));
    around
        .max_by(|((one, end), _), ((other, other_end), _)| (one, other_end).cmp(&(other, end)))
        .is_some_and(|(_, entry)| !entry.nomatch)
}

/// First and last address of an address, a network, a range or an alias.
fn span(cluster: &Conf, text: &str) -> Option<(IpAddr, IpAddr)> {
    let text = match address::alias(text) {
        Some(("guest/", _)) => return None,
        Some((_, name)) => cluster.aliases.get(&name.to_ascii_lowercase())?.cidr.as_str(),
        None => text,
    };
    address::range(&address::normal(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Alias, Entry, Group};
    use super::*;

    fn rule(text: &str) -> Rule {
        let keys = text.split(' ').filter_map(|pair| pair.split_once('='));
        let mut rule: Rule = keys.map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        rule.entry("type".to_owned()).or_insert_with(|| "in".to_owned());
        rule.entry("enable".to_owned()).or_insert_with(|| "1".to_owned());
        rule
    }

    fn firewall(of_node: &[&str], of_cluster: &[&str]) -> Firewall {
        let mut firewall = Firewall::default();
        let cluster = &mut firewall.cluster;
        cluster.options.insert("enable".to_owned(), "1".to_owned());
        cluster.rules = of_cluster.iter().map(|text| rule(text)).collect();
        let entry = |nomatch| Entry { nomatch, comment: None };
        let entries = [("192.0.2.0/24", false), ("192.0.2.8/29", true), ("192.0.2.9", false)];
        let entries = entries.map(|(net, nomatch)| (net.to_owned(), entry(nomatch)));
        let set = IpSet { comment: None, entries: entries.into() };
        cluster.ipsets.insert("office".to_owned(), set);
        let (name, cidr) = ("Home".to_owned(), "192.0.2.7/24".to_owned());
        cluster.aliases.insert("home".to_owned(), Alias { name, cidr, comment: None });
        let rules = vec![rule("action=ACCEPT proto=tcp dport=8006")];
        cluster.groups.insert("api".to_owned(), Group { comment: None, rules });
        let rules = of_node.iter().map(|text| rule(text)).collect();
        firewall.nodes.insert("a".to_owned(), Conf { rules, ..Conf::default() });
        firewall
    }

    #[test]
    fn rules_decide_who_comes_in() {
        for (of_node, of_cluster, caller, comes_in) in [
            (&[][..], &[][..], "192.0.2.7", false),
            (&[], &["action=ACCEPT"], "192.0.2.7", true),
            (&[], &["action=ACCEPT enable=0"], "192.0.2.7", false),
            (&[], &["action=ACCEPT type=out"], "192.0.2.7", false),
            (&[], &["action=ACCEPT proto=udp dport=8006"], "192.0.2.7", false),
            (&[], &["action=ACCEPT proto=tcp dport=22,8000:8010"], "192.0.2.7", true),
            (&[], &["action=ACCEPT proto=tcp dport=22"], "192.0.2.7", false),
            (&[], &["action=ACCEPT iface=vmbr0"], "192.0.2.7", false),
            (&[], &["action=ACCEPT macro=SSH"], "192.0.2.7", false),
            (&[], &["action=ACCEPT source=192.0.2.0/24"], "192.0.2.7", true),
            (&[], &["action=ACCEPT source=192.0.2.0/24"], "192.0.3.7", false),
            (&[], &["action=ACCEPT source=192.0.2.1-192.0.2.7"], "192.0.2.7", true),
            (&[], &["action=ACCEPT source=fd00::/8"], "fd00::7", true),
            (&[], &["action=ACCEPT source=dc/Home"], "192.0.2.200", true),
            (&[], &["action=ACCEPT source=+dc/office"], "192.0.2.7", true),
            (&[], &["action=ACCEPT source=+office"], "192.0.2.10", false),
            (&[], &["action=ACCEPT source=+office"], "192.0.2.9", true),
            (&[], &["type=group action=api"], "192.0.2.7", true),
            (&[], &["type=group action=none"], "192.0.2.7", false),
            (&["action=DROP"], &["action=ACCEPT"], "192.0.2.7", false),
            (&["action=ACCEPT"], &["action=DROP"], "192.0.2.7", true),
        ] {
            let firewall = firewall(of_node, of_cluster);
            let told = lets_in(&firewall, "a", caller.parse().unwrap());
            assert_eq!(told, comes_in, "{caller} by {of_node:?} and {of_cluster:?}");
        }
    }

    #[test]
    fn options_decide_where_no_rule_does() {
        let caller = "192.0.2.7".parse().unwrap();
        let with = |change: fn(&mut Firewall)| {
            let mut firewall = firewall(&[], &[]);
            change(&mut firewall);
            lets_in(&firewall, "a", caller)
        };
        assert!(!with(|_| {}));
        assert!(with(|all| drop(all.cluster.options.insert("enable".into(), "0".into()))));
        assert!(with(|all| drop(all.cluster.options.remove("enable"))));
        assert!(with(|all| drop(all.cluster.options.insert("policy_in".into(), "ACCEPT".into()))));
        assert!(with(|all| {
            let node = all.nodes.entry("a".into()).or_default();
            node.options.insert("enable".into(), "0".into());
        }));
        assert!(with(|all| {
            let office = all.cluster.ipsets["office"].clone();
            all.cluster.ipsets.insert("management".into(), office);
        }));
    }
}
