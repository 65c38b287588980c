//! Disks of machines: allocation, import, detach, resize, unlink.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Row;
use super::qemu::{absent, existing};
use super::volume::{self, image, path_of};
use crate::sim::drive::{self, Drive};
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::server::Inner;
use crate::sim::state::State;
use crate::sim::task::once;
use crate::sim::upload;

pub(super) const ROUTES: &[Row] = &[
    ("PUT", "/nodes/{node}/qemu/{vmid}/resize", resize),
    ("PUT", "/nodes/{node}/qemu/{vmid}/unlink", unlink),
];

/// The size of `STORE:NUMBER`, in GiB with decimals.
fn new_size(file: &str) -> Option<(&str, u64)> {
    let (storage, number) = file.split_once(':')?;
    let plain =
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let bytes = drive::parse_size(&format!("{number}G")).filter(|_| plain)?;
    Some((storage, bytes.div_ceil(1024) * 1024))
}

/// Checks a drive of a request before anything is done.
///
/// # Errors
/// 400 on the key, or 500 about its storage.
pub(super) fn check(call: &Call<'_>, key: &str, drive: &Drive) -> Result<(), Fail> {
    let file = drive.get("file").map(String::as_str).unwrap_or_default();
    if matches!(file, "none" | "cdrom") {
        return Ok(());
    }
    let root = call.user.user == "root@pam" && call.user.token.is_none();
    let source = drive.get("import-from").map(String::as_str);
    if file.starts_with('/') || source.is_some_and(|source| source.starts_with('/')) {
        return if root {
            Ok(())
        } else {
            Err(Fail::perl("Only root can pass arbitrary filesystem paths.", "Storage"))
        };
    }
    let (storage, name) = file.split_once(':').unwrap_or((file, ""));
    volume::usable(call.state, storage, &call.node)?;
    let media = drive.get("media").is_some_and(|media| media == "cdrom");
    let path = format!("/storage/{storage}");
    if let Some(source) = source {
        if new_size(file).is_none_or(|(_, size)| size != 0) {
            let text =
                "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>";
            return Err(Fail::param(key, text));
        }
        let (store, name) = source.split_once(':').unwrap_or((source, ""));
        volume::usable(call.state, store, &call.node)?;
        let kind = volume::parse_name(call.state, store, name)?;
        if !matches!(kind.as_str(), "images" | "import") {
            return Err(Fail::param(
                key,
                format!("{source} has wrong type '{kind}' - needs to be 'images' or 'import'"),
            ));
        }
        return call.require_any(&path, &["Datastore.AllocateSpace"]);
    }
    if name == "cloudinit" || new_size(file).is_some() {
        return call.require_any(&path, &["Datastore.AllocateSpace"]);
    }
    let kind = volume::parse_name(call.state, storage, name)?;
    if kind == "iso" && !media {
        return Err(Fail::param(key, "explicit 'media=cdrom' is required for iso images"));
    }
    call.require_any(&path, &["Datastore.Audit", "Datastore.AllocateSpace"])
}

/// What is needed to make a drive real.
pub(super) struct Maker<'a> {
    pub(super) state: &'a mut State,
    pub(super) inner: &'a Inner,
    pub(super) vmid: u32,
    pub(super) node: &'a str,
    /// Volumes made so far.
    pub(super) made: Vec<String>,
}

