//! Rules of each level and of security groups.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Level, digest, objects, scope, sdn_sets, unchanged, with_digest};
use crate::sim::fail::Fail;
use crate::sim::firewall::verify::{Env, Scope, Verdict, stored, verify};
use crate::sim::firewall::{Place, Rule};
use crate::sim::reply::Call;

/// Who has the rules.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner {
    Of(Level),
    Group,
}

const KEYS: [&str; 13] = [
    "type",
    "action",
    "macro",
    "iface",
    "source",
    "dest",
    "proto",
    "enable",
    "log",
    "sport",
    "dport",
    "comment",
    "icmp-type",
];

impl Owner {
    fn env(self) -> Env {
        match self {
            Self::Of(level) => level.env(),
            Self::Group => Env::Group,
        }
    }

    fn place(self, call: &Call<'_>) -> Place {
        match self {
            Self::Of(level) => level.place(call),
            Self::Group => Place::Cluster,
        }
    }

    fn permit(self, call: &Call<'_>, privileges: &[&str]) -> Result<(), Fail> {
        match self {
            Self::Of(level) => level.permit(call, privileges),
            Self::Group => Ok(()),
        }
    }

    fn rules(self, call: &Call<'_>) -> Result<Vec<Rule>, Fail> {
        let conf = super::conf(call.state, &self.place(call));
        match self {
            Self::Of(_) => Ok(conf.rules.clone()),
            Self::Group => {
                let name = call.text("group");
                let group = conf.groups.get(&name).ok_or_else(|| missing(&name))?;
                Ok(group.rules.clone())
            }
        }
    }

    /// Writes the rules as the file keeps them.
    fn save(self, call: &mut Call<'_>, rules: &[Rule]) {
        let rules = rules.iter().filter_map(|rule| stored(rule, self.env())).collect();
        let place = self.place(call);
        let name = call.text("group");
        let conf = call.state.firewall.get_mut(&place);
        match self {
            Self::Of(_) => conf.rules = rules,
            Self::Group => {
                if let Some(group) = conf.groups.get_mut(&name) {
                    group.rules = rules;
                }
            }
        }
    }

    /// Checks a rule that a caller wrote.
    fn check(self, call: &Call<'_>, rule: &mut Rule) -> Result<(), Fail> {
        let sets = sdn_sets(call);
        let verdict = verify(rule, &scope(call.state, &self.place(call), self.env(), &sets));
        match verdict.problems.into_iter().next() {
            None => Ok(()),
            Some(("", text)) => Err(Fail::die(text)),
            Some((key, text)) => Err(Fail::param(key, text)),
        }
    }

    fn rows(self, call: &Call<'_>) -> Result<Vec<Map<String, Value>>, Fail> {
        let sets: BTreeSet<String> =
            super::vnets(call.state).flat_map(|(vnet, _)| super::sets_of(vnet)).collect();
        let scope = scope(call.state, &self.place(call), self.env(), &sets);
        Ok(self.rules(call)?.into_iter().map(|rule| view(rule, &scope)).collect())
    }
}

pub(super) fn missing(group: &str) -> Fail {
    Fail::die(format!("no such security group '{group}'"))
}

/// A rule as it is shown, with what is wrong with it by now.
fn view(mut rule: Rule, scope: &Scope<'_>) -> Map<String, Value> {
    let Verdict { family, problems } = verify(&mut rule, scope);
    let value = |key: &str, text: String| match key {
        "enable" => json!(u8::from(text == "1")),
        _ => json!(text),
    };
    let mut row: Map<String, Value> =
        rule.into_iter().map(|(key, text)| (key.clone(), value(&key, text))).collect();
    if let Some(family) = family {
        row.insert("ipversion".to_owned(), json!(family));
    }
    if !problems.is_empty() {
        let errors: Map<String, Value> =
            problems.into_iter().map(|(key, text)| (key.to_owned(), json!(text))).collect();
        row.insert("errors".to_owned(), Value::Object(errors));
    }
    row
}

/// The index of a rule.
fn position(call: &Call<'_>, count: usize) -> Result<usize, Fail> {
    let text = call.text("pos");
    let index = text.parse::<usize>().ok().filter(|index| *index < count);
    index.ok_or_else(|| Fail::die(format!("no rule at position {text}")))
}

