//! What holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proxmox_client::ensure::{LostSecret, SdnOptions, VmLimits};
use proxmox_client::plan::access::{RoleState, TokenState};
use proxmox_client::plan::firewall::{Entry, Rule};
use proxmox_client::plan::ha::HaState;
use proxmox_client::plan::mapping::MappingState;
use proxmox_client::plan::sdn::{Kind, Object, SdnObserved, diff, removal};
use proxmox_client::plan::user::UserState;
use proxmox_client::plan::vm::{Disk, VmDesired};
use proxmox_client::{AclRow, ErrorKind, FirewallLevel, HaKind, Upload};

use super::{Place, gone};

const WAIT: Duration = Duration::from_mins(2);
const UUID: &str = "c7a70000-0000-4000-8000-00000000c7a7";

/// All cases, one after the other.
pub(super) async fn all(place: &Place) {
    reads(place).await;
    machine(place).await;
    availability(place).await;
    files(place).await;
    networks(place).await;
    firewall(place).await;
    mappings(place).await;
    access(place).await;
}

async fn reads(place: &Place) {
    let client = &place.client;
    client.version().await.expect("a version");
    let nodes = client.nodes().await.expect("nodes");
    assert!(nodes.iter().any(|row| row.node == place.node.as_str()), "{nodes:?}");
    client.cluster_status().await.expect("a status");
    client.resources(None).await.expect("resources");
    assert!(client.next_id().await.expect("a number").get() >= 100);
    let storages = client.storage(&place.node).list().await.expect("storages");
    assert!(storages.iter().any(|row| row.storage == place.disks), "{storages:?}");
    client.tasks().recent().await.expect("tasks");
    client.ha().status().await.expect("a status");
    let absent = client.qemu(&place.node).config(place.vmid, false).await.expect_err("none");
    assert_eq!(absent.kind(), ErrorKind::NotFound, "{absent}");
}

fn desired(place: &Place) -> VmDesired {
    let keys = [
        ("name", "ctrt"),
        ("cores", "1"),
        ("memory", "64"),
        ("smbios1", "uuid=c7a70000-0000-4000-8000-00000000c7a7"),
        ("scsihw", "virtio-scsi-single"),
        ("boot", "order=scsi0"),
        ("description", "of a test"),
    ];
    let options = BTreeMap::from([("iothread".to_owned(), "1".to_owned())]);
    VmDesired {
        vmid: place.vmid,
        node: place.node.to_string(),
        uuid: UUID.to_owned(),
        tags: ["ctrt".to_owned()].into(),
        keys: keys.map(|(key, text)| (key.to_owned(), text.to_owned())).into(),
        absent: [].into(),
        disks: vec![Disk {
            key: "scsi0".into(),
            storage: place.disks.clone(),
            size_gib: 1,
            options,
        }],
        efi_storage: None,
        cloud_init: None,
        medium: None,
    }
}

async fn no_machine(place: &Place) {
    let (limits, wanted) = (VmLimits::default(), desired(place));
    let owns = |seen: &_| wanted.owns(seen).map_err(|foreign| foreign.reason);
    place.client.vms().ensure_absent(place.vmid, &limits, owns).await.expect("it is gone");
}

async fn machine(place: &Place) {
    no_machine(place).await;
    let (vms, limits) = (place.client.vms(), VmLimits::default());
    let first = vms.ensure(&desired(place), &limits).await.expect("a machine");
    assert!(first.created);
    let same = vms.ensure(&desired(place), &limits).await.expect("a machine");
    assert!(!same.created && same.changes.is_empty(), "{:?}", same.changes);
    let mut wanted = desired(place);
    wanted.keys.insert("cores".into(), "2".into());
    wanted.keys.remove("description");
    wanted.absent.insert("description".into());
    if let Some(disk) = wanted.disks.first_mut() {
        disk.size_gib = 2;
    }
    vms.ensure(&wanted, &limits).await.expect("it is changed");
    let qemu = place.client.qemu(&place.node);
    let config = qemu.config(place.vmid, false).await.expect("a configuration");
    assert_eq!(config.get("description"), None);
    let drive = config.get("scsi0").and_then(|drive| drive.as_str()).unwrap_or_default();
    assert!(drive.contains("size=2G"), "{drive}");
    let rows = place.client.tasks().list(&place.node, &[("source", "all")]).await.expect("tasks");
    let made = rows.iter().find(|row| row.kind == "qmcreate").expect("its task");
    let made = made.upid.parse().expect("an id");
    let log = place.client.tasks().log(&made, 0, 0).await.expect("a log");
    assert_eq!(log.last().map(|line| line.t.as_str()), Some("TASK OK"), "{log:?}");
    assert!(log.iter().zip(1..).all(|(line, number)| line.n == number), "{log:?}");
    let again = qemu.create(place.vmid, &[("name", "ctrt")]).await.expect_err("it exists");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
    let stale = [("cores", "1"), ("digest", "0000000000000000000000000000000000000000")];
    let stale = qemu.update(place.vmid, &stale).await;
    let stale = match stale {
        Ok(Some(upid)) => place.client.tasks().wait(&upid, WAIT).await.map(drop),
        other => other.map(drop),
    };
    assert_eq!(stale.expect_err("another configuration").kind(), ErrorKind::Conflict);
    let wrong = qemu.update(place.vmid, &[("cores", "many")]).await.expect_err("no number");
    assert_eq!(wrong.kind(), ErrorKind::Invalid, "{wrong}");
    assert_eq!(qemu.status(place.vmid).await.expect("a state").status, "stopped");
}