impl Maker<'_> {
    fn free_name(&self, storage: &str, format: &str) -> String {
        let place = self.state.place(storage, self.node);
        let rows = self.state.volumes.get(&place);
        let vmid = self.vmid;
        let taken = |number: u32| {
            let (plain, stem) =
                (format!("vm-{vmid}-disk-{number}"), format!("{vmid}/vm-{vmid}-disk-{number}."));
            rows.is_some_and(|rows| {
                rows.contains_key(&plain)
                    || rows
                        .range(stem.clone()..)
                        .next()
                        .is_some_and(|(name, _)| name.starts_with(&stem))
            })
        };
        let number = (0..10_000).find(|number| !taken(*number)).unwrap_or(10_000);
        if self.state.is_file_storage(storage) {
            format!("{vmid}/vm-{vmid}-disk-{number}.{format}")
        } else {
            format!("vm-{vmid}-disk-{number}")
        }
    }

    fn add(
        &mut self,
        storage: &str,
        name: &str,
        format: &str,
        size: u64,
    ) -> Result<String, String> {
        if !volume::content_of(self.state, storage).split(',').any(|kind| kind == "images") {
            return Err(format!("storage '{storage}' does not support vm images"));
        }
        let id = self.state.next();
        let volume = image(self.vmid, format, size, self.inner.clock.now(), id);
        volume::store(self.state, self.inner, self.node, storage, (name.to_owned(), volume))?;
        let volid = format!("{storage}:{name}");
        self.made.push(volid.clone());
        Ok(volid)
    }

    /// Allocates, imports or finds the volume of a drive and prints the drive as stored.
    ///
    /// # Errors
    /// The text of the task.
    pub(super) fn drive(
        &mut self,
        key: &str,
        mut drive: Drive,
        others: &BTreeMap<String, String>,
    ) -> Result<String, String> {
        let file = drive.get("file").cloned().unwrap_or_default();
        if matches!(file.as_str(), "none" | "cdrom") || file.starts_with('/') {
            return Ok(drive::print_drive(&drive));
        }
        let (storage, name) = file
            .split_once(':')
            .map(|(storage, name)| (storage.to_owned(), name.to_owned()))
            .unwrap_or_default();
        if name == "cloudinit" {
            return self.cloud_init(key, &storage, others);
        }
        if let Some(source) = drive.remove("import-from") {
            let (size, source_format) = self.source(&source)?;
            let format = drive.remove("format").unwrap_or(source_format);
            let name = self.free_name(&storage, &format);
            let volid = self.add(&storage, &name, &format, size)?;
            drive.insert("file".to_owned(), volid);
            drive.insert("size".to_owned(), drive::print_size(size));
            return Ok(drive::print_drive(&drive));
        }
        if let Some((_, wanted)) = new_size(&file) {
            let size = match key {
                "efidisk0" if drive.get("efitype").is_some_and(|kind| kind == "4m") => 528 << 10,
                "efidisk0" => 128 << 10,
                "tpmstate0" => 4 << 20,
                _ => wanted,
            };
            let format = drive.remove("format").unwrap_or_else(|| "raw".to_owned());
            let name = self.free_name(&storage, &format);
            let volid = self.add(&storage, &name, &format, size)?;
            drive.insert("file".to_owned(), volid);
            drive.insert("size".to_owned(), drive::print_size(size));
            return Ok(drive::print_drive(&drive));
        }
        let Some(volume) = self.state.volume(&file, self.node) else {
            return Err(format!("volume '{file}' does not exist"));
        };
        if drive::is_cloud_init(&file) && self.state.is_file_storage(&storage) {
            drive.remove("size");
        } else {
            drive.insert("size".to_owned(), drive::print_size(volume.size.div_ceil(512) * 512));
        }
        Ok(drive::print_drive(&drive))
    }

    fn source(&self, source: &str) -> Result<(u64, String), String> {
        let (storage, name) = source.split_once(':').unwrap_or(("", source));
        match self.state.volume(source, self.node) {
            Some(volume) => Ok((
                volume.virtual_size.unwrap_or(volume.size).div_ceil(512) * 512,
                volume.format.clone(),
            )),
            None => Err(format!("failed to stat '{}'", path_of(self.state, storage, name))),
        }
    }

    fn cloud_init(
        &mut self,
        key: &str,
        storage: &str,
        others: &BTreeMap<String, String>,
    ) -> Result<String, String> {
        let is_other = |text: &str| {
            let file = drive::file_of(text);
            file.ends_with(":cloudinit") || drive::is_cloud_init(file)
        };
        let other = others
            .iter()
            .find(|(other, text)| *other != key && drive::is_drive(other) && is_other(text));
        if let Some((other, _)) = other {
            return Err(format!("{key} - cloud-init drive is already attached at '{other}'"));
        }
        let vmid = self.vmid;
        let files = self.state.is_file_storage(storage);
        let (name, format) = if files {
            (format!("{vmid}/vm-{vmid}-cloudinit.qcow2"), "qcow2")
        } else {
            (format!("vm-{vmid}-cloudinit"), "raw")
        };
        let volid = format!("{storage}:{name}");
        if self.state.volume(&volid, self.node).is_none() {
            self.add(storage, &name, format, 4 << 20)?;
        }
        let size = if files { "" } else { ",size=4M" };
        Ok(format!("{volid},media=cdrom{size}"))
    }

    /// Removes what was made, after a failure.
    pub(super) fn undo(&mut self) {
        for volid in std::mem::take(&mut self.made) {
            self.state.volume_remove(&volid, self.node);
        }
    }
}

