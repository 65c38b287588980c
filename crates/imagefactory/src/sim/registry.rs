//! The registry API of both servers.

use base64::Engine as _;
use bytes::Bytes;
use http::request::Parts;
use serde::Deserialize;
use serde_json::json;

use super::reply::Reply;
use super::server::Shared;
use super::store::StoredManifest;
use super::{factory, image};
use crate::digest::Digest;

/// A refusal in the words of the distribution specification.
fn refused(status: u16, code: &str, message: &str) -> Reply {
    let body = json!({"errors": [{"code": code, "message": message}]});
    Reply::json(status, &body)
}

fn broken() -> Reply {
    refused(500, "UNKNOWN", "the store cannot be written")
}

/// A call on a repository: its name, then what is wanted of it.
struct Target<'a> {
    repository: String,
    rest: Vec<&'a str>,
}

fn target(path: &str) -> Option<Target<'_>> {
    let segments: Vec<&str> = path.strip_prefix("/v2/")?.split('/').collect();
    let at = segments
        .iter()
        .rposition(|segment| matches!(*segment, "manifests" | "blobs" | "tags"))
        .filter(|at| *at > 0)?;
    let (name, rest) = segments.split_at_checked(at)?;
    let valid = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte)
            })
    };
    if !name.iter().all(valid) {
        return None;
    }
    Some(Target { repository: name.join("/"), rest: rest.to_vec() })
}

/// The factory's own registry: installers, to be pulled only.
pub(super) fn installer(shared: &Shared, parts: &Parts) -> Reply {
    let path = parts.uri.path();
    if path.trim_end_matches('/') == "/v2" {
        return Reply::json(200, &json!({}));
    }
    let invalid = || refused(400, "NAME_INVALID", "invalid image");
    let Some(Target { repository, rest }) = target(path) else { return invalid() };
    let Some((name, id)) = repository.split_once('/') else { return invalid() };
    let name = name.strip_suffix("-secureboot").unwrap_or(name);
    if name != "installer" && !name.ends_with("-installer") {
        return invalid();
    }
    if let ["manifests", reference] = rest.as_slice()
        && !reference.starts_with("sha256:")
    {
        let version = match *reference {
            "latest" => super::catalog::versions().last().map(|version| format!("v{version}")),
            reference => Some(reference.to_owned()),
        };
        let version = version.unwrap_or_default();
        let version = match factory::buildable(shared, id, &version) {
            Ok(version) => version,
            Err(refusal) => return refusal,
        };
        let added = image::add_installer(&shared.store, &repository, id, &version);
        if added.is_err() {
            return broken();
        }
        return manifest(shared, parts, &repository, &version);
    }
    match rest.as_slice() {
        ["manifests", reference] => manifest(shared, parts, &repository, reference),
        ["blobs", digest] => blob(shared, parts, &repository, digest),
        _ => invalid(),
    }
}