/// Leaves no machine.
async fn availability(place: &Place) {
    let (ha, sid) = (place.client.ha(), format!("vm:{}", place.vmid));
    gone(ha.delete(HaKind::Resource, &sid).await);
    let keys = [("state", "stopped"), ("comment", "of a test")];
    ha.create(HaKind::Resource, &sid, &keys).await.expect("a resource");
    let again = ha.create(HaKind::Resource, &sid, &keys).await.expect_err("it exists");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
    ha.update(HaKind::Resource, &sid, &[("max_restart", "3")]).await.expect("it is changed");
    let row = ha.get(HaKind::Resource, &sid).await.expect("an answer").expect("a resource");
    assert_eq!(row.get("max_restart").map(String::as_str), Some("3"));
    let keys = [("state", "stopped"), ("max_restart", "2"), ("comment", "")];
    let keys = keys.map(|(key, text)| (key.to_owned(), text.to_owned())).into();
    let wanted = HaState { kind: HaKind::Resource, name: sid.clone(), keys };
    assert_eq!(ha.ensure(&wanted).await.expect("it is changed").len(), 1);
    assert_eq!(ha.ensure(&wanted).await.expect("it is so"), []);
    if place.client.release().await.expect("a release").major() >= 9 {
        let nodes = format!("{}:2", place.node);
        let keys =
            [("type", "node-affinity"), ("resources", sid.as_str()), ("nodes", nodes.as_str())];
        ha.create(HaKind::Rule, "ctrt", &keys).await.expect("a rule");
        assert!(ha.get(HaKind::Rule, "ctrt").await.expect("an answer").is_some());
        assert!(ha.ensure_absent(HaKind::Rule, "ctrt").await.expect("it goes"));
    }
    assert!(ha.ensure_absent(HaKind::Resource, &sid).await.expect("it goes"));
    gone(ha.delete(HaKind::Resource, &sid).await);
    assert_eq!(ha.get(HaKind::Resource, &sid).await.expect("an answer"), None);
    no_machine(place).await;
}

async fn files(place: &Place) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("ctrt.iso");
    fs_err::write(&path, vec![7; 70_000]).expect("a file");
    let storage = place.client.storage(&place.node);
    let volid = format!("{}:iso/ctrt.iso", place.files);
    let there = storage.find(&place.files, "iso", "ctrt.iso").await.expect("content");
    if there.is_some() {
        storage.delete(&place.files, &volid).await.expect("it goes");
    }
    let upload = Upload { content: "iso", filename: "ctrt.iso", path: &path, sha256: None };
    let done = storage.upload(&place.files, upload, &mut |_, _| {}).await.expect("an upload");
    assert_eq!((done.volid.as_str(), done.size), (volid.as_str(), 70_000));
    let found = storage.find(&place.files, "iso", "ctrt.iso").await.expect("content");
    assert_eq!(found.and_then(|file| file.size), Some(70_000));
    storage.delete(&place.files, &volid).await.expect("it goes");
    assert!(storage.find(&place.files, "iso", "ctrt.iso").await.expect("content").is_none());
    let unknown = storage.status("ctrt-none").await.expect_err("no such storage");
    assert_eq!(unknown.kind(), ErrorKind::NotFound, "{unknown}");
}

fn objects(mtu: &str) -> Vec<Object> {
    let object = |kind, id: &str, vnet: Option<&str>, fields: &[(&str, &str)]| Object {
        kind,
        id: id.to_owned(),
        vnet: vnet.map(str::to_owned),
        fields: fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    };
    vec![
        object(Kind::Zone, "ctrtz", None, &[("type", "simple"), ("mtu", mtu)]),
        object(Kind::Vnet, "ctrtv", None, &[("zone", "ctrtz"), ("alias", "of a test")]),
        object(
            Kind::Subnet,
            "ctrtz-10.254.253.0-24",
            Some("ctrtv"),
            &[("gateway", "10.254.253.1")],
        ),
    ]
}