/// Puts a volume aside as `unusedN`.
pub(super) fn keep_unused(conf: &mut BTreeMap<String, String>, volid: &str) {
    let used = |conf: &BTreeMap<String, String>| {
        conf.iter().any(|(key, text)| {
            (drive::is_drive(key) || key.starts_with("unused")) && drive::file_of(text) == volid
        })
    };
    if used(conf) {
        return;
    }
    let free = (0..256).map(|number| format!("unused{number}")).find(|key| !conf.contains_key(key));
    if let Some(key) = free {
        conf.insert(key, volid.to_owned());
    }
}

/// Takes a drive away from a machine: disks stay as `unusedN`, cloud-init drives and unused
/// disks are destroyed.
///
/// # Errors
/// When the machine is protected.
pub(super) fn detach(
    state: &mut State,
    inner: &Inner,
    vmid: u32,
    key: &str,
    force: bool,
) -> Result<(), String> {
    let Some(vm) = state.vms.get_mut(&vmid) else { return Ok(()) };
    let Some(text) = vm.conf.get(key).cloned() else { return Ok(()) };
    let volid = drive::file_of(&text).to_owned();
    let protected = vm.conf.get("protection").is_some_and(|flag| flag == "1");
    let node = vm.node.clone();
    if key.starts_with("unused") {
        if protected {
            return Err(format!("can't remove unused disk '{volid}' - protection mode enabled"));
        }
        vm.conf.remove(key);
        destroy(state, inner, &volid, &node);
        return Ok(());
    }
    if protected && !drive::is_cdrom(&text) {
        return Err(format!("can't remove drive '{key}' - protection mode enabled"));
    }
    vm.conf.remove(key);
    if drive::is_cloud_init(&volid) {
        destroy(state, inner, &volid, &node);
    } else if !drive::is_cdrom(&text) && volid.contains(':') {
        if force {
            destroy(state, inner, &volid, &node);
        } else {
            keep_unused(&mut vm.conf, &volid);
        }
    }
    Ok(())
}

/// Destroys a volume.
pub(super) fn destroy(state: &mut State, inner: &Inner, volid: &str, node: &str) {
    if let Some(volume) = state.volume_remove(volid, node) {
        upload::forget(inner, &volume);
    }
}

fn resize(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (vmid, key, wanted, node) =
        (call.vmid(), call.text("disk"), call.text("size"), call.node.clone());
    let digest = call.get("digest").map(str::to_owned);
    let lock = call.state.vms.contains_key(&vmid).then_some(vmid);
    Ok(call.start(
        "resize",
        &vmid.to_string(),
        lock,
        once(move |state, _, _| {
            let Some(vm) = state.vms.get_mut(&vmid).filter(|vm| vm.node == node) else {
                return Err(absent(vmid, &node));
            };
            if digest.is_some_and(|digest| digest != vm.digest()) {
                return Err("checksum mismatch (file change by other user?)".to_owned());
            }
            if let Some(lock) = vm.conf.get("lock") {
                return Err(format!("VM is locked ({lock})"));
            }
            let Some(text) = vm.conf.get(&key).cloned() else {
                return Err(format!("disk '{key}' does not exist"));
            };
            if drive::is_cdrom(&text) {
                return Err("you can't resize a cdrom".to_owned());
            }
            let old = drive::size_of(&text);
            let size = drive::parse_size(wanted.trim_start_matches('+')).unwrap_or(0);
            let new = if wanted.starts_with('+') { old + size } else { size };
            if new < old {
                return Err("shrinking disks is not supported".to_owned());
            }
            let parts = text.split(',').map(|part| {
                if part.starts_with("size=") {
                    format!("size={}", drive::print_size(new))
                } else {
                    part.to_owned()
                }
            });
            let printed = parts.collect::<Vec<_>>().join(",");
            vm.conf.insert(key, printed);
            if let Some(volume) = state.volume_mut(drive::file_of(&text), &node) {
                volume.size = new;
            }
            Ok(())
        }),
    ))
}

fn unlink(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vmid = existing(call)?;
    let force = call.flag("force");
    for key in call
        .list("idlist")
        .into_iter()
        .filter(|key| drive::is_drive(key) || key.starts_with("unused"))
    {
        detach(call.state, call.inner, vmid, &key, force).map_err(Fail::die)?;
        super::config::drop_from_boot(call.state, vmid, &key);
    }
    Ok(Value::Null)
}
