//! Laws of the smaller plans, and of all plans as text: a plan that was written is the plan that
//! is read.
#![expect(clippy::expect_used, reason = "a test ends where something is not right")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proxmox_client::plan::access::{
    RoleChange, RoleState, TokenChange, TokenState, diff_role, diff_token,
};
use proxmox_client::plan::file::{self, FileChange, FileDesired, FileObserved};
use proxmox_client::plan::firewall::{diff as rules_diff, diff_options, diff_set};
use proxmox_client::plan::ha::{self, HaChange, HaState};
use proxmox_client::plan::mapping::{self, MappingChange, MappingState};
use proxmox_client::plan::pool::{self, PoolChange, PoolState};
use proxmox_client::plan::sdn::{SdnObserved, diff as sdn_diff};
use proxmox_client::plan::user::{UserChange, UserState, diff_user};
use proxmox_client::plan::vm::diff as vm_diff;
use proxmox_client::{HaKind, VmId};
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

fn names(of: &'static [&'static str]) -> impl Strategy<Value = BTreeSet<String>> {
    btree_set(select(of), 0..of.len())
        .prop_map(|names| names.into_iter().map(str::to_owned).collect())
}

fn comment() -> impl Strategy<Value = String> {
    select(vec!["", "ours", "ours\n"]).prop_map(str::to_owned)
}

fn user() -> impl Strategy<Value = UserState> {
    (any::<bool>(), 0_u64..3, comment(), names(&["a", "b", "c"])).prop_map(
        |(enable, expire, comment, groups)| UserState {
            enable,
            expire,
            comment,
            groups,
            ..UserState::new("ops@pve")
        },
    )
}

fn token() -> impl Strategy<Value = TokenState> {
    (any::<bool>(), 0_u64..3, comment()).prop_map(|(privsep, expire, comment)| TokenState {
        user: "ops@pve".to_owned(),
        name: "ci".to_owned(),
        privsep,
        expire,
        comment,
    })
}

fn role() -> impl Strategy<Value = RoleState> {
    names(&["VM.Audit", "VM.PowerMgmt", "Sys.Audit"])
        .prop_map(|privileges| RoleState { id: "ops".to_owned(), privileges })
}

fn device_names() -> impl Strategy<Value = MappingState> {
    let entries =
        names(&["node=a,path=x,id=1:2", "id=0x1:0x2,path=x,node=a", "node=b,path=y,id=1:2"]);
    let flag = || select(vec![None, Some(false), Some(true)]);
    (entries, comment(), flag(), flag()).prop_map(|(map, description, mdev, live_migration)| {
        MappingState { id: "gpu".to_owned(), map, description, mdev, live_migration }
    })
}

/// Keys of a resource of high availability, some in the server's spelling.
fn ha_keys() -> impl Strategy<Value = BTreeMap<String, String>> {
    let pairs = select(vec![
        ("state", ""),
        ("state", "started"),
        ("state", "enabled"),
        ("state", "stopped"),
        ("max_restart", "1"),
        ("max_restart", "3"),
        ("nodes", "a:0,b"),
        ("nodes", "b,a"),
        ("resources", "100,vm:101"),
        ("disable", "0"),
        ("disable", "1"),
    ]);
    vec(pairs, 0..5).prop_map(|pairs| {
        pairs.into_iter().map(|(key, text)| (key.to_owned(), text.to_owned())).collect()
    })
}

/// Keys that the server would keep.
fn kept(keys: BTreeMap<String, String>) -> BTreeMap<String, String> {
    keys.into_iter()
        .filter(|(key, text)| !text.is_empty() && (key != "disable" || text == "1"))
        .collect()
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
    fn users_roles_and_tokens_end_as_desired(
        users in (option::of(user()), user()),
        roles in (option::of(role()), role()),
        tokens in (option::of(token()), token()),
    ) {
        let change = diff_user(&users.1, users.0.as_ref());
        let mut after = users.0.unwrap_or_else(|| users.1.clone());
        match &change {
            None => {}
            Some(UserChange::Create { user }) => after = user.clone(),
            Some(UserChange::Set { keys, .. }) => {
                for (key, _, text) in keys {
                    match key.as_str() {
                        "enable" => after.enable = text == "1",
                        "expire" => after.expire = text.parse().expect("a number"),
                        "comment" => after.comment.clone_from(text),
                        "groups" => {
                            let names = text.split(',').filter(|name| !name.is_empty());
                            after.groups = names.map(str::to_owned).collect();
                        }
                        other => panic!("{other} does not differ"),
                    }
                }
            }
        }
        prop_assert_eq!(diff_user(&users.1, Some(&after)), None);
        reads_back(&change);

        let change = diff_role(&roles.1, roles.0.as_ref());
        let after = match &change {
            None => roles.0.expect("it is there"),
            Some(RoleChange::Create { role }) => role.clone(),
            Some(RoleChange::Set { added, removed, .. }) => {
                let mut after = roles.0.expect("it is there");
                after.privileges.extend(added.clone());
                after.privileges.retain(|name| !removed.contains(name));
                after
            }
        };
        prop_assert_eq!(diff_role(&roles.1, Some(&after)), None);
        reads_back(&change);

        let change = diff_token(&tokens.1, tokens.0.as_ref());
        let mut after = tokens.0.unwrap_or_else(|| tokens.1.clone());
        if let Some(TokenChange::Set { keys, .. }) = &change {
            for (key, _, text) in keys {
                match key.as_str() {
                    "privsep" => after.privsep = text == "1",
                    "expire" => after.expire = text.parse().expect("a number"),
                    _ => after.comment.clone_from(text),
                }
            }
        }
        prop_assert_eq!(diff_token(&tokens.1, Some(&after)), None);
        reads_back(&change);
    }

    #[test]
    fn names_for_devices_end_as_desired(a in option::of(device_names()), b in device_names()) {
        let change = mapping::diff(&b, a.as_ref());
        let after = match &change {
            None => a.expect("it is there"),
            Some(MappingChange::Create { mapping } | MappingChange::Set { mapping, .. }) => {
                mapping.clone()
            }
        };
        prop_assert_eq!(mapping::diff(&b, Some(&after)), None);
        reads_back(&change);
    }

    #[test]
    fn availability_ends_as_desired(a in option::of(ha_keys()), b in ha_keys()) {
        let (kind, name) = (HaKind::Rule, "near".to_owned());
        let wanted = HaState { kind, name, keys: b };
        let observed = a.map(kept);
        let change = ha::diff(&wanted, observed.as_ref());
        let mut after = observed.clone().unwrap_or_default();
        match &change {
            None => {}
            Some(HaChange::Create { entry }) => after = kept(entry.keys.clone()),
            Some(HaChange::Set { keys, .. }) => {
                for (key, before, text) in keys {
                    prop_assert_eq!(before.as_ref(), after.get(key));
                    match text {
                        Some(text) => drop(after.insert(key.clone(), text.clone())),
                        None => drop(after.remove(key)),
                    }
                }
            }
        }
        prop_assert_eq!(ha::diff(&wanted, Some(&after)), None);
        for (key, text) in observed.iter().flatten().filter(|(key, _)| !wanted.keys.contains_key(*key)) {
            prop_assert_eq!(after.get(key), Some(text), "what is not named stays");
        }
        reads_back(&change);
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
        let seen = SdnObserved { objects: nets.1, ..SdnObserved::default() };
        reads_back(&seen);
        reads_back(&sdn_diff(&nets.0, &seen, |_| true, false));
    }
}