/// The registry.
pub(super) fn answer(shared: &Shared, parts: &Parts, body: Bytes) -> Reply {
    let path = parts.uri.path();
    if path == "/token" {
        return token(shared, parts);
    }
    let target = target(path);
    let wants_push = !matches!(parts.method.as_str(), "GET" | "HEAD");
    let repository = target.as_ref().map(|target| target.repository.as_str());
    if let Err(refusal) = permitted(shared, parts, repository, wants_push) {
        return refusal;
    }
    if path.trim_end_matches('/') == "/v2" {
        return Reply::json(200, &json!({}));
    }
    let Some(Target { repository, rest }) = target else {
        return refused(404, "NAME_INVALID", "there is no such route or the name is invalid");
    };
    match (parts.method.as_str(), rest.as_slice()) {
        ("GET" | "HEAD", ["manifests", reference]) => {
            manifest(shared, parts, &repository, reference)
        }
        ("PUT", ["manifests", reference]) => {
            put_manifest(shared, parts, &repository, reference, body)
        }
        ("DELETE", ["manifests", digest]) => {
            match shared.store.remove_manifest(&repository, digest) {
                Ok(true) => Reply::empty(202),
                Ok(false) => refused(404, "MANIFEST_UNKNOWN", "manifest unknown"),
                Err(_) => broken(),
            }
        }
        ("GET" | "HEAD", ["blobs", digest]) => blob(shared, parts, &repository, digest),
        ("POST", ["blobs", "uploads", ..]) => begin(shared, parts, &repository, &body),
        (method @ ("PATCH" | "PUT"), ["blobs", "uploads", id]) => {
            let id = id.parse().unwrap_or(u64::MAX);
            let unknown = || refused(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
            match shared.store.append(id, &body) {
                None => unknown(),
                Some(size) if method == "PATCH" => Reply::empty(202)
                    .with("location", &format!("/v2/{repository}/blobs/uploads/{id}"))
                    .with("range", &format!("0-{}", size.saturating_sub(1))),
                Some(_) => end(shared, parts, &repository, id).unwrap_or_else(unknown),
            }
        }
        ("GET", ["tags", "list"]) => match shared.store.tags(&repository) {
            Some(tags) => Reply::json(200, &json!({"name": repository, "tags": tags})),
            None => refused(404, "NAME_UNKNOWN", "repository name not known to registry"),
        },
        _ => refused(405, "UNSUPPORTED", "the operation is unsupported"),
    }
}

fn with_body_if_get(parts: &Parts, reply: Reply) -> Reply {
    if parts.method == http::Method::HEAD { reply.without_body() } else { reply }
}

fn manifest(shared: &Shared, parts: &Parts, repository: &str, reference: &str) -> Reply {
    let Some(found) = shared.store.manifest(repository, reference) else {
        return refused(404, "MANIFEST_UNKNOWN", "manifest unknown");
    };
    let digest = Digest::of(&found.bytes).to_string();
    let reply =
        Reply::new(200, &found.media_type, found.bytes).with("docker-content-digest", &digest);
    with_body_if_get(parts, reply)
}

fn blob(shared: &Shared, parts: &Parts, repository: &str, digest: &str) -> Reply {
    match shared.store.blob(repository, digest) {
        None => refused(404, "BLOB_UNKNOWN", "blob unknown to registry"),
        Some(bytes) => {
            let reply = Reply::new(200, "application/octet-stream", bytes)
                .with("docker-content-digest", digest);
            with_body_if_get(parts, reply)
        }
    }
}

fn put_manifest(
    shared: &Shared,
    parts: &Parts,
    repository: &str,
    reference: &str,
    bytes: Bytes,
) -> Reply {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Part {
        digest: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        schema_version: u8,
        config: Option<Part>,
        #[serde(default)]
        layers: Vec<Part>,
        #[serde(default)]
        manifests: Vec<Part>,
    }
    let digest = Digest::of(&bytes).to_string();
    if reference.starts_with("sha256:") && reference != digest {
        return refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
    }
    let Ok(document) = serde_json::from_slice::<Document>(&bytes) else {
        return refused(400, "MANIFEST_INVALID", "manifest invalid");
    };
    if document.schema_version != 2 {
        return refused(400, "MANIFEST_INVALID", "manifest invalid: schemaVersion is not 2");
    }
    for part in document.config.iter().chain(&document.layers) {
        if shared.store.blob(repository, &part.digest).is_none() {
            let message = format!("blob unknown to registry: {}", part.digest);
            return refused(400, "MANIFEST_BLOB_UNKNOWN", &message);
        }
    }
    for part in &document.manifests {
        if shared.store.manifest(repository, &part.digest).is_none() {
            let message = format!("manifest unknown: {}", part.digest);
            return refused(400, "MANIFEST_UNKNOWN", &message);
        }
    }
    let media_type = parts.headers.get("content-type").and_then(|value| value.to_str().ok());
    let Some(media_type) = media_type.map(str::to_owned) else {
        return refused(400, "MANIFEST_INVALID", "the media type is missing");
    };
    let stored = StoredManifest { media_type, bytes };
    match shared.store.add_manifest(repository, reference, &stored) {
        Err(_) => broken(),
        Ok(_) => Reply::empty(201)
            .with("location", &format!("/v2/{repository}/manifests/{digest}"))
            .with("docker-content-digest", &digest),
    }
}

fn query(parts: &Parts, name: &str) -> Option<String> {
    let query = parts.uri.query()?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn begin(shared: &Shared, parts: &Parts, repository: &str, body: &Bytes) -> Reply {
    if let (Some(digest), Some(from)) = (query(parts, "mount"), query(parts, "from"))
        && matches!(shared.store.mount(&from, repository, &digest), Ok(true))
    {
        return created(repository, &digest);
    }
    if let Some(digest) = query(parts, "digest") {
        return finish(shared, repository, &digest, body);
    }
    let id = shared.store.begin_upload();
    Reply::empty(202)
        .with("location", &format!("/v2/{repository}/blobs/uploads/{id}"))
        .with("docker-upload-uuid", &id.to_string())
        .with("range", "0-0")
}

/// Ends an upload; `None` if there is no such upload.
fn end(shared: &Shared, parts: &Parts, repository: &str, id: u64) -> Option<Reply> {
    let Some(digest) = query(parts, "digest") else {
        return Some(refused(400, "DIGEST_INVALID", "the digest is missing"));
    };
    let bytes = shared.store.end_upload(id)?;
    Some(finish(shared, repository, &digest, &bytes.into()))
}

fn finish(shared: &Shared, repository: &str, digest: &str, bytes: &Bytes) -> Reply {
    if Digest::of(bytes).to_string() != digest {
        return refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
    }
    match shared.store.add_blob(repository, bytes) {
        Ok(digest) => created(repository, &digest),
        Err(_) => broken(),
    }
}

fn created(repository: &str, digest: &str) -> Reply {
    Reply::empty(201)
        .with("location", &format!("/v2/{repository}/blobs/{digest}"))
        .with("docker-content-digest", digest)
}

/// Checks the token of a call where a login is asked for.
fn permitted(
    shared: &Shared,
    parts: &Parts,
    repository: Option<&str>,
    push: bool,
) -> Result<(), Reply> {
    if shared.config.login.is_none() {
        return Ok(());
    }
    let actions = if push { "pull,push" } else { "pull" };
    let scope = repository.map(|name| format!("repository:{name}:{actions}"));
    let given = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
    let held = given
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(|token| shared.store.scope_of(token));
    let enough = held.is_some_and(|held| match repository {
        None => true,
        Some(name) => {
            let granted = held.strip_prefix(&format!("repository:{name}:")).unwrap_or_default();
            granted.split(',').any(|action| action == if push { "push" } else { "pull" })
        }
    });
    if enough {
        return Ok(());
    }
    let host = parts.headers.get("host").and_then(|value| value.to_str().ok());
    let host =
        host.or(parts.uri.authority().map(http::uri::Authority::as_str)).unwrap_or("localhost");
    let scheme = if shared.config.tls.is_some() { "https" } else { "http" };
    let mut challenge = format!("Bearer realm=\"{scheme}://{host}/token\",service=\"lab\"");
    if let Some(scope) = scope {
        challenge.push_str(",scope=\"");
        challenge.push_str(&scope);
        challenge.push('"');
    }
    let reply = refused(401, "UNAUTHORIZED", "authentication required");
    Err(reply.with("www-authenticate", &challenge))
}

/// Gives a token for a user and password.
fn token(shared: &Shared, parts: &Parts) -> Reply {
    let Some((user, password)) = &shared.config.login else {
        return refused(404, "UNSUPPORTED", "this registry asks for no login");
    };
    let packed = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let given = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
    if given != Some(&format!("Basic {packed}")) {
        return refused(401, "UNAUTHORIZED", "wrong user or password");
    }
    let scope = query(parts, "scope").unwrap_or_default();
    let token = Digest::of(format!("{packed} {scope}").as_bytes()).hex();
    shared.store.add_token(&token, &scope);
    Reply::json(200, &json!({"token": token, "expires_in": 300}))
}
