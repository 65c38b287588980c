use super::*;

fn desired() -> VmDesired {
    let text = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    VmDesired {
        vmid: VmId::try_from(101_011).unwrap(),
        node: "pve01".into(),
        uuid: "11111111-2222-3333-4444-555555555555".into(),
        tags: ["clusterctl".to_owned(), "cluster-101".to_owned()].into(),
        keys: text(&[
            ("name", "solcp01"),
            ("cores", "4"),
            ("net0", "virtio=02:00:00:00:00:01,bridge=vnet101,mtu=1"),
            ("ostype", "l26"),
            ("boot", "order=scsi0;ide0"),
        ]),
        absent: ["hostpci0".to_owned()].into(),
        disks: vec![Disk {
            key: "scsi0".into(),
            storage: "rbd".into(),
            size_gib: 40,
            options: text(&[("discard", "on"), ("iothread", "1")]),
        }],
        efi_storage: Some("rbd".into()),
        cloud_init: Some(("ide2".into(), "rbd".into())),
        medium: Some(("ide0".into(), "local:iso/talos.iso".into())),
    }
}

/// What the server shows of a machine that was made with the parameters.
fn made(desired: &VmDesired) -> VmObserved {
    let mut config: BTreeMap<String, String> = desired.create_params().into_iter().collect();
    config.insert("net0".into(), "virtio=02:00:00:00:00:01,bridge=vnet101,mtu=1".into());
    config.insert("tags".into(), "cluster-101;clusterctl;mine".into());
    config.insert("scsi0".into(), "rbd:vm-101011-disk-1,discard=on,iothread=1,size=40G".into());
    config.insert("ide2".into(), "rbd:vm-101011-cloudinit,media=cdrom,size=4M".into());
    config.insert("efidisk0".into(), "rbd:vm-101011-disk-0,efitype=4m,size=1M".into());
    VmObserved {
        vmid: desired.vmid,
        node: "pve02".into(),
        running: true,
        lock: None,
        config,
        pending: BTreeSet::new(),
    }
}

#[test]
fn what_waits_for_a_restart_is_not_there_yet() {
    let desired = desired();
    let mut observed = made(&desired);
    observed.running = true;
    observed.pending = ["cores".to_owned(), "audio0".to_owned()].into();
    let found = diff(&desired, &observed);
    assert_eq!(found.waiting, ["cores"], "what is no matter of the description stays out");
    assert!(found.changes.is_empty() && !found.is_empty());
    assert_eq!(found.impact(), Some(Impact::StopStart));
    // What changes anyway is told once; a machine that is off waits for nothing.
    observed.config.insert("cores".into(), "2".into());
    let found = diff(&desired, &observed);
    assert_eq!((found.changes.len(), found.waiting.len()), (1, 0));
    observed.running = false;
    observed.config.insert("cores".into(), "4".into());
    assert!(diff(&desired, &observed).is_empty());
}

#[test]
fn a_machine_that_was_made_needs_no_change() {
    let desired = desired();
    let observed = made(&desired);
    assert_eq!(diff(&desired, &observed), VmDiff::default());
    assert_eq!(desired.owns(&observed), Ok(()));
}

#[test]
fn changes_are_told_with_what_they_cost() {
    let (mut desired, observed) = (desired(), made(&desired()));
    desired.keys.insert("cores".into(), "6".into());
    desired.keys.insert("name".into(), "other".into());
    desired.disks.iter_mut().for_each(|disk| disk.size_gib = 60);
    let found = diff(&desired, &observed);
    let texts: Vec<String> = found.changes.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["cores: 4 -> 6", "name: solcp01 -> other", "scsi0: 40 GiB -> 60 GiB"]);
    assert_eq!(found.impact(), Some(Impact::StopStart));
    assert!(found.refused.is_empty());
}

#[test]
fn a_card_without_an_address_keeps_the_one_it_got() {
    let (mut desired, observed) = (desired(), made(&desired()));
    desired.keys.insert("net0".into(), "virtio,bridge=vnet101,mtu=1".into());
    assert_eq!(diff(&desired, &observed), VmDiff::default());
    desired.keys.insert("net0".into(), "virtio,bridge=vnet102,mtu=1".into());
    let found = diff(&desired, &observed);
    let [VmChange::Set { after, .. }] = found.changes.as_slice() else {
        panic!("{found:?}");
    };
    assert!(after.contains("02:00:00:00:00:01"), "{after}");
}

#[test]
fn a_disk_never_shrinks_and_is_never_moved() {
    let (mut desired, observed) = (desired(), made(&desired()));
    for disk in &mut desired.disks {
        disk.size_gib = 20;
        disk.storage = "local-lvm".into();
    }
    let found = diff(&desired, &observed);
    assert!(found.changes.is_empty());
    assert_eq!(found.refused.len(), 2);
}

#[test]
fn options_that_the_tree_does_not_know_stay() {
    let (desired, mut observed) = (desired(), made(&desired()));
    observed.config.insert(
        "scsi0".into(),
        "rbd:vm-101011-disk-1,cache=writeback,discard=ignore,iothread=1,size=40G".into(),
    );
    let found = diff(&desired, &observed);
    let [VmChange::Set { after, .. }] = found.changes.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(after, "rbd:vm-101011-disk-1,cache=writeback,discard=on,iothread=1");
}

#[test]
fn a_machine_of_somebody_else_is_told() {
    let (desired, mut observed) = (desired(), made(&desired()));
    observed.config.insert("tags".into(), "cluster-101".into());
    let reason = desired.owns(&observed).unwrap_err().reason;
    assert!(reason.contains("lacks the tag clusterctl"), "{reason}");
    observed.config.insert("smbios1".into(), "uuid=0".into());
    assert!(desired.owns(&observed).is_err());
}
