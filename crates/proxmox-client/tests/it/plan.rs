//! Laws of the plans: what is as desired needs nothing, and what a plan says is enough.
#![expect(clippy::expect_used, reason = "a test ends where something is not as it must be")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proxmox_client::VmId;
use proxmox_client::plan::sdn::{Kind, Object, SdnChange, SdnObserved, diff as sdn_diff};
use proxmox_client::plan::vm::{Disk, VmChange, VmDesired, VmObserved, diff};

const UUID: &str = "11111111-2222-3333-4444-555555555555";

/// Keys with values that the server would take.
const KEYS: &[(&str, &[&str])] = &[
    ("name", &["solcp01", "other"]),
    ("cores", &["2", "4"]),
    ("memory", &["2048", "4096"]),
    ("cpu", &["host", "x86-64-v2-AES", "cputype=host"]),
    ("agent", &["1", "enabled=1", "1,fstrim_cloned_disks=1", "0"]),
    ("machine", &["q35", "pc-q35-9.2"]),
    ("onboot", &["1", "0"]),
    (
        "net0",
        &[
            "virtio=02:00:00:00:00:0A,bridge=vnet101,mtu=1",
            "virtio,bridge=vnet101",
            "model=virtio,macaddr=02:00:00:00:00:0a,bridge=vnet102,firewall=0",
        ],
    ),
    ("ipconfig0", &["ip=10.1.0.2/24,gw=10.1.0.1", "ip=dhcp,ip6=auto", "ip6=FD00::2/64"]),
    ("nameserver", &["10.0.0.1 fd00::1", "10.0.0.1"]),
    ("hostpci0", &["mapping=igpu,pcie=1", "0000:00:02.1", "mapping=igpu,pcie=1,rombar=1"]),
    ("boot", &["order=scsi0;ide2", "order=scsi0"]),
    ("serial0", &["socket"]),
    ("description", &["made", "made\n\n"]),
];

fn config() -> impl Strategy<Value = BTreeMap<String, String>> {
    subsequence(KEYS.to_vec(), 0..=KEYS.len()).prop_flat_map(|keys| {
        let some: Vec<_> = keys
            .into_iter()
            .map(|(key, values)| {
                select(values).prop_map(move |value| (key.to_owned(), value.to_owned()))
            })
            .collect();
        some.prop_map(|pairs| pairs.into_iter().collect())
    })
}

fn options() -> impl Strategy<Value = BTreeMap<String, String>> {
    let pairs = select(vec![
        ("discard", "on"),
        ("discard", "ignore"),
        ("iothread", "1"),
        ("ssd", "1"),
        ("cache", "writeback"),
        ("backup", "0"),
    ]);
    vec(pairs, 0..4).prop_map(|pairs| {
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    })
}

fn disks() -> impl Strategy<Value = Vec<Disk>> {
    btree_map(select(vec!["scsi0", "scsi1", "scsi2"]), (1_u32..64, options()), 0..3).prop_map(
        |disks| {
            let disk = |(key, (size_gib, options)): (&str, _)| Disk {
                key: key.to_owned(),
                storage: "rbd".to_owned(),
                size_gib,
                options,
            };
            disks.into_iter().map(disk).collect()
        },
    )
}

prop_compose! {
    pub(super) fn desired()(
        keys in config(),
        disks in disks(),
        tags in btree_set(select(vec!["clusterctl", "cluster-101", "cp"]), 0..3),
        efi in any::<bool>(),
        cloud_init in any::<bool>(),
    ) -> VmDesired {
        let absent: BTreeSet<String> =
            ["hostpci0", "serial0", "net1"].into_iter().map(str::to_owned)
                .filter(|key| !keys.contains_key(key)).collect();
        let mut keys = keys;
        keys.insert("smbios1".to_owned(), format!("uuid={UUID}"));
        VmDesired {
            vmid: VmId::try_from(100).expect("a number"),
            node: "pve01".into(),
            uuid: UUID.into(),
            tags: tags.into_iter().map(str::to_owned).collect(),
            keys,
            absent,
            disks,
            efi_storage: efi.then(|| "rbd".to_owned()),
            cloud_init: cloud_init.then(|| ("ide2".to_owned(), "rbd".to_owned())),
            medium: None,
        }
    }
}

fn is_drive(key: &str) -> bool {
    ["scsi", "ide", "efidisk"].iter().any(|stem| key.starts_with(stem))
        && key.ends_with(|c: char| c.is_ascii_digit())
}

/// What the server makes of a drive that it is told: allocates it, keeps its size.
fn drive(before: Option<&String>, told: &str) -> String {
    let (volume, options) = told.split_once(',').unwrap_or((told, ""));
    let options = if options.is_empty() { String::new() } else { format!(",{options}") };
    let (storage, rest) = volume.split_once(':').expect("a storage");
    if rest == "cloudinit" {
        return format!("{storage}:vm-100-cloudinit,media=cdrom,size=4M");
    }
    if rest.parse::<u32>().is_ok() {
        return format!("{storage}:vm-100-disk-7{options},size={rest}G");
    }
    let size = before.and_then(|text| text.rsplit_once("size=")).map_or("1G", |(_, size)| size);
    format!("{volume}{options},size={size}")
}

