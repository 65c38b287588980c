//! A server of answers made before, in a process of its own: what a client costs is all that
//! differs between two of them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_rustls::TlsAcceptor;

use super::own::{Own, acceptor, tell};

/// Base of all paths.
const BASE: &str = "/api2/json";

/// Where a client finds the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) port: u16,
    pub(super) ca: String,
}

/// The server; it ends with this.
pub(super) type Served = Own<Place>;

impl Served {
    /// Serves answers by path below [`BASE`]: the `data` of each.
    pub(super) fn of(answers: &HashMap<String, Value>) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("answers.json");
        fs_err::write(&file, serde_json::to_vec(answers)?)?;
        Self::start("--serve", &file.to_string_lossy())
    }

    /// The requests since the last call, in order.
    pub(super) fn requests(&self) -> anyhow::Result<Vec<String>> {
        let bare = super::peer::Bare::new(&self.place)?;
        let text = super::measure::runtime()?.block_on(bare.get("/_seen"))?;
        Ok(serde_json::from_slice(&text)?)
    }
}

struct State {
    answers: HashMap<String, Bytes>,
    seen: Mutex<Vec<String>>,
}

/// The server's process: tells its place in one line, and ends with its standard input.
///
/// # Errors
/// The answers cannot be read, or there is no socket.
pub fn serve(file: &Path) -> anyhow::Result<()> {
    let answers: HashMap<String, Value> = serde_json::from_slice(&fs_err::read(file)?)?;
    let answers = answers
        .into_iter()
        .map(|(path, data)| {
            (format!("{BASE}{path}"), Bytes::from(serde_json::json!({ "data": data }).to_string()))
        })
        .collect();
    let state = Arc::new(State { answers, seen: Mutex::default() });
    let (acceptor, ca) = acceptor(&[])?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let place = Place { port: listener.local_addr()?.port(), ca };
        tokio::spawn(accept(listener, acceptor, state));
        tell(&place).await
    })
}

async fn accept(listener: tokio::net::TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    while let Ok((socket, _)) = listener.accept().await {
        // A socket that is closed already is no harm.
        drop(socket.set_nodelay(true));
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(socket).await else { return };
            let service = hyper::service::service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(&state, request).await) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            // A client that goes away ends its connection, no more.
            drop(http.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let seen = || state.seen.lock().unwrap_or_else(PoisonError::into_inner);
    if path == "/_seen" {
        let list = std::mem::take(&mut *seen());
        return Response::new(Full::new(serde_json::to_vec(&list).unwrap_or_default().into()));
    }
    if *request.method() == Method::GET {
        let whole = request.uri().path_and_query().map_or("", |all| all.as_str()).to_owned();
        seen().push(whole);
    }
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let found = state.answers.get(&path).cloned();
    let mut response = Response::new(Full::new(found.clone().unwrap_or_default()));
    if found.is_none() {
        *response.status_mut() = hyper::StatusCode::NOT_FOUND;
    }
    response
}
