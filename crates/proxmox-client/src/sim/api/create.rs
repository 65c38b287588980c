//! Creating and destroying machines.

use std::collections::BTreeMap;

use rand::Rng as _;
use serde_json::Value;

use super::Row;
use super::disk::{self, Maker};
use super::qemu::{absent, existing, free_of_lock};
use super::volume;
use super::{ha, jobs};
use crate::sim::auth::percent_encoding_lite::decode;
use crate::sim::drive;
use crate::sim::event::GuestEvent;
use crate::sim::fail::Fail;
use crate::sim::guest;
use crate::sim::reply::Call;
use crate::sim::server::Inner;
use crate::sim::state::{State, Vm};
use crate::sim::task::once;

pub(super) const ROUTES: &[Row] =
    &[("POST", "/nodes/{node}/qemu", create), ("DELETE", "/nodes/{node}/qemu/{vmid}", destroy)];

const CONTROL: [&str; 20] = [
    "node",
    "vmid",
    "start",
    "pool",
    "storage",
    "archive",
    "force",
    "unique",
    "live-restore",
    "bwlimit",
    "ha-managed",
    "import-working-storage",
    "delete",
    "revert",
    "digest",
    "skiplock",
    "background_delay",
    "migratedfrom",
    "cdrom",
    "export",
];
const ROOT_ONLY: [&str; 12] = [
    "affinity",
    "amd-sev",
    "arch",
    "args",
    "hookscript",
    "hugepages",
    "intel-tdx",
    "ivshmem",
    "keephugepages",
    "lock",
    "spice_enhancements",
    "vmgenid",
];

/// The privilege that a key of a configuration needs.
fn privilege(key: &str) -> &'static str {
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    match stem {
        "cpu" | "cores" | "sockets" | "vcpus" | "cpulimit" | "cpuunits" | "numa" => "VM.Config.CPU",
        "memory" | "balloon" | "shares" => "VM.Config.Memory",
        "net" => "VM.Config.Network",
        "ciuser" | "cipassword" | "citype" | "ciupgrade" | "sshkeys" | "nameserver"
        | "searchdomain" | "ipconfig" | "cicustom" => "VM.Config.Cloudinit",
        "machine" | "scsihw" | "vga" | "serial" | "hostpci" | "usb" | "rng" | "watchdog"
        | "smbios" | "audio" | "tablet" | "acpi" | "kvm" | "hotplug" => "VM.Config.HWType",
        "ide" | "sata" | "scsi" | "virtio" | "efidisk" | "tpmstate" | "unused" | "boot"
        | "bootdisk" | "vmstatestorage" => "VM.Config.Disk",
        _ => "VM.Config.Options",
    }
}

/// Keys of a configuration in a request, in order.
pub(super) fn settings(call: &Call<'_>) -> BTreeMap<String, String> {
    let texts = call.params.iter().filter(|(key, _)| !CONTROL.contains(&key.as_str()));
    texts.filter_map(|(key, value)| Some((key.clone(), value.as_text()?.to_owned()))).collect()
}

