//! Laws of the firewall's plans.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proxmox_client::plan::firewall::{Entry, Rule, apply, apply_set, diff, diff_set, normal};

fn rule() -> impl Strategy<Value = Rule> {
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

fn set() -> impl Strategy<Value = BTreeMap<String, Entry>> {
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
    fn sets_that_are_as_desired_need_nothing(a in set()) {
        prop_assert_eq!(diff_set(&a, &a), []);
    }

    #[test]
    fn what_is_planned_for_sets_is_enough(a in set(), b in set()) {
        let changes = diff_set(&b, &a);
        prop_assert_eq!(apply_set(&changes, &a), b);
    }
}
