//! Volumes: where they may lie, what they are called, how large they are.

use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::server::Inner;
use crate::sim::state::{State, Volume};
use crate::sim::upload::{self, Stored};

/// Whether a node can use a storage.
///
/// # Errors
/// When it does not exist, is disabled or not for this node.
pub(crate) fn usable(state: &State, storage: &str, node: &str) -> Result<(), Fail> {
    let Some(keys) = state.storages.get(storage) else {
        return Err(Fail::die(format!("storage '{storage}' does not exist")));
    };
    if keys.get("disable").is_some_and(|flag| flag == "1") {
        return Err(Fail::die(format!("storage '{storage}' is disabled")));
    }
    if keys.get("nodes").is_some_and(|nodes| !nodes.split(',').any(|one| one == node)) {
        return Err(Fail::die(format!("storage '{storage}' is not available on node '{node}'")));
    }
    Ok(())
}

/// Whether a storage takes files of a kind.
///
/// # Errors
/// When it keeps no files or the kind is not enabled.
pub(crate) fn accepts(state: &State, storage: &str, kind: &str) -> Result<(), Fail> {
    let keys = state.storages.get(storage);
    let plugin = keys.and_then(|keys| keys.get("type")).cloned().unwrap_or_default();
    if !state.is_file_storage(storage) {
        return Err(Fail::die(format!("can't upload to storage type '{plugin}'")));
    }
    if !content_of(state, storage).split(',').any(|one| one == kind) {
        return Err(Fail::die(format!("storage '{storage}' does not support '{kind}' content")));
    }
    Ok(())
}

pub(super) fn content_of(state: &State, storage: &str) -> String {
    state.storages.get(storage).and_then(|keys| keys.get("content")).cloned().unwrap_or_default()
}

/// The last part of a file name, with odd characters replaced.
pub(crate) fn file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    last.chars()
        .map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' })
        .collect()
}

/// Checks the extension of a file.
///
/// # Errors
/// 400 on `filename`.
pub(crate) fn check_name(kind: &str, name: &str) -> Result<(), Fail> {
    let lower = name.to_ascii_lowercase();
    let ends =
        |list: &[&str]| list.iter().any(|end| lower.ends_with(end) && lower.len() > end.len());
    let (good, text) = match kind {
        "iso" => (ends(&[".iso", ".img"]), "wrong file extension"),
        "vztmpl" => {
            (ends(&[".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2", ".tar"]), "wrong file extension")
        }
        _ => (
            ends(&[".ova", ".ovf", ".qcow2", ".raw", ".vmdk"]),
            "invalid filename or wrong extension",
        ),
    };
    if good { Ok(()) } else { Err(Fail::param("filename", text)) }
}

/// The volume of a stored file with its name.
#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "as the real server compares")]
pub(crate) fn file_volume(
    kind: &str,
    name: &str,
    stored: &Stored,
    virtual_size: Option<u64>,
    now: u64,
) -> (String, Volume) {
    let extension = name.rsplit('.').next().unwrap_or_default();
    let format = match kind {
        "iso" => "iso",
        "vztmpl" if name.ends_with(".gz") => "tgz",
        "vztmpl" => "txz",
        _ => extension,
    };
    let volume = Volume {
        content: kind.to_owned(),
        format: format.to_owned(),
        size: stored.size,
        ctime: now,
        sha256: stored.sha256.clone(),
        file: Some(stored.file.clone()),
        virtual_size,
        content_id: format!("sha256:{}", stored.sha256),
        ..Volume::default()
    };
    (format!("{kind}/{name}"), volume)
}

/// Adds (or replaces) a volume.
///
/// # Errors
/// When the storage is full.
pub(crate) fn store(
    state: &mut State,
    inner: &Inner,
    node: &str,
    storage: &str,
    row: (String, Volume),
) -> Result<(), String> {
    let place = state.place(storage, node);
    // disks are thin: only files take space when they are made
    let file = row.1.content != "images";
    if file && used(state, &place) + row.1.size > total(inner, storage) {
        return Err(format!("write failed: No space left on device ({storage})"));
    }
    if let Some(old) = state.volumes.entry(place).or_default().insert(row.0, row.1) {
        upload::forget(inner, &old);
    }
    Ok(())
}

/// Bytes that files take; disks are thin and count as nothing.
pub(super) fn used(state: &State, place: &str) -> u64 {
    let rows = state.volumes.get(place).into_iter().flatten();
    rows.filter(|(_, volume)| volume.content != "images").map(|(_, volume)| volume.size).sum()
}

pub(super) fn total(inner: &Inner, storage: &str) -> u64 {
    let known = inner.config.storages.iter().find(|known| known.id == storage);
    known.map_or(1 << 40, |known| known.total)
}

/// Where a file of a directory storage lies.
pub(crate) fn path_of(state: &State, storage: &str, name: &str) -> String {
    let base =
        state.storages.get(storage).and_then(|keys| keys.get("path")).cloned().unwrap_or_default();
    let (kind, rest) = name.split_once('/').unwrap_or(("", name));
    match kind {
        "iso" => format!("{base}/template/iso/{rest}"),
        "vztmpl" => format!("{base}/template/cache/{rest}"),
        "import" | "snippets" => format!("{base}/{name}"),
        "backup" => format!("{base}/dump/{rest}"),
        "" => format!("/dev/{storage}/{name}"),
        _ => format!("{base}/images/{name}"),
    }
}

/// Checks the form of a volume's name and answers its kind of content.
///
/// # Errors
/// When the storage cannot have such a name.
pub(crate) fn parse_name(state: &State, storage: &str, name: &str) -> Result<String, Fail> {
    let plugin =
        state.storages.get(storage).and_then(|keys| keys.get("type")).cloned().unwrap_or_default();
    if !state.is_file_storage(storage) {
        let good = !name.contains('/') && (name.starts_with("vm-") || name.starts_with("base-"));
        return if good {
            Ok("images".to_owned())
        } else {
            Err(Fail::die(format!("unable to parse {plugin} volume name '{name}'")))
        };
    }
    let bad = || Err(Fail::die(format!("unable to parse directory volume name '{name}'")));
    let Some((kind, rest)) = name.split_once('/') else { return bad() };
    let plain = !rest.is_empty() && !rest.contains('/') && rest != "..";
    match kind {
        "iso" | "vztmpl" | "snippets" | "import" | "backup" if plain => Ok(kind.to_owned()),
        _ if kind.parse::<u32>().is_ok() && plain && rest.contains('.') => Ok("images".to_owned()),
        _ if kind.parse::<u32>().is_ok() && rest.split('/').count() == 3 => Ok("images".to_owned()),
        _ => bad(),
    }
}

/// A new disk of a machine.
pub(crate) fn image(vmid: u32, format: &str, size: u64, now: u64, id: u64) -> Volume {
    Volume {
        content: "images".to_owned(),
        format: format.to_owned(),
        size,
        ctime: now,
        vmid: Some(vmid),
        content_id: digest::sha1(format!("{vmid}/{id}/{now}").as_bytes()),
        ..Volume::default()
    }
}