/// Checks values that only root may set, privileges, and what a schema cannot say.
///
/// # Errors
/// As the server refuses it.
pub(super) fn check(
    call: &Call<'_>,
    vmid: u32,
    wanted: &BTreeMap<String, String>,
) -> Result<(), Fail> {
    let root = call.user.user == "root@pam" && call.user.token.is_none();
    for (key, text) in wanted {
        let of_root = ROOT_ONLY.contains(&key.as_str()) || key.starts_with("parallel");
        if of_root && !root {
            return Err(Fail::die(format!("only root can set '{key}' config")));
        }
        if key.starts_with("hostpci") || key.starts_with("usb") {
            let device = drive::parse(&call.inner.schema, key, text).unwrap_or_default();
            if !device.contains_key("host") && !device.contains_key("mapping") {
                return Err(Fail::die("either 'host' or 'mapping' must be set."));
            }
            let spice = device.get("host").is_some_and(|host| host.eq_ignore_ascii_case("spice"));
            if !root && device.contains_key("host") && !spice {
                return Err(Fail::die(format!(
                    "only root can set '{key}' config for non-mapped devices"
                )));
            }
            if let Some(name) = device.get("mapping") {
                let kind = if key.starts_with("usb") { "usb" } else { "pci" };
                call.require(&format!("/mapping/{kind}/{name}"), "Mapping.Use")?;
            }
        }
        if key.starts_with("serial") && text.starts_with("/dev/") && !root {
            return Err(Fail::die(format!("only root can set '{key}' config for real devices")));
        }
        if key == "sshkeys" {
            check_keys(text)?;
        }
        if key == "startup" {
            call.require("/", "Sys.Modify")?;
        }
        if let Some(volid) = key.starts_with("unused").then(|| drive::file_of(text)) {
            let (storage, name) = volid.split_once(':').unwrap_or((volid, ""));
            volume::usable(call.state, storage, &call.node)?;
            volume::parse_name(call.state, storage, name)?;
        }
        if drive::is_drive(key) {
            let drive = drive::parse(&call.inner.schema, key, text).unwrap_or_default();
            disk::check(call, key, &drive)?;
        }
        let path = format!("/vms/{vmid}");
        let cdrom = drive::is_drive(key) && drive::is_cdrom(text);
        let needed = if cdrom { "VM.Config.CDROM" } else { privilege(key) };
        if call.state.vms.contains_key(&vmid) {
            call.require(&path, needed)?;
        }
    }
    Ok(())
}

