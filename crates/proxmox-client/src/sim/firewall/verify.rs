//! What a rule must be, and how the file gives it back.

use std::collections::BTreeSet;

use super::{Alias, Conf, Rule, address, comment, macros, names, port};

/// Where a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Env {
    Cluster,
    Host,
    Vm,
    Vnet,
    Group,
}

impl Env {
    fn word(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Host => "host",
            Self::Vm => "vm",
            Self::Vnet => "vnet",
            Self::Group => "group",
        }
    }

    fn types(self) -> &'static [&'static str] {
        match self {
            Self::Cluster | Self::Host => &["in", "out", "forward", "group"],
            Self::Vm => &["in", "out", "group"],
            Self::Vnet => &["forward", "group"],
            Self::Group => &["in", "out", "forward"],
        }
    }

    fn has_interfaces(self) -> bool {
        !matches!(self, Self::Vnet | Self::Group)
    }
}

/// What the names in a rule can refer to.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) env: Env,
    pub(crate) cluster: &'a Conf,
    /// The configuration of the rule, when it is not the cluster's.
    pub(crate) local: Option<&'a Conf>,
    /// Names of the sets that SDN makes.
    pub(crate) sdn: &'a BTreeSet<String>,
}

impl<'a> Scope<'a> {
    /// The alias that a name with its scope stands for.
    pub(crate) fn alias(&self, scope: &str, name: &str) -> Option<&'a Alias> {
        let name = name.to_ascii_lowercase();
        let local = self.local.filter(|_| scope != "dc/").and_then(|conf| conf.aliases.get(&name));
        local.or_else(|| self.cluster.aliases.get(&name).filter(|_| scope != "guest/"))
    }

    /// Whether any scope has an alias of this name.
    fn any_alias(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let has = |conf: &Conf| conf.aliases.contains_key(&name);
        has(self.cluster) || self.local.is_some_and(has)
    }

    fn any_set(&self, name: &str) -> bool {
        let has = |conf: &Conf| conf.ipsets.contains_key(name);
        has(self.cluster) || self.local.is_some_and(has) || self.sdn.contains(name)
    }
}

/// What a check found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// 4 or 6, when the rule fits one family only.
    pub(crate) family: Option<u8>,
    /// Keys and texts, the first one first; a text without a key is no matter of one parameter.
    pub(crate) problems: Vec<(&'static str, String)>,
}

impl Verdict {
    fn add(&mut self, key: &'static str, text: impl Into<String>) {
        if !self.problems.iter().any(|(known, _)| *known == key) {
            self.problems.push((key, text.into()));
        }
    }

    fn set_family(&mut self, family: u8) -> Result<(), String> {
        if self.family.is_some_and(|known| known != family) {
            return Err("detected mixed ipv4/ipv6 addresses in rule".to_owned());
        }
        self.family = Some(family);
        Ok(())
    }
}

/// A key whose value counts: neither empty nor `0`.
fn given<'a>(rule: &'a Rule, key: &str) -> Option<&'a str> {
    rule.get(key).map(String::as_str).filter(|text| !text.is_empty() && *text != "0")
}

/// Checks a rule and spells its macro as the server does.
pub(crate) fn verify(rule: &mut Rule, scope: &Scope<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    check_type(rule, scope.env, &mut verdict);
    if let Some(iface) = given(rule, "iface") {
        if !scope.env.has_interfaces() {
            verdict.add("type", "parameter -i not allowed for this rule type");
        }
        let number = iface.strip_prefix("net").unwrap_or_default();
        let good = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if scope.env == Env::Vm && !good {
            verdict.add("iface", "value does not match the regex pattern 'net\\d+'");
        }
    }
    if let Some(name) = given(rule, "macro").map(str::to_owned) {
        match macros::spelled(&name) {
            Some(known) => drop(rule.insert("macro".to_owned(), known.to_owned())),
            None => verdict.add("macro", format!("unknown macro '{name}'")),
        }
    }
    check_protocol(rule, &mut verdict);
    for key in ["source", "dest"] {
        check_address(rule, key, scope, &mut verdict);
    }
    if let Some(name) = given(rule, "macro").filter(|_| verdict.problems.is_empty())
        && let Some((key, text)) = macros::conflict(name, rule, verdict.family)
    {
        let key = ["proto", "dport", "sport"].into_iter().find(|known| *known == key);
        verdict.add(key.unwrap_or("macro"), text);
    }
    verdict
}

