//! Volumes of a storage: list, allocate, upload, download, delete.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Row;
use super::import::inspect;
use super::volume::{
    accepts, check_name, file_name, file_volume, image, parse_name, path_of, store, usable,
};
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::server::Inner;
use crate::sim::state::{State, Volume};
use crate::sim::task::{Step, once};
use crate::sim::upload::{self, Fetch, Stored};
use crate::sim::{digest, drive};

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/nodes/{node}/storage/{storage}/content", list),
    ("POST", "/nodes/{node}/storage/{storage}/content", allocate),
    ("GET", "/nodes/{node}/storage/{storage}/content/{volume}", read),
    ("DELETE", "/nodes/{node}/storage/{storage}/content/{volume}", delete),
    ("POST", "/nodes/{node}/storage/{storage}/download-url", download),
    ("GET", "/nodes/{node}/storage/{storage}/import-metadata", super::import::metadata),
];

fn row(storage: &str, name: &str, volume: &Volume) -> Value {
    let mut map = Map::new();
    map.insert("volid".to_owned(), json!(format!("{storage}:{name}")));
    map.insert("content".to_owned(), json!(volume.content));
    map.insert("format".to_owned(), json!(volume.format));
    map.insert("size".to_owned(), json!(volume.size));
    map.insert("ctime".to_owned(), json!(volume.ctime));
    if let Some(vmid) = volume.vmid {
        map.insert("vmid".to_owned(), json!(vmid));
        map.insert("used".to_owned(), json!(volume.size));
        map.insert("parent".to_owned(), Value::Null);
    }
    if let Some(notes) = &volume.notes {
        map.insert("notes".to_owned(), json!(notes));
    }
    Value::Object(map)
}

fn list(call: &mut Call<'_>) -> Result<Value, Fail> {
    let storage = call.text("storage");
    usable(call.state, &storage, &call.node)?;
    let (kind, vmid) = (call.get("content"), call.number("vmid"));
    let place = call.state.place(&storage, &call.node);
    let keep = |volume: &&Volume| {
        kind.is_none_or(|kind| volume.content == kind)
            && vmid.is_none_or(|vmid| volume.vmid.map(u64::from) == Some(vmid))
    };
    let rows =
        call.state.volumes.get(&place).into_iter().flatten().filter(|(_, volume)| keep(volume));
    Ok(rows.map(|(name, volume)| row(&storage, name, volume)).collect())
}

/// Splits the volume of a path, with or without its storage.
pub(super) fn volume_name(call: &Call<'_>) -> (String, String) {
    let (storage, volume) = (call.text("storage"), call.text("volume"));
    match volume.split_once(':') {
        Some((own, name)) => (own.to_owned(), name.to_owned()),
        None => (storage, volume),
    }
}

fn read(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (storage, name) = volume_name(call);
    usable(call.state, &storage, &call.node)?;
    parse_name(call.state, &storage, &name)?;
    call.require_any(
        &format!("/storage/{storage}"),
        &["Datastore.Audit", "Datastore.AllocateSpace"],
    )?;
    let volid = format!("{storage}:{name}");
    let Some(volume) = call.state.volume(&volid, &call.node) else {
        return Err(Fail::die(format!("volume_size_info on '{volid}' failed - no format")));
    };
    let format =
        if matches!(volume.content.as_str(), "iso" | "vztmpl") { "raw" } else { &volume.format };
    let size = volume.virtual_size.unwrap_or(volume.size);
    let path = path_of(call.state, &storage, &name);
    Ok(json!({"path": path, "format": format, "size": size, "used": volume.size}))
}

fn delete(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (storage, name) = volume_name(call);
    usable(call.state, &storage, &call.node)?;
    parse_name(call.state, &storage, &name)?;
    call.require(&format!("/storage/{storage}"), "Datastore.Allocate")?;
    let (volid, node) = (format!("{storage}:{name}"), call.node.clone());
    if call.get("delay").is_some() {
        if let Some(volume) = call.state.volume_remove(&volid, &node) {
            upload::forget(call.inner, &volume);
        }
        return Ok(Value::Null);
    }
    Ok(call.start(
        "imgdel",
        &storage,
        None,
        once(move |state, inner, number| {
            if let Some(volume) = state.volume_remove(&volid, &node) {
                upload::forget(inner, &volume);
                state.task_log(number, format!("Removed volume '{volid}'"));
            }
            Ok(())
        }),
    ))
}

fn allocate(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (storage, mut name) = (call.text("storage"), call.text("filename"));
    usable(call.state, &storage, &call.node)?;
    let vmid = call.vmid();
    let size = call
        .get("size")
        .and_then(|text| {
            drive::parse_size(text).map(|bytes| {
                if text.ends_with(|c: char| c.is_ascii_digit()) { bytes << 10 } else { bytes }
            })
        })
        .unwrap_or(0);
    let format = call
        .get("format")
        .map(str::to_owned)
        .or_else(|| name.rsplit_once('.').map(|(_, end)| end.to_owned()))
        .unwrap_or_else(|| "raw".to_owned());
    if call.state.is_file_storage(&storage) {
        if !name.contains('.') {
            name = format!("{name}.{format}");
        }
        name = format!("{vmid}/{name}");
    }
    let volid = format!("{storage}:{name}");
    if call.state.volume(&volid, &call.node).is_some() {
        let path = path_of(call.state, &storage, &name);
        return Err(Fail::die(format!("disk image '{path}' already exists")));
    }
    let id = call.state.next();
    let volume = image(vmid, &format, size, call.now(), id);
    let node = call.node.clone();
    store(call.state, call.inner, &node, &storage, (name, volume)).map_err(Fail::die)?;
    Ok(json!(volid))
}