/// Networks are taken back by a rollback, or applied and removed where that is allowed.
async fn networks(place: &Place) {
    let sdn = place.client.sdn();
    let options = SdnOptions { nodes: vec![place.node.clone()], ..SdnOptions::default() };
    let ours = |seen: SdnObserved| -> Vec<Object> {
        seen.objects.into_iter().filter(|object| object.id.starts_with("ctrt")).collect()
    };
    assert_eq!(ours(sdn.observe().await.expect("networks")), [], "left by an earlier run");
    let plan = diff(&objects("1450"), &sdn.observe().await.expect("networks"), |_| true, false);
    assert_eq!(plan.changes.len(), 3);
    if place.client.release().await.expect("a release").has_sdn_lock() {
        let token = sdn.lock().await.expect("a lock");
        for change in &plan.changes {
            sdn.save(change, Some(&token)).await.expect("it is saved");
        }
        let waiting = sdn.observe().await.expect("networks").pending;
        assert_eq!(waiting.get("zone ctrtz").map(String::as_str), Some("new"), "{waiting:?}");
        let without = plan.changes.first().expect("a change");
        let refused = sdn.save(without, None).await.expect_err("it is locked");
        assert_eq!(refused.kind(), ErrorKind::Busy, "{refused}");
        sdn.rollback(&token).await.expect("it is taken back");
        assert_eq!(ours(sdn.observe().await.expect("networks")), []);
    }
    if !place.apply {
        return;
    }
    for mtu in ["1450", "1400"] {
        let seen = sdn.observe().await.expect("networks");
        let plan = diff(&objects(mtu), &seen, |_| true, false);
        sdn.carry_out(&plan, &options).await.expect("it is applied");
        let seen = sdn.observe().await.expect("networks");
        assert!(diff(&objects(mtu), &seen, |_| true, false).is_empty());
    }
    let seen = sdn.observe().await.expect("networks");
    let plan = removal(&objects("1400"), &seen, |_| true);
    sdn.carry_out(&plan, &options).await.expect("they are removed");
    assert_eq!(ours(sdn.observe().await.expect("networks")), []);
}

/// Nothing here is in force: groups and sets that no rule of a node names.
async fn firewall(place: &Place) {
    let client = &place.client;
    let cluster = client.firewall(FirewallLevel::Cluster);
    let group = client.firewall(FirewallLevel::Group("ctrt".to_owned()));
    if cluster.groups().await.expect("groups").iter().any(|row| row.name == "ctrt") {
        group.ensure_rules(&[]).await.expect("rules");
        cluster.delete_group("ctrt").await.expect("it goes");
    }
    cluster.create_group("ctrt", Some("of a test")).await.expect("a group");
    let rule = |port: &str| Rule::new("in", "ACCEPT").with("proto", "tcp").with("dport", port);
    let first = [rule("22"), Rule::new("in", "ACCEPT").with("macro", "ssh"), rule("443")];
    group.ensure_rules(&first).await.expect("rules");
    assert_eq!(group.ensure_rules(&first).await.expect("rules"), []);
    let second = [rule("443"), rule("22").with("source", "10.254.253.0/24"), rule("8006")];
    group.ensure_rules(&second).await.expect("rules");
    assert_eq!(group.rules().await.expect("rules").rules, second);
    let wrong = group.ensure_rules(&[Rule::new("in", "ACCEPT").with("dport", "22")]).await;
    assert_eq!(wrong.expect_err("a port without a protocol").kind(), ErrorKind::Invalid);
    group.ensure_rules(&[]).await.expect("rules");
    cluster.delete_group("ctrt").await.expect("it goes");

    gone(cluster.delete_set("ctrt", true).await);
    let set = |nets: &[&str]| -> BTreeMap<String, Entry> {
        nets.iter().map(|net| ((*net).to_owned(), Entry::default())).collect()
    };
    cluster.ensure_set("ctrt", &set(&["10.254.1.0/24", "10.254.2.7/24"])).await.expect("a set");
    let done = cluster.ensure_set("ctrt", &set(&["10.254.2.0/24", "fd00::1/128"])).await;
    assert_eq!(done.expect("a set").len(), 2);
    cluster.delete_set("ctrt", false).await.expect_err("it is not empty");
    cluster.delete_set("ctrt", true).await.expect("it goes");
    gone(cluster.delete_alias("ctrt").await);
    cluster.create_alias("ctrt", "10.254.0.0/16", None).await.expect("an alias");
    let again = cluster.create_alias("ctrt", "10.254.0.0/16", None).await.expect_err("it exists");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
    cluster.delete_alias("ctrt").await.expect("it goes");
}

