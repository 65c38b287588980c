//! Files that come in: uploads, and downloads that a node makes by itself.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::api::{import, volume};
use super::digest::Hasher;
use super::fail::Fail;
use super::http::Prepared;
use super::multipart::Reader;
use super::server::Inner;
use super::state::Volume;
use super::task::{Step, once};

/// Endpoint of uploads.
pub(crate) const PATH: &str = "/nodes/{node}/storage/{storage}/upload";

/// Bytes of a file that are kept to see what it is: a block of a tape archive.
const HEAD: usize = 512;

/// A received file and the text fields before it.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) stored: Stored,
    /// The file name as it was sent.
    pub(crate) name: String,
}

/// Bytes that were written to the folder of files.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) file: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    /// Digest of the algorithm that was asked for.
    pub(crate) checksum: Option<String>,
    /// First bytes of the file.
    pub(crate) head: Vec<u8>,
}

struct Sink {
    file: tokio::fs::File,
    path: PathBuf,
    name: String,
    size: u64,
    sha256: Hasher,
    extra: Option<Hasher>,
    head: Vec<u8>,
}

impl Sink {
    async fn new(inner: &Inner, algorithm: Option<&str>) -> Result<Self, Fail> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let path = inner.files.join(&name);
        let file = tokio::fs::File::create(&path)
            .await
            .map_err(|error| Fail::text(500, format!("upload failed: {error}")))?;
        let extra = algorithm.and_then(Hasher::new);
        let sha256 = Hasher::new("sha256").ok_or_else(|| Fail::text(500, "upload failed"))?;
        Ok(Self { file, path, name, size: 0, sha256, extra, head: Vec::new() })
    }

    async fn write(&mut self, chunk: &Bytes) -> std::io::Result<()> {
        self.size += u64::try_from(chunk.len()).unwrap_or(0);
        self.sha256.update(chunk);
        if let Some(extra) = &mut self.extra {
            extra.update(chunk);
        }
        let missing = HEAD.saturating_sub(self.head.len());
        self.head.extend(chunk.iter().take(missing));
        self.file.write_all(chunk).await
    }

    async fn done(mut self) -> std::io::Result<Stored> {
        self.file.flush().await?;
        Ok(Stored {
            file: self.name,
            size: self.size,
            sha256: self.sha256.finish(),
            checksum: self.extra.map(Hasher::finish),
            head: self.head,
        })
    }
}

/// Receives a multipart upload.
///
/// # Errors
/// When the parts are not those of an upload.
pub(crate) async fn receive(
    inner: &Inner,
    kind: &str,
    body: hyper::body::Incoming,
) -> Result<Received, Fail> {
    let failed = || Fail::text(500, "upload failed");
    let mut reader = Reader::new(kind, body).ok_or_else(failed)?;
    let mut fields = Vec::new();
    let mut received: Option<(Stored, String)> = None;
    while let Some(part) = reader.next().await {
        let Some(filename) = part.filename else {
            let text = reader.text().await;
            if received.is_some() {
                continue;
            }
            if !matches!(
                part.name.as_str(),
                "content" | "checksum" | "checksum-algorithm" | "tmpfilename"
            ) {
                return Err(Fail::empty(400, "Bad Request"));
            }
            fields.push((part.name, text));
            continue;
        };
        if part.name != "filename" {
            let text =
                format!("wrong field name '{}' for file upload, expected 'filename'", part.name);
            return Err(Fail::text(500, text));
        }
        let algorithm = fields
            .iter()
            .find(|(key, _)| key == "checksum-algorithm")
            .map(|(_, value)| value.clone());
        let mut sink = Sink::new(inner, algorithm.as_deref()).await?;
        while let Some(chunk) = reader.chunk().await {
            sink.write(&chunk)
                .await
                .map_err(|error| Fail::text(500, format!("upload failed: {error}")))?;
        }
        let stored = sink
            .done()
            .await
            .map_err(|error| Fail::text(500, format!("upload failed: {error}")))?;
        // The server waits for the length that was announced, and forgets what did not come whole.
        if reader.is_broken() {
            discard(inner, &stored.file);
            return Err(failed());
        }
        received = Some((stored, filename));
    }
    let (stored, name) = received.ok_or_else(failed)?;
    fields.push(("filename".to_owned(), name.clone()));
    Ok(Received { fields, stored, name })
}

fn discard(inner: &Inner, file: &str) {
    drop(std::fs::remove_file(inner.files.join(file)));
}

/// Starts the task that moves a received file to its storage.
///
/// # Errors
/// When storage, content or name do not fit.
pub(crate) fn finish(prepared: &mut Prepared<'_>, received: Received) -> Result<Value, Fail> {
    let inner = Arc::clone(prepared.inner);
    let file = received.stored.file.clone();
    let outcome = prepared.execute(&mut Vec::new(), move |call| {
        let (storage, kind) = (call.text("storage"), call.text("content"));
        volume::usable(call.state, &storage, &call.node)?;
        volume::accepts(call.state, &storage, &kind)?;
        let name = volume::file_name(&received.name);
        volume::check_name(&kind, &name)?;
        let (wanted, node) = (call.get("checksum").map(str::to_lowercase), call.node.clone());
        let stored = received.stored;
        Ok(call.start(
            "imgcopy",
            "",
            None,
            once(move |state, inner, number| {
                let result = (|| {
                    if let (Some(want), Some(got)) = (&wanted, &stored.checksum)
                        && want != got
                    {
                        return Err(format!("checksum mismatch: got '{got}' != expect '{want}'"));
                    }
                    let virtual_size = import::inspect(&kind, &name, &stored)?;
                    let now = inner.clock.now();
                    state.task_log(number, format!("starting file import from: {name}"));
                    volume::store(
                        state,
                        inner,
                        &node,
                        &storage,
                        volume::file_volume(&kind, &name, &stored, virtual_size, now),
                    )
                })();
                if result.is_err() {
                    discard(inner, &stored.file);
                }
                result
            }),
        ))
    });
    if outcome.is_err() {
        discard(&inner, &file);
    }
    outcome
}

