//! Laws of the firewall's plans.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proxmox_client::plan::firewall::{Entry, Rule, apply, apply_set, diff, diff_set, normal};

pub(super) fn rule() -> impl Strategy<Value = Rule> {
    let kinds = select(vec!["in", "out"]);
    let actions = select(vec!["ACCEPT", "DROP"]);
    let text = |values: &'static [&'static str]| select(values);
    (kinds, actions, text(&["", "22", "80"]), text(&["", "a"]), text(&["0", "1"])).prop_map(
        |(kind, action, port, comment, enable)| {
            Rule::new(kind, action)
                .with("dport", port)
                .with("comment", comment)
                .with("enable", enable)
        },
    )
}

/// Another spelling of a rule.
fn spelled(rule: &Rule, way: u8) -> Rule {
    let pick = |bit: u8, one: &'static str, other: &'static str| {
        if way & bit == 0 { one } else { other }
    };
    let mut other = rule.clone();
    match rule.get("source") {
        Some("10.0.0.1") => other = other.with("source", pick(1, "10.0.0.1/32", "10.0.0.1")),
        Some("10.0.0.1,10.0.0.2") => {
            other = other.with("source", pick(1, "10.0.0.2, 10.0.0.1", "10.0.0.2,10.0.0.1"));
        }
        _ => {}
    }
    if let Some(name) = rule.get("macro") {
        let lower = name.to_lowercase();
        other = other.with("macro", if way & 2 == 0 { &lower } else { name });
    }
    if let Some(comment) = rule.get("comment") {
        other = other.with("comment", &format!(" {comment}{}", pick(4, "", "\nmore")));
    }
    other.with("log", pick(8, "", "nolog"))
}

fn rich() -> impl Strategy<Value = Rule> {
    let source = select(vec!["", "10.0.0.1", "10.0.0.1,10.0.0.2", "dc/a"]);
    (rule(), source, select(vec!["", "SSH", "DNS"]))
        .prop_map(|(rule, source, name)| rule.with("source", source).with("macro", name))
}

fn normal_of(rules: &[Rule]) -> Vec<Rule> {
    rules.iter().map(Rule::normal).collect()
}

pub(super) fn set() -> impl Strategy<Value = BTreeMap<String, Entry>> {
    let net = (0_u8..6, select(vec!["", "/32", "/24"]))
        .prop_map(|(number, length)| normal(&format!("10.0.{number}.{number}{length}")));
    let comment = proptest::option::of(select(vec!["a", "b"]).prop_map(str::to_owned));
    let entry = (any::<bool>(), comment).prop_map(|(nomatch, comment)| Entry { nomatch, comment });
    btree_map(net, entry, 0..8)
}

proptest! {
    #[test]
    fn rules_that_are_as_desired_need_nothing(rules in vec(rule(), 0..12)) {
        prop_assert_eq!(diff(&rules, &rules), []);
    }

    #[test]
    fn what_is_planned_for_rules_is_enough(a in vec(rule(), 0..12), b in vec(rule(), 0..12)) {
        let changes = diff(&a, &b);
        prop_assert_eq!(apply(&changes, &a), b.clone());
        // never more than taking all away and making all anew
        prop_assert!(changes.len() <= a.len() + 3 * b.len());
    }

    #[test]
    fn rules_in_another_spelling_need_nothing(
        rules in vec((rich(), any::<u8>()), 0..12),
    ) {
        let (a, b): (Vec<Rule>, Vec<Rule>) =
            rules.iter().map(|(rule, way)| (rule.clone(), spelled(rule, *way))).unzip();
        prop_assert_eq!(diff(&a, &b), []);
        prop_assert_eq!(diff(&b, &a), []);
        prop_assert_eq!(normal_of(&normal_of(&a)), normal_of(&a));
    }

    #[test]
    fn what_is_planned_for_rules_is_enough_in_any_spelling(
        a in vec(rich(), 0..10),
        b in vec((rich(), any::<u8>()), 0..10),
    ) {
        let b: Vec<Rule> = b.iter().map(|(rule, way)| spelled(rule, *way)).collect();
        let changes = diff(&a, &b);
        let after = apply(&changes, &a);
        prop_assert_eq!(normal_of(&after), normal_of(&b));
        prop_assert_eq!(diff(&after, &b), []);
    }

    #[test]
    fn sets_that_are_as_desired_need_nothing(a in set()) {
        prop_assert_eq!(diff_set(&a, &a), []);
    }

    #[test]
    fn what_is_planned_for_sets_is_enough(a in set(), b in set()) {
        let changes = diff_set(&b, &a);
        prop_assert_eq!(apply_set(&changes, &a), b);
    }
}
