//! The routes of the image factory.

use base64::Engine as _;
use http::request::Parts;
use serde_json::json;

use super::lab_iso::{LabIso, LabMark};
use super::package::package;
use super::reply::{Payload, Reply};
use super::server::Shared;
use super::{catalog, registry};
use crate::schematic::Schematic;

/// Most bytes of a schematic.
const MOST_SCHEMATIC: usize = 1 << 20;

/// Platforms that an image may be for.
const PLATFORMS: [&str; 17] = [
    "metal",
    "nocloud",
    "aws",
    "azure",
    "gcp",
    "vmware",
    "openstack",
    "opennebula",
    "oracle",
    "scaleway",
    "vultr",
    "upcloud",
    "hcloud",
    "exoscale",
    "digital-ocean",
    "cloudstack",
    "akamai",
];

/// Answers a call.
pub(super) fn answer(shared: &Shared, parts: &Parts, body: &[u8]) -> Reply {
    let path = parts.uri.path();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let method = parts.method.as_str();
    // Lists of what there is are public at a private factory too; what leads to its storage is
    // signed, and needs no login there.
    let private = matches!(segments.first(), Some(&("schematics" | "image" | "v2")));
    let caller = match caller(shared, parts) {
        Err(refusal) if private => return refusal,
        found => found.unwrap_or_default(),
    };
    match (method, segments.as_slice()) {
        ("POST", ["schematics"]) => create(shared, body, caller.as_deref()),
        ("GET", ["schematics", id]) => match schematic(shared, id) {
            Ok((_, text)) => Reply::new(200, "application/yaml", text),
            Err(refusal) => refusal,
        },
        ("GET", ["versions"]) => {
            let versions = catalog::versions();
            let texts: Vec<String> = versions.iter().map(|version| format!("v{version}")).collect();
            Reply::json(200, &json!(texts))
        }
        ("GET", ["version", version, kind @ ("extensions" | "overlays"), "official"]) => {
            match catalog::known(version) {
                None => Reply::text(404, &format!("version {version} is not available")),
                Some(Err(())) => Reply::text(500, "internal server error"),
                Some(Ok(_)) if *kind == "overlays" => Reply::json(200, &json!([])),
                Some(Ok(version)) => {
                    let list = catalog::extensions(&version, &shared.config.extensions);
                    Reply::json(200, &json!(list))
                }
            }
        }
        ("GET" | "HEAD", ["image", id, version, file]) => match image(shared, id, version, file) {
            Err(refusal) => refusal,
            Ok(iso) if method == "HEAD" => whole(iso, file).without_body(),
            Ok(iso) if shared.config.direct => whole(iso, file),
            Ok(_) => {
                let location = format!("/storage/{id}/{version}/{file}");
                Reply::empty(302).with("location", &location)
            }
        },
        // The storage behind the factory: with ranges.
        ("GET" | "HEAD", ["storage", id, version, file]) => {
            match image(shared, id, version, file) {
                Err(refusal) => refusal,
                Ok(iso) => ranged(iso, file, parts),
            }
        }
        ("GET", ["healthz" | "readyz"]) => Reply::empty(200),
        // A mirror of Debian, under whatever name it is reached.
        ("GET", [.., file]) if file.rsplit('.').next() == Some("deb") => {
            Reply::new(200, "application/vnd.debian.binary-package", package(file))
        }
        ("GET" | "HEAD", ["v2", ..]) => registry::installer(shared, parts),
        _ => Reply::text(404, "404 page not found"),
    }
}

/// Who calls; nobody in particular at a public factory.
fn caller(shared: &Shared, parts: &Parts) -> Result<Option<String>, Reply> {
    let Some((user, password)) = &shared.config.owner else { return Ok(None) };
    let given = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
    let packed = given.and_then(|value| value.strip_prefix("Basic "));
    let engine = base64::engine::general_purpose::STANDARD;
    let text = packed.and_then(|packed| engine.decode(packed).ok());
    let text = text.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let known = text.split_once(':').is_some_and(|(name, word)| {
        name == user && password.as_ref().is_none_or(|password| password == word)
    });
    if known {
        return Ok(Some(user.clone()));
    }
    let refusal = Reply::text(401, "authentication required");
    Err(refusal.with("www-authenticate", "Basic realm=\"image factory\""))
}

/// A schematic with its text; whoever comes this far may see their own.
fn schematic(shared: &Shared, id: &str) -> Result<(Schematic, String), Reply> {
    let text = shared.store.schematic(id);
    let text = text.ok_or_else(|| Reply::text(404, "schematic not found"))?;
    let schematic =
        Schematic::parse(text.as_bytes()).map_err(|_| Reply::text(500, "internal server error"))?;
    let owner = shared.config.owner.as_ref().map_or("", |(user, _)| user);
    if schematic.owner != owner {
        return Err(Reply::text(403, "the schematic belongs to somebody else"));
    }
    Ok((schematic, text))
}

