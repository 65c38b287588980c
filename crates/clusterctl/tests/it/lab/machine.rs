//! Machines of the lab: which become nodes, and why others do not.

use std::path::Path;
use std::time::{Duration, Instant};

use clusterctl::lab::{Down, GuestStatus, Lab};
use clusterctl::spec::site::Node;
use imagefactory::sim::lab_iso::{LabMark, render};
use imagefactory::{FactoryClient, Schematic, TransportOptions, Trust as ImageTrust};
use proxmox_client::{Client, NodeName, Upload, VmId};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use talos_client::{ClientConfig as NodeConfig, Dialer};

use super::{PATIENCE, Tree, proxmox};

fn pve01() -> NodeName {
    "pve01".parse().unwrap()
}

fn vm_id(number: u32) -> VmId {
    number.try_into().unwrap()
}

async fn upload(client: &Client, dir: &Path, name: &str, bytes: &[u8]) -> String {
    let path = dir.join(name);
    fs_err::write(&path, bytes).unwrap();
    let upload = Upload { content: "iso", filename: name, path: &path, sha256: None };
    client.storage(&pve01()).upload("local", upload, &mut |_, _| {}).await.unwrap().volid
}

/// The image that the lab's own factory makes for a tree.
async fn image(lab: &Lab, dir: &Path) -> Vec<u8> {
    let options = TransportOptions {
        trust: ImageTrust::Authorities(lab.ca_pem().as_bytes().to_vec()),
        dial: lab.factory_dial(),
        ..TransportOptions::default()
    };
    let url = "https://factory.talos.dev".parse().unwrap();
    let factory = FactoryClient::new(url, options).unwrap();
    let made = factory.create_schematic(&Schematic::default()).await.unwrap();
    let wanted = imagefactory::Wanted {
        factory: factory.url(),
        schematic: &made.id,
        version: &imagefactory::talos_version("v1.11.5").unwrap(),
        platform: "nocloud",
        architecture: imagefactory::Architecture::Amd64,
        prefix: "talos",
    };
    let asset = imagefactory::desired(&wanted).unwrap().iso;
    let path = dir.join("download.iso");
    let any = imagefactory::Expected::default();
    factory.download(&asset, &path, any, &mut |_, _| {}).await.unwrap();
    fs_err::read(path).unwrap()
}

/// A machine as a tree wants it.
async fn create(client: &Client, node: &Node, iso: &str, other: &[(&str, &str)]) {
    let (v6, v4) = (node.ipv6.unwrap(), node.ipv4.unwrap());
    let net = format!("virtio={},bridge=vmbr0,tag=101", node.mac);
    let smbios = format!("uuid={}", node.uuid);
    let medium = format!("{iso},media=cdrom");
    let addresses = format!("ip={v4},gw=10.101.0.254,ip6={v6},gw6=fd00:101::fffe");
    let mut keys = vec![
        ("name", node.name.as_str()),
        ("bios", "ovmf"),
        ("efidisk0", "rbd-vm:1,efitype=4m,pre-enrolled-keys=0"),
        ("machine", "q35"),
        ("cpu", "host"),
        ("cores", "2"),
        ("memory", "4096"),
        ("ostype", "l26"),
        ("scsihw", "virtio-scsi-single"),
        ("scsi0", "rbd-vm:20,serial=sys"),
        ("ide0", medium.as_str()),
        ("ide2", "rbd-vm:cloudinit"),
        ("boot", "order=scsi0;ide0"),
        ("net0", net.as_str()),
        ("smbios1", smbios.as_str()),
        ("ipconfig0", addresses.as_str()),
    ];
    for (key, value) in other {
        keys.retain(|(known, _)| known != key);
        if !value.is_empty() {
            keys.push((key, value));
        }
    }
    let place = pve01();
    let (qemu, id) = (client.qemu(&place), vm_id(node.vmid));
    let made = qemu.create(id, &keys).await.unwrap();
    client.tasks().wait(&made, PATIENCE).await.unwrap();
    let started = qemu.power(id, "start", &[]).await.unwrap();
    client.tasks().wait(&started, PATIENCE).await.unwrap();
}