fn download(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (storage, kind) = (call.text("storage"), call.text("content"));
    usable(call.state, &storage, &call.node)?;
    accepts(call.state, &storage, &kind)?;
    let name = file_name(&call.text("filename"));
    check_name(&kind, &name)?;
    let (url, node) = (call.text("url"), call.node.clone());
    let (algorithm, wanted) = (
        call.get("checksum-algorithm").map(str::to_owned),
        call.get("checksum").map(str::to_lowercase),
    );
    let compression = call.get("compression").map(str::to_owned);
    let volid = format!("{storage}:{kind}/{name}");
    let task_id = name.clone();
    let path = path_of(call.state, &storage, &format!("{kind}/{name}"));
    let mut fetch: Option<Fetch> = None;
    Ok(call.start(
        "download",
        &task_id,
        None,
        Box::new(move |state, inner, number| {
            if let Some(running) = &fetch {
                let Some(result) = running.take() else { return Fetch::wait() };
                let done = result.and_then(|stored| {
                    let keep = Download {
                        inner,
                        node: &node,
                        storage: &storage,
                        kind: &kind,
                        name: &name,
                        path: &path,
                    };
                    keep.finish(state, &stored, wanted.as_deref(), compression.as_deref(), number)
                });
                return Step::Done(done);
            }
            if compression.is_some() && kind == "import" {
                return Step::Done(Err("decompression not supported for import".to_owned()));
            }
            if let Some(old) = state.volume(&volid, &node) {
                return Step::Done(existing(
                    inner,
                    old,
                    algorithm.as_deref(),
                    wanted.as_deref(),
                    &path,
                ));
            }
            if compression
                .as_deref()
                .is_some_and(|name| !matches!(name, "gz" | "lzo" | "zst" | "bz2"))
            {
                return Step::Done(Err("no decompression method found".to_owned()));
            }
            state.task_log(number, format!("downloading {url} to {path}"));
            fetch = Some(Fetch::start(inner, url.clone(), algorithm.clone()));
            Fetch::wait()
        }),
    ))
}

#[expect(clippy::disallowed_methods, reason = "a file of the simulator that may be gone")]
fn existing(
    inner: &Inner,
    old: &Volume,
    algorithm: Option<&str>,
    wanted: Option<&str>,
    path: &str,
) -> Result<(), String> {
    let Some(wanted) = wanted else {
        return Err(format!("refusing to override existing file '{path}'"));
    };
    let bytes = old
        .file
        .as_ref()
        .and_then(|file| std::fs::read(inner.files.join(file)).ok())
        .unwrap_or_default();
    let got = algorithm.and_then(digest::Hasher::new).map(|mut hasher| {
        hasher.update(&bytes);
        hasher.finish()
    });
    match got {
        Some(got) if got == wanted => Ok(()),
        got => Err(format!(
            "checksum mismatch: got '{}' != expect '{wanted}', aborting",
            got.unwrap_or_default()
        )),
    }
}

struct Download<'a> {
    inner: &'a Arc<Inner>,
    node: &'a str,
    storage: &'a str,
    kind: &'a str,
    name: &'a str,
    path: &'a str,
}

impl Download<'_> {
    #[expect(clippy::too_many_arguments, reason = "what a download was asked for")]
    fn finish(
        &self,
        state: &mut State,
        stored: &Stored,
        wanted: Option<&str>,
        compression: Option<&str>,
        number: u64,
    ) -> Result<(), String> {
        let drop_file = |text: String| {
            drop(std::fs::remove_file(self.inner.files.join(&stored.file)));
            text
        };
        if let (Some(want), Some(got)) = (wanted, stored.checksum.as_deref())
            && want != got
        {
            return Err(drop_file(format!("checksum mismatch: got '{got}' != expect '{want}'")));
        }
        if let Some(method) = compression {
            let program = match method {
                "zst" => "zstd -q -d -c",
                "gz" => "zcat",
                "bz2" => "bzcat",
                _ => "lzop -d -c",
            };
            let gzip = method == "gz" && stored.head.starts_with(&[0x1f, 0x8b]);
            if !gzip {
                return Err(drop_file(format!(
                    "command '{program} {}.tmp_dwnl.{number}' failed: exit code 1",
                    self.path
                )));
            }
        }
        let size = inspect(self.kind, self.name, stored).map_err(drop_file)?;
        let row = file_volume(self.kind, self.name, stored, size, self.inner.clock.now());
        store(state, self.inner, self.node, self.storage, row)
    }
}
