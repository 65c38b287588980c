//! Laws of the smaller plans, and of all plans as text: a plan that was written is the plan that
//! is read.
#![expect(clippy::expect_used, reason = "a test ends where something is not right")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proxmox_client::VmId;
use proxmox_client::plan::file::{self, FileChange, FileDesired, FileObserved};
use proxmox_client::plan::firewall::{diff as rules_diff, diff_options, diff_set};
use proxmox_client::plan::pool::{self, PoolChange, PoolState};
use proxmox_client::plan::sdn::{SdnObserved, diff as sdn_diff};
use proxmox_client::plan::vm::diff as vm_diff;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::firewall_laws::{rule, set};
use crate::plan::{desired, made, objects};

fn pool() -> impl Strategy<Value = PoolState> {
    let machines = btree_set(100_u32..108, 0..5).prop_map(|ids| {
        ids.into_iter().filter_map(|id| VmId::try_from(id).ok()).collect::<BTreeSet<_>>()
    });
    (select(vec!["", "ours", "ours\n"]), machines).prop_map(|(comment, machines)| PoolState {
        id: "sol".to_owned(),
        comment: comment.to_owned(),
        machines,
    })
}

fn pooled(changes: &[PoolChange], observed: Option<&PoolState>) -> Option<PoolState> {
    let mut state = observed.cloned();
    for change in changes {
        match (change, &mut state) {
            (PoolChange::Create { id, comment }, _) => {
                let (id, comment) = (id.clone(), comment.clone());
                state = Some(PoolState { id, comment, machines: BTreeSet::new() });
            }
            (PoolChange::Comment { after, .. }, Some(pool)) => pool.comment.clone_from(after),
            (PoolChange::Add { machines, .. }, Some(pool)) => pool.machines.extend(machines),
            (_, None) => {}
        }
    }
    state
}

fn file() -> impl Strategy<Value = (String, u64)> {
    (select(vec!["a.iso", "b.iso", "c.iso"]), 1_u64..4)
        .prop_map(|(name, size)| (name.to_owned(), size))
}

fn options() -> impl Strategy<Value = BTreeMap<String, String>> {
    let keys = select(vec!["enable", "policy_in", "ndp", "log_ratelimit"]);
    btree_map(keys, select(vec!["", "0", "1", "DROP"]), 0..4).prop_map(|pairs| {
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    })
}

fn reads_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_string(value).expect("a plan can be written");
    assert_eq!(&serde_json::from_str::<T>(&text).expect("a plan can be read"), value, "{text}");
}

proptest! {
    #[test]
    fn pools_end_as_desired(a in option::of(pool()), b in pool()) {
        prop_assert_eq!(pool::diff(&b, Some(&b)), []);
        let changes = pool::diff(&b, a.as_ref());
        let after = pooled(&changes, a.as_ref()).expect("a pool");
        prop_assert_eq!(pool::diff(&b, Some(&after)), []);
        // what is in it besides stays
        let were = a.map(|pool| pool.machines).unwrap_or_default();
        prop_assert_eq!(&after.machines, &were.union(&b.machines).copied().collect());
        reads_back(&changes);
    }

    #[test]
    fn files_end_as_desired(wanted in file(), there in vec((file(), any::<bool>()), 0..4)) {
        let (name, size) = wanted;
        let wanted = FileDesired {
            storage: "local".to_owned(),
            content: "iso".to_owned(),
            name,
            size,
        };
        let rows: BTreeMap<String, Option<u64>> = there
            .into_iter()
            .map(|((name, size), told)| (format!("local:iso/{name}"), told.then_some(size)))
            .collect();
        let seen = |rows: &BTreeMap<String, Option<u64>>| -> Vec<FileObserved> {
            let file = |(volid, size): (&String, &Option<u64>)| FileObserved {
                volid: volid.clone(),
                size: *size,
            };
            rows.iter().map(file).collect()
        };
        let change = file::diff(&wanted, &seen(&rows));
        let mut after = rows;
        match &change {
            None => {}
            Some(FileChange::Upload { volid, size: new }) => {
                prop_assert_eq!(after.insert(volid.clone(), Some(*new)), None);
            }
            Some(FileChange::Replace { volid, before, after: new }) => {
                prop_assert_eq!(after.insert(volid.clone(), Some(*new)), Some(*before));
            }
        }
        prop_assert_eq!(file::diff(&wanted, &seen(&after)), None);
        reads_back(&change);
    }

    #[test]
    fn options_end_as_desired(a in options(), b in options()) {
        let observed: BTreeMap<_, _> =
            a.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let (put, gone) = diff_options(&b, &observed);
        let mut after = observed.clone();
        after.retain(|key, _| !gone.contains(key));
        after.extend(put);
        prop_assert_eq!(diff_options(&b, &after), (BTreeMap::new(), Vec::new()));
        for (key, value) in observed.iter().filter(|(key, _)| !b.contains_key(*key)) {
            prop_assert_eq!(after.get(key), Some(value), "what is not named stays");
        }
    }

    #[test]
    fn plans_are_read_as_they_were_written(
        wanted in desired(),
        was in desired(),
        rules in (vec(rule(), 0..6), vec(rule(), 0..6)),
        sets in (set(), set()),
        nets in (objects(), objects()),
    ) {
        reads_back(&wanted);
        reads_back(&made(&was));
        reads_back(&vm_diff(&wanted, &made(&was)));
        reads_back(&rules.0);
        reads_back(&rules_diff(&rules.0, &rules.1));
        reads_back(&sets.0);
        reads_back(&diff_set(&sets.0, &sets.1));
        let seen = SdnObserved { objects: nets.1, pending: BTreeMap::new() };
        reads_back(&seen);
        reads_back(&sdn_diff(&nets.0, &seen, |_| true, false));
    }
}