fn applied(observed: &VmObserved, changes: &[VmChange]) -> VmObserved {
    let mut after = observed.clone();
    for change in changes {
        match change {
            VmChange::Set { key, after: told, .. } => {
                let value =
                    if is_drive(key) { drive(after.config.get(key), told) } else { told.clone() };
                after.config.insert(key.clone(), value);
            }
            VmChange::Delete { key, .. } => {
                after.config.remove(key);
            }
            VmChange::Grow { key, after_gib, .. } => {
                if let Some(text) = after.config.get_mut(key)
                    && let Some((rest, _)) = text.rsplit_once("size=")
                {
                    *text = format!("{rest}size={after_gib}G");
                }
            }
        }
    }
    after
}

/// A machine as the server has it after it was made.
pub(super) fn made(desired: &VmDesired) -> VmObserved {
    let config = desired.create_params().into_iter().map(|(key, told)| {
        let value = if is_drive(&key) { drive(None, &told) } else { told };
        (key, value)
    });
    VmObserved {
        vmid: desired.vmid,
        node: desired.node.clone(),
        running: false,
        lock: None,
        config: config.collect(),
        pending: BTreeSet::new(),
    }
}

proptest! {
    #[test]
    fn a_machine_that_was_made_is_as_desired(wanted in desired()) {
        let seen = made(&wanted);
        let left = diff(&wanted, &seen);
        prop_assert!(left.is_empty(), "{left:?}");
        prop_assert!(wanted.owns(&seen).is_ok());
    }

    #[test]
    fn what_a_plan_says_is_enough(wanted in desired(), was in desired(), own in "[a-z]{3}") {
        let mut seen = made(&was);
        let mut tags: Vec<&str> = was.tags.iter().map(String::as_str).collect();
        tags.push(&own);
        seen.config.insert("tags".to_owned(), tags.join(";"));
        let plan = diff(&wanted, &seen);
        let after = applied(&seen, &plan.changes);
        let left = diff(&wanted, &after);
        prop_assert!(left.changes.is_empty(), "{:?} left of {:?}", left.changes, plan.changes);
        prop_assert_eq!(left.refused, plan.refused);
        prop_assert!(after.tags().contains(&own), "a tag of the user went");
        // What the plan does not name stays.
        for (key, value) in &seen.config {
            if !plan.changes.iter().any(|change| change.key() == key) {
                prop_assert_eq!(after.config.get(key), Some(value));
            }
        }
    }
}

fn object() -> impl Strategy<Value = Object> {
    let kind = select(Kind::ALL.to_vec());
    let keys = select(vec!["tag", "alias", "mtu", "nodes", "snat"]);
    let values = select(vec!["1", "0", "a,b", "b,a", "x"]);
    (kind, select(vec!["one", "two"]), btree_map(keys, values, 0..4)).prop_map(
        |(kind, id, fields)| Object {
            kind,
            id: format!("{}{id}", kind.word()),
            vnet: (kind == Kind::Subnet).then(|| "vnetone".to_owned()),
            fields: fields.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        },
    )
}

pub(super) fn objects() -> impl Strategy<Value = Vec<Object>> {
    vec(object(), 0..8).prop_map(|objects| {
        let by_title: BTreeMap<String, Object> =
            objects.into_iter().map(|object| (object.title(), object)).collect();
        by_title.into_values().collect()
    })
}

fn carried_out(observed: &SdnObserved, changes: &[SdnChange]) -> SdnObserved {
    let mut after = observed.clone();
    for change in changes {
        let object = change.object();
        let same = |other: &Object| other.kind == object.kind && other.id == object.id;
        match change {
            SdnChange::Create { object } => after.objects.push(object.clone()),
            SdnChange::Delete { .. } => after.objects.retain(|other| !same(other)),
            SdnChange::Update { fields, .. } => {
                for other in after.objects.iter_mut().filter(|other| same(other)) {
                    for (key, _, value) in fields {
                        match value {
                            Some(value) => other.fields.insert(key.clone(), value.clone()),
                            None => other.fields.remove(key),
                        };
                    }
                }
            }
        }
    }
    after
}

proptest! {
    #[test]
    fn networks_end_as_desired(wanted in objects(), were in objects()) {
        let seen = SdnObserved { objects: were, ..SdnObserved::default() };
        let plan = sdn_diff(&wanted, &seen, |_| true, false);
        let mut kinds: Vec<Kind> = plan.changes.iter().map(|c| c.object().kind).collect();
        kinds.dedup();
        prop_assert!(kinds.is_sorted(), "{kinds:?}");
        let after = carried_out(&seen, &plan.changes);
        let left = sdn_diff(&wanted, &after, |_| true, false);
        prop_assert!(left.is_empty(), "{left:?}");
        // What is not desired stays.
        for object in &seen.objects {
            prop_assert!(after.objects.iter().any(|other| other.title() == object.title()));
        }
        // Of somebody else's object nothing is changed.
        let theirs = sdn_diff(&wanted, &seen, |_| false, false);
        let update = theirs.changes.iter().find(|c| matches!(c, SdnChange::Update { .. }));
        prop_assert_eq!(update, None);
    }
}