async fn mappings(place: &Place) {
    let pci = format!("node={},path=0000:00:1f.9,id=8086:ffff", place.node);
    let usb = format!("node={},id=1a86:ffff", place.node);
    for (mappings, entry, paths) in [
        (place.client.pci_mappings(), &pci, &["0000:00:1f.9"][..]),
        (place.client.usb_mappings(), &usb, &[]),
    ] {
        mappings.delete("ctrt").await.expect("one that is not there is no error");
        mappings.create("ctrt", &[entry], None).await.expect("a name");
        let again = mappings.create("ctrt", &[entry], None).await.expect_err("it exists");
        assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
        let found = mappings.get("ctrt").await.expect("an answer").expect("a name");
        assert_eq!((found.map.len(), found.paths_of(&place.node).as_slice()), (1, paths));
        let map = [entry.clone()].into();
        let described = |text: &str| MappingState {
            id: "ctrt".into(),
            map: BTreeSet::clone(&map),
            description: text.into(),
            ..MappingState::default()
        };
        for (text, changes) in [("", 0), ("of a test", 1), ("of a test", 0), ("", 1), ("", 0)] {
            let done = mappings.ensure(&described(text)).await.expect("a name");
            assert_eq!(done.len(), changes, "{done:?}");
        }
        assert!(mappings.ensure_absent("ctrt").await.expect("it goes"));
        assert!(mappings.get("ctrt").await.expect("an answer").is_none());
    }
}

async fn access(place: &Place) {
    let access = place.client.access();
    // of one that is not there the server says that it may not be removed
    if access.users().await.expect("users").iter().any(|row| row.userid == "ctrt@pve") {
        access.delete_user("ctrt@pve").await.expect("it goes");
    }
    gone(access.delete_role("ctrt").await);
    gone(access.delete_group("ctrt").await);
    access.create_role("ctrt", &["VM.Audit"]).await.expect("a role");
    access.create_group("ctrt", "of a test").await.expect("a group");
    assert!(access.groups().await.expect("groups").iter().any(|row| row.groupid == "ctrt"));
    let keys = [("comment", "of a test"), ("groups", "ctrt")];
    access.create_user("ctrt@pve", &keys).await.expect("a user");
    let again = access.create_user("ctrt@pve", &keys).await.expect_err("it exists");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
    access.set_user("ctrt@pve", &[("email", "ctrt@example.com")]).await.expect("it is changed");
    let mut user = UserState::new("ctrt@pve");
    (user.comment, user.groups) = ("another".into(), ["ctrt".to_owned()].into());
    assert_eq!(access.ensure_user(&user, None).await.expect("a user").len(), 1);
    assert_eq!(access.ensure_user(&user, None).await.expect("a user"), []);
    let privileges = ["VM.Audit".to_owned(), "VM.PowerMgmt".to_owned()].into();
    let role = RoleState { id: "ctrt".into(), privileges };
    assert_eq!(access.ensure_role(&role).await.expect("a role").len(), 1);
    assert_eq!(access.ensure_role(&role).await.expect("a role"), []);
    let token = |privsep: bool, comment: &str| TokenState {
        user: "ctrt@pve".into(),
        name: "one".into(),
        privsep,
        expire: 0,
        comment: comment.into(),
    };
    let made = access.ensure_token(&token(true, "x"), LostSecret::Tell).await.expect("a token");
    assert_eq!(made.made.expect("it is new").id, "ctrt@pve!one");
    let tokens = access.tokens("ctrt@pve").await.expect("tokens");
    assert!(tokens.iter().any(|row| row.tokenid == "one" && row.privsep), "{tokens:?}");
    let changed = access.ensure_token(&token(false, ""), LostSecret::Tell).await.expect("a token");
    assert_eq!((changed.made.is_none(), changed.changes.len()), (true, 1));
    let same = access.ensure_token(&token(false, ""), LostSecret::Tell).await.expect("a token");
    assert_eq!(same.changes, []);
    if place.client.release().await.expect("a release").renews_tokens() {
        access.renew_secret("ctrt@pve", "one").await.expect("another secret");
    }
    let path = format!("/vms/{}", place.vmid);
    let grant = AclRow::new(path.as_str(), "user", "ctrt@pve", "ctrt".to_owned(), false);
    access.grant(&grant, false).await.expect("a grant");
    let rights = access.permissions(&[("userid", "ctrt@pve")]).await.expect("rights");
    assert!(rights.has(&path, "VM.Audit"), "{rights:?}");
    access.grant(&grant, true).await.expect("it goes");
    assert!(access.ensure_no_token("ctrt@pve", "one").await.expect("it goes"));
    assert!(access.ensure_no_user("ctrt@pve").await.expect("it goes"));
    assert!(access.ensure_no_group("ctrt").await.expect("it goes"));
    assert!(access.ensure_no_role("ctrt").await.expect("it goes"));
    assert!(!access.ensure_no_role("ctrt").await.expect("it is gone"));
}