/// Takes the keys of a call into a rule; an empty text removes its key.
fn copy(call: &Call<'_>, rule: &mut Rule) {
    for key in KEYS {
        match call.get(key) {
            None => {}
            Some("" | "-") => drop(rule.remove(key)),
            Some(text) => drop(rule.insert(key.to_owned(), text.to_owned())),
        }
    }
}

/// The order after the rule at `from` was put before the one that stood at `to`.
fn moved<T>(mut rules: Vec<T>, from: usize, to: usize) -> Vec<T> {
    let count = rules.len();
    let rule = rules.remove(from);
    let index = if to >= count {
        count - 1
    } else if to > from {
        to - 1
    } else {
        to
    };
    rules.insert(index, rule);
    rules
}

pub(super) fn list(call: &mut Call<'_>, owner: Owner) -> Result<Value, Fail> {
    owner.permit(call, &["SDN.Audit", "SDN.Allocate"])?;
    let mut rows = with_digest(owner.rows(call)?);
    for (pos, row) in rows.iter_mut().enumerate() {
        row.insert("pos".to_owned(), json!(pos));
    }
    Ok(objects(rows))
}

pub(super) fn read(call: &mut Call<'_>, owner: Owner) -> Result<Value, Fail> {
    owner.permit(call, &["SDN.Audit", "SDN.Allocate"])?;
    let mut rows = with_digest(owner.rows(call)?);
    let index = position(call, rows.len())?;
    let mut row = rows.swap_remove(index);
    row.insert("pos".to_owned(), json!(call.text("pos")));
    Ok(Value::Object(row))
}

pub(super) fn create(call: &mut Call<'_>, owner: Owner) -> Result<Value, Fail> {
    owner.permit(call, &["SDN.Allocate"])?;
    let mut rules = owner.rules(call)?;
    let mut rule = Rule::new();
    copy(call, &mut rule);
    owner.check(call, &mut rule)?;
    rule.entry("enable".to_owned()).or_insert_with(|| "0".to_owned());
    rules.insert(0, rule);
    owner.save(call, &rules);
    Ok(Value::Null)
}

pub(super) fn update(call: &mut Call<'_>, owner: Owner) -> Result<Value, Fail> {
    owner.permit(call, &["SDN.Allocate"])?;
    let mut rules = owner.rules(call)?;
    let rows = owner.rows(call)?;
    unchanged(call, || digest(&rows))?;
    let index = position(call, rules.len())?;
    let target = call.number("moveto").map(|to| usize::try_from(to).unwrap_or(usize::MAX));
    if let Some(to) = target.filter(|to| *to != index) {
        rules = moved(rules, index, to);
        owner.save(call, &rules);
        return Ok(Value::Null);
    }
    let Some(rule) = rules.get_mut(index) else { return Ok(Value::Null) };
    copy(call, rule);
    for key in call.list("delete") {
        if !KEYS.contains(&key.as_str()) && !matches!(key.as_str(), "pos" | "digest") {
            return Err(Fail::param("delete", format!("no such property ('{key}')")));
        }
        if matches!(key.as_str(), "type" | "action") {
            let text = format!("unable to delete required property '{key}'");
            return Err(Fail::param("delete", text));
        }
        rule.remove(&key);
    }
    owner.check(call, rule)?;
    owner.save(call, &rules);
    Ok(Value::Null)
}

pub(super) fn delete(call: &mut Call<'_>, owner: Owner) -> Result<Value, Fail> {
    owner.permit(call, &["SDN.Allocate"])?;
    let mut rules = owner.rules(call)?;
    let rows = owner.rows(call)?;
    unchanged(call, || digest(&rows))?;
    let index = position(call, rules.len())?;
    rules.remove(index);
    owner.save(call, &rules);
    Ok(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::moved;

    #[test]
    fn a_rule_goes_before_the_one_that_stood_there() {
        let order = |from, to| moved(vec!['a', 'b', 'c'], from, to).into_iter().collect::<String>();
        assert_eq!(order(0, 2), "bac");
        assert_eq!(order(0, 3), "bca");
        assert_eq!(order(0, 99), "bca");
        assert_eq!(order(2, 0), "cab");
        assert_eq!(order(1, 2), "abc");
        assert_eq!(order(2, 1), "acb");
    }
}