fn create(shared: &Shared, body: &[u8], caller: Option<&str>) -> Reply {
    if body.len() > MOST_SCHEMATIC {
        return Reply::text(400, "the schematic is too large");
    }
    let mut schematic = match Schematic::parse(body) {
        Ok(schematic) => schematic,
        Err(error) => return Reply::text(400, &error.to_string()),
    };
    match caller {
        None if !schematic.owner.is_empty() => return Reply::text(400, "owner is not supported"),
        Some(caller) if !["", caller].contains(&schematic.owner.as_str()) => {
            return Reply::text(403, "the schematic names another owner");
        }
        caller => caller.unwrap_or_default().clone_into(&mut schematic.owner),
    }
    let (id, text) = (schematic.id().to_string(), schematic.canonical());
    match shared.store.add_schematic(&id, &text) {
        Ok(()) => Reply::json(201, &json!({"id": id, "schematic": text})),
        Err(_) => Reply::text(500, "internal server error"),
    }
}

/// Checks that a schematic can be built for a version.
pub(super) fn buildable(shared: &Shared, id: &str, version: &str) -> Result<String, Reply> {
    let (schematic, _) = schematic(shared, id)?;
    let version = match catalog::known(version) {
        Some(Ok(version)) => version,
        Some(Err(())) => return Err(Reply::text(500, "internal server error")),
        None => return Err(Reply::text(404, &format!("version {version} is not available"))),
    };
    let list = catalog::extensions(&version, &shared.config.extensions);
    let has = |name: &str| list.iter().any(|extension| extension["name"] == name);
    for name in &schematic.official_extensions {
        let successor = crate::name::extension_alias(name);
        if !has(name) && !successor.is_some_and(has) {
            let text = format!(
                "official extension {name:?} is not available for Talos version v{version}"
            );
            return Err(Reply::text(400, &text));
        }
    }
    if !schematic.embedded_machine_configuration.is_empty() && version.minor < 12 {
        return Err(Reply::text(400, "embedded machine configuration needs Talos 1.12"));
    }
    Ok(format!("v{version}"))
}

fn image(shared: &Shared, id: &str, version: &str, file: &str) -> Result<LabIso, Reply> {
    let talos = buildable(shared, id, version)?;
    let invalid = || Reply::text(400, &format!("invalid profile: {file}"));
    let Some(stem) = file.strip_suffix(".iso") else {
        let kinds = ["raw", "qcow2", "vhd", "ova", "xz", "gz", "zst", "tar", "efi"];
        let known = kinds.iter().any(|kind| file.ends_with(&format!(".{kind}")));
        return Err(match known || file.starts_with("kernel-") || file.starts_with("cmdline-") {
            true => Reply::text(501, "this lab factory builds ISOs and installers only"),
            false => invalid(),
        });
    };
    let stem = stem.strip_suffix("-secureboot").unwrap_or(stem);
    let (platform, architecture) = stem.rsplit_once('-').ok_or_else(invalid)?;
    if !PLATFORMS.contains(&platform) || !matches!(architecture, "amd64" | "arm64") {
        return Err(invalid());
    }
    let mark = LabMark {
        talos,
        schematic: id.to_owned(),
        platform: platform.to_owned(),
        architecture: architecture.to_owned(),
    };
    Ok(LabIso::new(&mark, shared.config.iso_size))
}

fn whole(iso: LabIso, file: &str) -> Reply {
    let mut reply = Reply::new(200, "application/x-iso9660-image", "")
        .with("content-disposition", &format!("attachment; filename=\"{file}\""));
    let length = iso.size();
    reply.payload = Payload::Iso { iso, from: 0, length };
    reply
}

fn ranged(iso: LabIso, file: &str, parts: &Parts) -> Reply {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let (size, tag) = (iso.size(), iso.tag());
    let mut reply = whole(iso, file).with("etag", &tag).with("accept-ranges", "bytes");
    if parts.method == http::Method::HEAD {
        reply.head_only = true;
        return reply;
    }
    let fresh = header("if-range").is_none_or(|wanted| wanted == tag);
    let Some(range) = header("range").filter(|_| fresh) else { return reply };
    match part_of(range, size) {
        Some((from, length)) if length > 0 => {
            if let Payload::Iso { from: start, length: all, .. } = &mut reply.payload {
                (*start, *all) = (from, length);
            }
            reply.status = http::StatusCode::PARTIAL_CONTENT;
            let end = from + length - 1;
            reply.with("content-range", &format!("bytes {from}-{end}/{size}"))
        }
        Some(_) => Reply::empty(416).with("content-range", &format!("bytes */{size}")),
        // What is not understood is not a range.
        None => reply,
    }
}

/// First byte and length of a range; a length of zero if it lies beyond the end.
fn part_of(range: &str, size: u64) -> Option<(u64, u64)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    if from.is_empty() {
        let length = to.parse::<u64>().ok()?.min(size);
        return Some((size - length, length));
    }
    let from = from.parse::<u64>().ok()?;
    let last = match to {
        "" => size.checked_sub(1)?,
        to => to.parse::<u64>().ok()?.min(size.checked_sub(1)?),
    };
    Some((from, (last + 1).saturating_sub(from)))
}