fn check_type(rule: &Rule, env: Env, verdict: &mut Verdict) {
    let (kind, action) = (given(rule, "type"), given(rule, "action"));
    if kind.is_none() {
        verdict.add("type", "missing property");
    }
    if action.is_none() {
        verdict.add("action", "missing property");
    }
    let Some(kind) = kind else { return };
    if !env.types().contains(&kind) {
        let env = env.word();
        verdict.add("type", format!("invalid rule type '{kind}' for rule_env '{env}'"));
    }
    let Some(action) = action else { return };
    if kind == "group" {
        if !address::is_name(action) {
            verdict.add("action", "invalid characters in security group name");
        }
        return;
    }
    if kind == "forward" && action == "REJECT" {
        verdict.add("action", "cannot define REJECT rules on forward chain");
    }
    if !matches!(action, "ACCEPT" | "DROP" | "REJECT") {
        verdict.add("action", format!("unknown action '{action}'"));
    }
}

fn check_protocol(rule: &Rule, verdict: &mut Verdict) {
    let proto = given(rule, "proto");
    let icmp = proto.is_some_and(names::is_icmp);
    if let Some(proto) = proto {
        if !names::is_protocol(proto) {
            verdict.add("proto", format!("unknown protocol '{proto}'"));
        }
        match proto {
            "icmp" => verdict.family = Some(4),
            "icmpv6" | "ipv6-icmp" => verdict.family = Some(6),
            _ => {}
        }
    }
    let ports = |key: &'static str, icmp: bool, verdict: &mut Verdict| {
        let Some(text) = given(rule, key) else { return };
        if let Err(text) = port::check(text, icmp) {
            verdict.add(key, text);
        }
        let Some(proto) = proto else {
            verdict.add("proto", format!("missing property - '{key}' requires this property"));
            return;
        };
        if !names::has_ports(proto) && !icmp {
            verdict.add(key, format!("protocol '{proto}' does not support ports"));
        }
    };
    ports("dport", icmp, verdict);
    if let Some(kind) = given(rule, "icmp-type") {
        if !icmp {
            verdict.add("proto", "missing property - 'icmp-type' requires this property");
        }
        if given(rule, "dport").is_some() {
            verdict.add("icmp-type", "'icmp-type' cannot be specified together with 'dport'");
        }
        let known = match proto {
            Some("icmp") => names::is_icmp_type(kind),
            Some("icmpv6" | "ipv6-icmp") => names::is_icmp_v6_type(kind),
            _ => true,
        };
        if !known {
            let proto = proto.unwrap_or_default();
            verdict.add("icmp-type", format!("invalid icmp-type '{kind}' for proto '{proto}'"));
        }
    }
    ports("sport", false, verdict);
}

fn check_address(rule: &Rule, key: &'static str, scope: &Scope<'_>, verdict: &mut Verdict) {
    let Some(text) = given(rule, key) else { return };
    let family = address::list(text).and_then(|family| match family {
        Some(family) => verdict.set_family(family),
        None => Ok(()),
    });
    if let Err(text) = family {
        verdict.add(key, text);
    }
    if let Some(set) = text.strip_prefix('+') {
        match address::scoped(set, &["guest/", "dc/", "sdn/"]) {
            Some((_, name)) if scope.any_set(name) => {}
            Some((_, name)) => verdict.add(key, format!("no such ipset '{name}'")),
            None => verdict.add(key, format!("invalid ipset name '{text}'")),
        }
    } else if let Some((place, name)) = address::alias(text) {
        if !scope.any_alias(name) {
            verdict.add(key, format!("no such alias '{text}'"));
        }
        if let Some(alias) = scope.alias(place, name)
            && let Err(text) = verdict.set_family(alias.family())
        {
            verdict.add("", text);
        }
    }
}