struct Remote {
    status: u16,
    reason: String,
    size: Option<u64>,
    mime: String,
    body: hyper::body::Incoming,
}

/// Opens a URL; follows up to five redirections.
async fn open(method: &str, url: &str) -> Result<Remote, String> {
    let mut current = url::Url::parse(url).map_err(|error| error.to_string())?;
    for _ in 0..5 {
        let host = current.host_str().unwrap_or_default().to_owned();
        if current.scheme() != "http" {
            return Err(format!("unable to fetch '{current}': only plain http is simulated"));
        }
        let port = current.port_or_known_default().unwrap_or(80);
        let socket =
            TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(|error| {
                match error.kind() {
                    std::io::ErrorKind::ConnectionRefused => {
                        format!("Connecting to {host}:{port}... failed: Connection refused.")
                    }
                    _ => format!("Connecting to {host}:{port}... failed: {error}."),
                }
            })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            drop(connection.await);
        });
        let query = current.query().map(|query| format!("?{query}")).unwrap_or_default();
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{query}", current.path()))
            .header("host", format!("{host}:{port}"))
            .header("user-agent", "Wget/1.21")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        if let Some(location) =
            response.status().is_redirection().then(|| header("location")).flatten()
        {
            current = current.join(&location).map_err(|error| error.to_string())?;
            continue;
        }
        let status = response.status();
        let size = header("content-length").and_then(|text| text.parse().ok());
        let mime = header("content-type").unwrap_or_default();
        let reason = status.canonical_reason().unwrap_or_default().to_owned();
        return Ok(Remote {
            status: status.as_u16(),
            reason,
            size,
            mime,
            body: response.into_body(),
        });
    }
    Err("Too many redirections".to_owned())
}

/// `query-url-metadata`.
///
/// # Errors
/// When the URL does not answer with 200.
pub(crate) async fn metadata(url: &str) -> Result<Value, Fail> {
    let remote = open("HEAD", url)
        .await
        .map_err(|error| Fail::die(format!("invalid server response: '500 {error}'")))?;
    if remote.status != 200 {
        return Err(Fail::die(format!(
            "invalid server response: '{} {}'",
            remote.status, remote.reason
        )));
    }
    let name = url::Url::parse(url)
        .ok()
        .and_then(|url| url.path_segments()?.next_back().map(str::to_owned));
    let mime = remote.mime.split(';').next().unwrap_or_default().to_owned();
    Ok(
        json!({"filename": name.unwrap_or_default(), "size": remote.size.unwrap_or(0), "mimetype": mime}),
    )
}

/// A download that runs beside its task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fetch(Arc<Mutex<Option<Result<Stored, String>>>>);

impl Fetch {
    /// Starts fetching.
    pub(crate) fn start(inner: &Arc<Inner>, url: String, algorithm: Option<String>) -> Self {
        let fetch = Self::default();
        let (slot, inner) = (Arc::clone(&fetch.0), Arc::clone(inner));
        tokio::spawn(async move {
            let result = fetch_file(&inner, &url, algorithm.as_deref()).await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        });
        fetch
    }

    /// The result, when it is there.
    pub(crate) fn take(&self) -> Option<Result<Stored, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The step of a task that waits for it.
    pub(crate) fn wait() -> Step {
        Step::Again(Duration::from_millis(10))
    }
}

async fn fetch_file(inner: &Inner, url: &str, algorithm: Option<&str>) -> Result<Stored, String> {
    let mut remote = open("GET", url).await.map_err(|error| format!("download failed: {error}"))?;
    if remote.status != 200 {
        return Err("download failed: exit code 8".to_owned());
    }
    let mut sink = Sink::new(inner, algorithm).await.map_err(|fail| fail.task_text())?;
    while let Some(frame) = remote.body.frame().await {
        let frame = frame.map_err(|_| "download failed: exit code 4".to_owned())?;
        if let Ok(data) = frame.into_data() {
            sink.write(&data).await.map_err(|error| format!("download failed: {error}"))?;
        }
    }
    if remote.size.is_some_and(|size| size != sink.size) {
        drop(tokio::fs::remove_file(&sink.path).await);
        return Err("download failed: exit code 4".to_owned());
    }
    sink.done().await.map_err(|error| format!("download failed: {error}"))
}

/// Removes the bytes of a volume when nothing else refers to them.
pub(crate) fn forget(inner: &Inner, volume: &Volume) {
    if let Some(file) = &volume.file {
        discard(inner, file);
    }
}