fn check_keys(text: &str) -> Result<(), Fail> {
    let decoded = decode(text, false);
    let kinds = ["ssh-rsa", "ssh-ed25519", "ssh-dss", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    let good = |line: &str| {
        kinds.iter().any(|kind| line.starts_with(kind)) && line.split_whitespace().nth(1).is_some()
    };
    let mut lines =
        decoded.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    if lines.all(good) { Ok(()) } else { Err(Fail::die("SSH public key validation error")) }
}

/// Stores a value in its canonical form; drives are made real elsewhere.
pub(super) fn canonical(inner: &Inner, state: &State, key: &str, text: &str) -> String {
    match key {
        "tags" => {
            let mut tags: Vec<String> =
                crate::sim::schema::split_list(text).iter().map(|tag| tag.to_lowercase()).collect();
            tags.sort();
            tags.dedup();
            if tags.is_empty() { " ".to_owned() } else { tags.join(";") }
        }
        "description" => text.trim_end().to_owned(),
        "vmgenid" if text == "1" => uuid::Uuid::new_v4().to_string(),
        _ if drive::is_net(key) => {
            let mut net = drive::parse(&inner.schema, key, text).unwrap_or_default();
            net.entry("macaddr".to_owned()).or_insert_with(|| random_mac(state));
            drive::print_net(&net)
        }
        _ if text.is_empty() => " ".to_owned(),
        _ => text.to_owned(),
    }
}

fn random_mac(state: &State) -> String {
    let prefix = state
        .datacenter
        .get("mac_prefix")
        .map_or("BC:24:11", String::as_str)
        .trim_end_matches(':')
        .to_owned();
    let mut random = rand::rng();
    let missing = 6usize.saturating_sub(prefix.split(':').count());
    let tail: Vec<String> =
        (0..missing).map(|_| format!("{:02X}", random.random::<u8>())).collect();
    format!("{prefix}:{}", tail.join(":"))
}

/// The boot order when none was given: first disk, first optical drive, first card.
pub(super) fn default_boot(conf: &BTreeMap<String, String>) -> String {
    let limits = [("ide", 4), ("scsi", 31), ("virtio", 16), ("sata", 6)];
    let names: Vec<String> = limits
        .iter()
        .flat_map(|(stem, count)| (0..*count).map(move |number| format!("{stem}{number}")))
        .collect();
    let first = |cdrom: bool| {
        names.iter().find(|name| conf.get(*name).is_some_and(|text| drive::is_cdrom(text) == cdrom))
    };
    let net = (0..32).map(|number| format!("net{number}")).find(|name| conf.contains_key(name));
    let all: Vec<String> =
        first(false).cloned().into_iter().chain(first(true).cloned()).chain(net).collect();
    if all.is_empty() { " ".to_owned() } else { format!("order={}", all.join(";")) }
}

fn create(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vmid = call.vmid();
    let pool = call.get("pool").map(str::to_owned);
    if let Some(pool) = pool.as_ref().filter(|pool| !call.state.pools.contains_key(*pool)) {
        return Err(Fail::denied(&format!("pool '{pool}' does not exist")));
    }
    let by_pool =
        pool.as_ref().is_some_and(|pool| call.may(&format!("/pool/{pool}"), "VM.Allocate"));
    if !by_pool && !call.may(&format!("/vms/{vmid}"), "VM.Allocate") {
        return Err(Fail::denied(""));
    }
    if call.get("archive").is_some() {
        return Err(Fail::perl("Only root can pass arbitrary filesystem paths.", "Storage"));
    }
    if call.flag("ha-managed") {
        call.require("/", "Sys.Console")?;
    }
    let wanted = settings(call);
    check(call, vmid, &wanted)?;
    if let Some(other) = call.state.vms.get(&vmid) {
        let text = format!(
            "unable to create VM {vmid} - VM {vmid} already exists on node '{}'",
            other.node
        );
        return Err(Fail::die(text));
    }
    if let Some(other) = call.state.containers.get(&vmid) {
        let text = format!(
            "unable to create VM {vmid} - CT {vmid} already exists on node '{}'",
            other.node
        );
        return Err(Fail::die(text));
    }
    let conf = BTreeMap::from([("lock".to_owned(), "create".to_owned())]);
    let (node, created_ms) = (call.node.clone(), call.inner.clock.now_ms());
    call.state.vms.insert(vmid, Vm { node: node.clone(), conf, created_ms, ..Vm::default() });
    if let Some(pool) = pool.and_then(|pool| call.state.pools.get_mut(&pool)) {
        pool.vms.insert(vmid);
    }
    let (starting, managed) = (call.flag("start"), call.flag("ha-managed"));
    Ok(call.start(
        "qmcreate",
        &vmid.to_string(),
        Some(vmid),
        once(move |state, inner, number| match build(state, inner, vmid, &node, &wanted) {
            Ok(conf) => {
                if let Some(vm) = state.vms.get_mut(&vmid) {
                    vm.conf = conf;
                }
                if starting && let Err(text) = guest::start(state, inner, vmid) {
                    state.task_log(number, text);
                }
                if managed {
                    let now = inner.clock.now_ms();
                    ha::register(state, vmid, if starting { "started" } else { "stopped" }, now);
                }
                Ok(())
            }
            Err(text) => {
                remove(state, vmid);
                Err(format!("unable to create VM {vmid} - {text}"))
            }
        }),
    ))
}

fn build(
    state: &mut State,
    inner: &Inner,
    vmid: u32,
    node: &str,
    wanted: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut conf = BTreeMap::new();
    let mut maker = Maker { state, inner, vmid, node, made: Vec::new() };
    for (key, text) in wanted {
        if drive::is_drive(key) {
            let parsed = drive::parse(&inner.schema, key, text).unwrap_or_default();
            match maker.drive(key, parsed, wanted) {
                Ok(printed) => conf.insert(key.clone(), printed),
                Err(error) => {
                    maker.undo();
                    return Err(error);
                }
            };
        } else {
            conf.insert(key.clone(), canonical(inner, maker.state, key, text));
        }
    }
    let boot = default_boot(&conf);
    conf.entry("boot".to_owned()).or_insert(boot);
    let random = || uuid::Uuid::new_v4().to_string();
    conf.entry("smbios1".to_owned()).or_insert_with(|| format!("uuid={}", random()));
    if guest::uuid_of(&conf).is_none()
        && let Some(text) = conf.get_mut("smbios1")
    {
        *text = format!("uuid={},{text}", random());
    }
    match conf.get("vmgenid").map(String::as_str) {
        Some("0") => drop(conf.remove("vmgenid")),
        None => drop(conf.insert("vmgenid".to_owned(), random())),
        Some(_) => {}
    }
    conf.insert("meta".to_owned(), format!("creation-qemu=10.1.2,ctime={}", inner.clock.now()));
    Ok(conf)
}

/// Forgets a machine and where it is mentioned.
fn remove(state: &mut State, vmid: u32) {
    state.vms.remove(&vmid);
    state.firewall.vms.remove(&vmid);
    for pool in state.pools.values_mut() {
        pool.vms.remove(&vmid);
    }
    let path = format!("/vms/{vmid}");
    state.acl.retain(|row| row.path != path);
}

/// A disk of a template that linked clones stand on.
fn base_in_use(state: &State, vm: &Vm) -> Option<String> {
    let disks = vm.conf.iter().filter(|(key, _)| drive::is_drive(key));
    disks.map(|(_, text)| drive::file_of(text)).find_map(|volid| {
        let (storage, name) = volid.split_once(':')?;
        let below = format!("{name}/");
        let rows = state.volumes.get(&state.place(storage, &vm.node))?;
        rows.keys().any(|other| other.starts_with(&below)).then(|| volid.to_owned())
    })
}

fn destroy(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vmid = existing(call)?;
    let node = call.node.clone();
    if let Some(vm) = call.state.vms.get(&vmid) {
        if vm.conf.get("protection").is_some_and(|flag| flag == "1") {
            return Err(Fail::die(format!("can't remove VM {vmid} - protection mode enabled")));
        }
        if vm.running.is_some() {
            return Err(Fail::die(format!("VM {vmid} is running - destroy failed")));
        }
    }
    let sid = format!("vm:{vmid}");
    let purge = call.flag("purge");
    if call.state.ha.resources.contains_key(&sid) && !purge {
        return Err(Fail::die(format!(
            "unable to remove VM {vmid} - used in HA resources and purge parameter not set."
        )));
    }
    let sweep = call.flag("destroy-unreferenced-disks");
    Ok(call.start(
        "qmdestroy",
        &vmid.to_string(),
        Some(vmid),
        once(move |state, inner, _| {
            let Some(vm) = state.vms.get(&vmid).cloned() else { return Err(absent(vmid, &node)) };
            free_of_lock(&vm)?;
            if vm.running.is_some() {
                return Err(format!("VM {vmid} is running - destroy failed"));
            }
            if let Some(base) = base_in_use(state, &vm) {
                return Err(format!("base volume '{base}' is still in use by linked cloned"));
            }
            if purge {
                ha::purge(state, &sid);
                jobs::purge(state, vmid);
            }
            for (key, text) in vm.conf.iter().chain(&vm.pending) {
                let owned = drive::is_drive(key) || key.starts_with("unused");
                let volid = drive::file_of(text).to_owned();
                let own =
                    state.volume(&volid, &node).is_some_and(|volume| volume.vmid == Some(vmid));
                if owned && own {
                    disk::destroy(state, inner, &volid, &node);
                }
            }
            if sweep {
                let here = |place: &str| place.split_once('@').is_none_or(|(_, own)| own == node);
                for (_, rows) in state.volumes.iter_mut().filter(|(place, _)| here(place)) {
                    rows.retain(|_, volume| {
                        volume.vmid != Some(vmid) || volume.content != "images"
                    });
                }
            }
            remove(state, vmid);
            drop(inner.events.send(GuestEvent::Destroy { node, vmid }));
            Ok(())
        }),
    ))
}
