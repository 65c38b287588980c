//! Listening sockets and their connections.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::fault::{Call, Fault, Faults, Side};
use super::reply::{OutBody, Reply};
use super::store::Store;
use super::{SimBuilder, factory, registry};

/// Most bytes of a request's body.
const MOST_BODY: usize = 1 << 30;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: SimBuilder,
    pub(super) store: Store,
    pub(super) faults: Faults,
}

/// Serves until it is told to stop.
pub(super) async fn serve(
    side: Side,
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(connection(side, socket, acceptor.clone(), shared));
                }
                // Out of descriptors, say: do not spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    connections.shutdown().await;
}

async fn connection(
    side: Side,
    socket: TcpStream,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(respond(side, &shared, request).await) }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    let outcome = match acceptor {
        None => server.serve_connection(TokioIo::new(socket), service).await,
        Some(acceptor) => match acceptor.accept(socket).await {
            Ok(socket) => server.serve_connection(TokioIo::new(socket), service).await,
            Err(_) => return,
        },
    };
    if let Err(error) = outcome {
        tracing::trace!(%error, "a connection ended");
    }
}

async fn respond(side: Side, shared: &Shared, request: Request<Incoming>) -> Response<OutBody> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    let fault = shared.faults.take(side, parts.method.as_str(), &path);
    if let Some(Fault::Delay(time)) = fault {
        tokio::time::sleep(time).await;
    }
    let body = Limited::new(body, MOST_BODY).collect().await;
    let reply = match (fault, body) {
        (Some(Fault::Status(status)), _) => Reply::text(status, "failed on request"),
        (_, Err(_)) => Reply::text(400, "the body broke off or is too large"),
        (_, Ok(body)) => match side {
            Side::Factory => factory::answer(shared, &parts, &body.to_bytes()),
            Side::Registry => registry::answer(shared, &parts, body.to_bytes()),
        },
    };
    let header = |name: &str| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    shared.faults.record(Call {
        side,
        method: parts.method.to_string(),
        path,
        range: header("range"),
        authorized: parts.headers.contains_key("authorization"),
        status: reply.status.as_u16(),
    });
    let mut reply = reply.with("server", "lab image factory (synthetic content)");
    if let Some(id) = header("x-request-id") {
        reply.set("x-request-id", &id);
    }
    reply.into_response(fault)
}