fn guest(lab: &Lab, vmid: u32) -> GuestStatus {
    let guests = lab.status().unwrap().guests;
    guests.into_iter().find(|guest| guest.vmid == vmid).unwrap()
}

async fn until(
    lab: &Lab,
    vmid: u32,
    what: &str,
    test: impl Fn(&GuestStatus) -> bool,
) -> GuestStatus {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = guest(lab, vmid);
        if test(&now) {
            return now;
        }
        assert!(Instant::now() < end, "never {what}: {now:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The identity that a machine tells, once it does.
async fn answers(lab: &Lab, node: &Node) -> uuid::Uuid {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(uuid) = reached(lab, node).await {
            return uuid;
        }
        assert!(Instant::now() < end, "{} never answers", node.name);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn reached(lab: &Lab, node: &Node) -> Option<uuid::Uuid> {
    let address = *node.addresses().first().unwrap();
    let config = NodeConfig::maintenance(address).dialer(Dialer::mapped(lab.talos_dial()));
    let client = talos_client::Client::connect(config).await.ok()?;
    client.system_uuid().await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_with_the_right_image_and_drive_becomes_a_node_and_others_do_not() {
    let tree = Tree::new();
    let (lab, site) = (tree.lab(), tree.site());
    let client = proxmox(&lab);
    let files = tempfile::tempdir().unwrap();
    let [first, second] = site.clusters[0].nodes.as_slice() else { panic!("two nodes") };

    let good = image(&lab, files.path()).await;
    let good = upload(&client, files.path(), "talos.iso", &good).await;
    let empty = upload(&client, files.path(), "other.iso", &vec![7; 1 << 17]).await;

    create(&client, first, &good, &[]).await;
    let up = until(&lab, first.vmid, "in maintenance", |g| g.stage == "maintenance").await;
    assert_eq!(up.problem, None);
    assert_eq!(answers(&lab, first).await, first.uuid, "{up:?}");

    // The same machine with an image that is none.
    create(&client, second, &empty, &[]).await;
    let down = until(&lab, second.vmid, "told", |g| g.problem.is_some()).await;
    assert_eq!(down.stage, "no system");
    assert!(down.problem.as_deref().unwrap().contains("no lab image"), "{down:?}");
    assert_eq!(reached(&lab, second).await, None);

    // With the right image, and a drive of another kind: it boots and has no address.
    let (place, id) = (pve01(), vm_id(second.vmid));
    let stop = client.qemu(&place).power(id, "stop", &[]).await.unwrap();
    client.tasks().wait(&stop, PATIENCE).await.unwrap();
    until(&lab, second.vmid, "off", |g| g.stage == "off").await;
    let gone = client.qemu(&place).destroy(id).await.unwrap();
    client.tasks().wait(&gone, PATIENCE).await.unwrap();
    create(&client, second, &good, &[("citype", "configdrive2")]).await;
    let lost = until(&lab, second.vmid, "in maintenance", |g| g.stage == "maintenance").await;
    assert!(lost.addresses.is_empty(), "{lost:?}");
    assert_eq!(reached(&lab, second).await, None);

    // On another network it has its addresses, and nobody reaches them.
    let stop = client.qemu(&place).power(id, "stop", &[]).await.unwrap();
    client.tasks().wait(&stop, PATIENCE).await.unwrap();
    let net = format!("virtio={},bridge=vmbr0,tag=999", second.mac);
    client.qemu(&place).update(id, &[("net0", &net), ("citype", "nocloud")]).await.unwrap();
    let start = client.qemu(&place).power(id, "start", &[]).await.unwrap();
    client.tasks().wait(&start, PATIENCE).await.unwrap();
    let is_up = |guest: &GuestStatus| guest.stage == "maintenance" && !guest.addresses.is_empty();
    until(&lab, second.vmid, "addressed", is_up).await;
    assert_eq!(reached(&lab, second).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_a_real_machine_from_booting_keeps_this_one() {
    let tree = Tree::new();
    let (lab, site) = (tree.lab(), tree.site());
    let client = proxmox(&lab);
    let files = tempfile::tempdir().unwrap();
    let [first, second] = site.clusters[0].nodes.as_slice() else { panic!("two nodes") };
    let mark = |architecture: &str| LabMark {
        talos: "v1.11.5".into(),
        schematic: "ab".into(),
        platform: "nocloud".into(),
        architecture: architecture.into(),
    };
    let good = render(&mark("amd64"), 1 << 17);
    let good = upload(&client, files.path(), "amd64.iso", &good).await;
    let other = render(&mark("arm64"), 1 << 17);
    let other = upload(&client, files.path(), "arm64.iso", &other).await;

    // Proxmox' own default of a processor.
    create(&client, first, &good, &[("cpu", "")]).await;
    let told = until(&lab, first.vmid, "told", |g| g.problem.is_some()).await;
    assert!(told.problem.as_deref().unwrap().contains("x86-64-v2"), "{told:?}");
    create(&client, second, &other, &[]).await;
    let told = until(&lab, second.vmid, "told", |g| g.problem.is_some()).await;
    assert!(told.problem.as_deref().unwrap().contains("arm64"), "{told:?}");
    assert_eq!(reached(&lab, second).await, None);

    // Repaired and started again it is a node.
    let (place, id) = (pve01(), vm_id(first.vmid));
    let stop = client.qemu(&place).power(id, "stop", &[]).await.unwrap();
    client.tasks().wait(&stop, PATIENCE).await.unwrap();
    client.qemu(&place).update(id, &[("cpu", "x86-64-v2-AES")]).await.unwrap();
    let start = client.qemu(&place).power(id, "start", &[]).await.unwrap();
    client.tasks().wait(&start, PATIENCE).await.unwrap();
    let up = until(&lab, first.vmid, "in maintenance", |g| g.stage == "maintenance").await;
    assert_eq!(up.problem, None);
    assert_eq!(answers(&lab, first).await, first.uuid);

    // A second machine with the same identity is not mistaken for the first.
    let twin = Node { vmid: 9999, name: "twin".into(), ..first.clone() };
    create(&client, &twin, &good, &[]).await;
    let told = until(&lab, 9999, "told", |g| g.problem.is_some()).await;
    assert!(told.problem.as_deref().unwrap().contains(&first.vmid.to_string()), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_state_ports_and_credentials() {
    let tree = Tree::new();
    let (lab, site) = (tree.lab(), tree.site());
    let files = tempfile::tempdir().unwrap();
    let node = &site.clusters[0].nodes[0];
    let client = proxmox(&lab);
    let iso = image(&lab, files.path()).await;
    let iso = upload(&client, files.path(), "talos.iso", &iso).await;
    create(&client, node, &iso, &[]).await;
    until(&lab, node.vmid, "in maintenance", |g| g.stage == "maintenance").await;
    let before = lab.snapshot().unwrap();

    assert!(matches!(Lab::down(&tree.root()).unwrap(), Down::Ended(_)));
    assert!(Lab::running(&tree.root()).unwrap().is_none());
    let again = tree.lab();
    assert!(again.is_new());
    assert_eq!(again.proxmox_endpoint(), lab.proxmox_endpoint());
    assert_eq!(again.proxmox_token().expose_secret(), lab.proxmox_token().expose_secret());
    assert_eq!(again.ca_pem(), lab.ca_pem());
    assert_eq!(again.talos_dial(), lab.talos_dial());
    assert_eq!(again.factory_dial(), lab.factory_dial());
    until(&again, node.vmid, "in maintenance", |g| g.stage == "maintenance").await;
    assert_eq!(reached(&again, node).await, Some(node.uuid));
    let after = again.snapshot().unwrap();
    for part in ["/pve/vms", "/pve/volumes", "/pve/storages"] {
        let strip = |value: &Value| value.pointer(part).cloned().unwrap();
        assert_eq!(without_times(strip(&before)), without_times(strip(&after)), "{part}");
    }
}

/// A value without what counts seconds.
fn without_times(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            for key in ["ctime", "since", "created_ms"] {
                map.remove(key);
            }
            for (_, child) in map.iter_mut() {
                *child = without_times(child.take());
            }
        }
        Value::Array(list) => {
            for child in list {
                *child = without_times(child.take());
            }
        }
        _ => {}
    }
    value
}
