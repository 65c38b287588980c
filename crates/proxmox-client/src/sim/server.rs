//! The listening socket, TLS, and what all connections share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast, watch};
use tokio_rustls::TlsAcceptor;

use super::builder::{SimBuilder, SimError};
use super::clock::Clock;
use super::event::GuestEvent;
use super::fault::Faults;
use super::handle::SimHandle;
use super::schema::Schema;
use super::state::State;
use super::{api, http, persist};

/// What all connections share.
pub(crate) struct Inner {
    pub(crate) config: SimBuilder,
    pub(crate) schema: Schema,
    pub(crate) routes: api::Routes,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) events: broadcast::Sender<GuestEvent>,
    pub(crate) fingerprint: String,
    /// Folder of uploaded files.
    pub(crate) files: PathBuf,
    _temporary: Option<persist::TempDir>,
    state: Mutex<State>,
    latency_us: AtomicU64,
    dirty: AtomicBool,
    wake: Notify,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Inner").field("nodes", &self.config.nodes).finish_non_exhaustive()
    }
}

impl Inner {
    /// The state; never held across I/O.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        self.latency_us
            .store(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Latency of a call.
    pub(crate) fn latency(&self, method: &str, path: &str) -> Duration {
        let special = self.config.latencies.iter().find(|(wanted, pattern, _)| {
            (wanted == "*" || wanted == method) && super::fault::glob(pattern, path)
        });
        match special {
            Some((_, _, latency)) => *latency,
            None => Duration::from_micros(self.latency_us.load(Ordering::Relaxed)),
        }
    }

    pub(crate) fn task_time(&self, kind: &str) -> Duration {
        let special = self.config.task_times.iter().rev().find(|(name, _)| name == kind);
        special.map_or(self.config.task_time, |(_, time)| *time)
    }

    /// Whether the firewall lets a new connection in to the API of the first node.
    fn lets_in(&self) -> bool {
        let (Some(caller), Some(node)) = (self.config.caller, self.config.nodes.first()) else {
            return true;
        };
        let lag = u64::try_from(self.config.firewall_lag.as_millis()).unwrap_or(u64::MAX);
        let mut state = self.lock();
        state.firewall.settle(self.clock.now());
        state.firewall.lets_in(node, caller, self.clock.now_ms(), lag)
    }

    /// Lets the state be written to the state folder soon.
    pub(crate) fn save_soon(&self) {
        if self.config.state_dir.is_some() {
            self.dirty.store(true, Ordering::Release);
            self.wake.notify_one();
        }
    }
}

/// Starts the server.
///
/// # Errors
/// When socket, certificate or state folder cannot be set up.
pub(crate) async fn start(config: SimBuilder) -> Result<SimHandle, SimError> {
    let fail = |what: &str| {
        let what = what.to_owned();
        move |source| SimError::Io { what, source }
    };
    let (temporary, base) = if let Some(dir) = &config.state_dir {
        (None, dir.clone())
    } else {
        let dir = persist::TempDir::new().map_err(fail("temporary folder"))?;
        let path = dir.path().to_owned();
        (Some(dir), path)
    };
    let files = base.join("files");
    std::fs::create_dir_all(&files).map_err(fail("state folder"))?;
    let secrets = persist::credentials(&base)?;
    let clock = Clock::new(config.time);
    let schema = Schema::load_mixed(config.dialect, config.fabrics.unwrap_or(config.dialect))?;
    let mut state = persist::load(&base)?.unwrap_or_default();
    persist::initialise(&mut state, &config, &secrets, clock.now());
    let listener = TcpListener::bind(config.listen).await.map_err(fail("listen"))?;
    let addr = listener.local_addr().map_err(fail("listen"))?;
    let acceptor = acceptor(&secrets)?;
    let (stop, stopped) = watch::channel(false);
    let latency = config.call_latency;
    let inner = Arc::new(Inner {
        faults: Faults::with_log(config.keep_calls),
        schema,
        routes: api::routes(),
        clock,
        events: broadcast::channel(4096).0,
        fingerprint: secrets.fingerprint(),
        files,
        _temporary: temporary,
        state: Mutex::new(state),
        latency_us: AtomicU64::new(0),
        dirty: AtomicBool::new(false),
        wake: Notify::new(),
        config,
    });
    inner.set_latency(latency);
    inner.save_soon();
    let manager = tokio::spawn(super::ha::manage(Arc::clone(&inner)));
    let saver = tokio::spawn(save_loop(Arc::clone(&inner), base, stopped.clone()));
    let accepting = Arc::clone(&inner);
    let task = tokio::spawn(async move {
        accept(accepting, listener, acceptor, stopped).await;
        manager.abort();
        drop(saver.await);
    });
    let fingerprint = inner.fingerprint.clone();
    let (ca_pem, secret, password) = (secrets.ca_pem, secrets.token_secret, secrets.password);
    Ok(SimHandle { inner, addr, ca_pem, fingerprint, secret, password, stop, task: Some(task) })
}

fn acceptor(secrets: &persist::Credentials) -> Result<TlsAcceptor, SimError> {
    let tls = |error: &dyn std::fmt::Display| SimError::Tls(error.to_string());
    let chain = [&secrets.cert_pem, &secrets.ca_pem];
    let certs: Vec<_> = chain
        .into_iter()
        .filter_map(|pem| rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).ok())
        .collect();
    let key =
        PrivateKeyDer::from_pem_slice(secrets.key_pem.as_bytes()).map_err(|error| tls(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls(&error))?
        .with_no_client_auth()
        .with_single_cert(certs, key)
        .map_err(|error| tls(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Waits until the handle asks for the end.
async fn stop_asked(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stop| *stop).await);
}

async fn save_loop(inner: Arc<Inner>, base: PathBuf, mut stopped: watch::Receiver<bool>) {
    if inner.config.state_dir.is_none() {
        return;
    }
    loop {
        let last = tokio::select! {
            () = inner.wake.notified() => false,
            () = stop_asked(&mut stopped) => true,
        };
        if inner.dirty.swap(false, Ordering::AcqRel) {
            let text = serde_json::to_vec(&*inner.lock());
            let base = base.clone();
            let written = tokio::task::spawn_blocking(move || {
                text.map(|text| persist::write_atomic(&base.join("state.json"), &text))
            });
            if let Ok(Ok(Err(error))) = written.await {
                tracing::warn!(%error, "simulated state was not saved");
            }
        }
        if last {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn accept(
    inner: Arc<Inner>,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop_asked(&mut stopped) => return,
        };
        let Ok((socket, _)) = socket else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        if !inner.lets_in() {
            continue;
        }
        drop(socket.set_nodelay(true));
        let (inner, acceptor, mut stopped) =
            (Arc::clone(&inner), acceptor.clone(), stopped.clone());
        tokio::spawn(async move {
            let tls = tokio::time::timeout(Duration::from_secs(10), acceptor.accept(socket)).await;
            let Ok(Ok(tls)) = tls else { return };
            let state = Arc::new(http::Connection::default());
            let service = service_fn(|request| {
                let (inner, state) = (Arc::clone(&inner), Arc::clone(&state));
                async move { Box::pin(http::serve(inner, state, request)).await }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(5))
                .half_close(false);
            let connection = server.serve_connection(TokioIo::new(tls), service);
            tokio::pin!(connection);
            let ended = tokio::select! {
                _ = &mut connection => true,
                () = stop_asked(&mut stopped) => false,
            };
            if !ended {
                connection.as_mut().graceful_shutdown();
                drop(tokio::time::timeout(Duration::from_secs(2), connection).await);
            }
        });
    }
}