/// A rule as it is read back from the file; `None` when the file's reader would skip its line.
pub(crate) fn stored(rule: &Rule, env: Env) -> Option<Rule> {
    let mut kept = Rule::new();
    let kind = given(rule, "type")?;
    let action = given(rule, "action")?;
    kept.insert("type".to_owned(), kind.to_owned());
    let named = given(rule, "macro");
    let enabled = rule.get("enable").is_none_or(|flag| flag != "0");
    kept.insert("enable".to_owned(), u8::from(enabled).to_string());
    let keys: &[&str] = if kind == "group" {
        let text = named.map_or_else(|| action.to_owned(), |name| format!("{name}({action})"));
        kept.insert("action".to_owned(), text);
        &["iface"]
    } else {
        kept.insert("action".to_owned(), action.to_owned());
        &["iface", "macro", "source", "dest", "proto", "dport", "sport", "log", "icmp-type"]
    };
    for key in keys.iter().filter(|key| **key != "iface" || env != Env::Group) {
        if let Some(text) = given(rule, key) {
            if text.contains(char::is_whitespace) {
                return None;
            }
            kept.insert((*key).to_owned(), text.to_owned());
        }
    }
    if let Some(text) = rule.get("comment").and_then(|text| comment(text)) {
        kept.insert("comment".to_owned(), text);
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        let pair = |part: &str| {
            let (key, value) = part.split_once('=').expect("a pair");
            (key.to_owned(), value.to_owned())
        };
        text.split(' ').map(pair).collect()
    }

    fn check(env: Env, text: &str) -> Verdict {
        let mut cluster = Conf::default();
        cluster.ipsets.insert("known".to_owned(), super::super::IpSet::default());
        let six = Alias { name: "Six".to_owned(), cidr: "fd00::/64".to_owned(), comment: None };
        cluster.aliases.insert("six".to_owned(), six);
        let sdn = BTreeSet::from(["vnet-all".to_owned()]);
        let scope = Scope { env, cluster: &cluster, local: None, sdn: &sdn };
        verify(&mut rule(text), &scope)
    }

    fn first(env: Env, text: &str) -> (&'static str, String) {
        check(env, text).problems.first().cloned().expect("a problem")
    }

    #[test]
    fn types_fit_their_place() {
        let good = ["type=in action=ACCEPT", "type=group action=web", "type=out action=DROP"];
        assert!(good.iter().all(|text| check(Env::Vm, text).problems.is_empty()));
        assert!(check(Env::Vnet, "type=forward action=DROP").problems.is_empty());
        let wrong = "invalid rule type 'in' for rule_env 'vnet'".to_owned();
        assert_eq!(first(Env::Vnet, "type=in action=DROP"), ("type", wrong));
        let (key, _) = first(Env::Vnet, "type=forward action=DROP iface=net0");
        assert_eq!(key, "type");
        let text = "cannot define REJECT rules on forward chain".to_owned();
        assert_eq!(first(Env::Host, "type=forward action=REJECT"), ("action", text));
        let text = "unknown action 'web'".to_owned();
        assert_eq!(first(Env::Cluster, "type=in action=web"), ("action", text));
        assert!(check(Env::Cluster, "type=in action=DROP iface=vmbr0").problems.is_empty());
        assert_eq!(first(Env::Vm, "type=in action=DROP iface=vmbr0").0, "iface");
    }

    #[test]
    fn ports_and_protocols() {
        let fail = |text: &str| first(Env::Vm, &format!("type=in action=DROP {text}"));
        let text = "missing property - 'sport' requires this property".to_owned();
        assert_eq!(fail("sport=80"), ("proto", text));
        assert_eq!(
            fail("proto=esp dport=80"),
            ("dport", "protocol 'esp' does not support ports".to_owned())
        );
        assert_eq!(
            fail("proto=icmp icmp-type=no-route"),
            ("icmp-type", "invalid icmp-type 'no-route' for proto 'icmp'".to_owned())
        );
        assert_eq!(
            fail("proto=icmp icmp-type=any dport=8"),
            ("icmp-type", "'icmp-type' cannot be specified together with 'dport'".to_owned())
        );
        assert_eq!(fail("proto=tcp dport=echo-request").0, "dport");
        assert_eq!(fail("macro=nosuch").1, "unknown macro 'nosuch'");
        assert_eq!(fail("macro=ssh proto=udp").0, "proto");
    }

    #[test]
    fn names_are_looked_up() {
        let verdict = check(Env::Vm, "type=in action=DROP source=SIX dest=+sdn/vnet-all");
        assert!(verdict.problems.is_empty(), "{:?}", verdict.problems);
        assert_eq!(verdict.family, Some(6));
        let fail = |text: &str| first(Env::Vm, &format!("type=in action=DROP {text}"));
        assert_eq!(fail("source=+dc/none").1, "no such ipset 'none'");
        assert_eq!(fail("source=+7").1, "invalid ipset name '+7'");
        assert_eq!(fail("dest=dc/none").1, "no such alias 'dc/none'");
        let mixed = "detected mixed ipv4/ipv6 addresses in rule";
        assert_eq!(fail("source=10.0.0.1 dest=fd00::1"), ("dest", mixed.to_owned()));
        assert_eq!(fail("source=10.0.0.1 dest=six"), ("", mixed.to_owned()));
    }

    #[test]
    fn the_file_drops_what_it_has_no_place_for() {
        let kept = stored(&rule("type=group action=web source=10.0.0.1 enable=0"), Env::Vm);
        assert_eq!(kept, Some(rule("type=group action=web enable=0")));
        let kept = stored(&rule("type=in action=DROP enable=7 dport=0 iface=net0"), Env::Group);
        assert_eq!(kept, Some(rule("type=in action=DROP enable=1")));
        let mut range = rule("type=in action=DROP");
        range.insert("source".to_owned(), "10.0.0.1 - 10.0.0.2".to_owned());
        assert_eq!(stored(&range, Env::Vm), None);
    }
}
