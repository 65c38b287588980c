//! A simulated image factory and a simulated OCI registry, on loopback.
//!
//! They serve what tests and labs need: schematics, versions, extension lists, ISOs, installer
//! images, and a registry that takes pushes. **Everything they serve is synthetic** and says so:
//! an ISO holds [a mark](lab_iso) instead of a system, an installer one text file. Nothing here
//! boots anywhere but in a lab that knows the mark.
//!
//! ```
//! use imagefactory::sim::Sim;
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let sim = Sim::builder().start().await?;
//! println!("http://{} http://{}", sim.factory_addr(), sim.registry_addr());
//! sim.stop().await;
//! # Ok::<(), imagefactory::sim::SimError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod base;
mod catalog;
mod factory;
mod fault;
mod image;
pub mod lab_iso;
mod package;
mod registry;
mod reply;
mod server;
mod store;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::catalog::LabExtension;
pub use self::fault::{Call, Fault, Faults, Side};
pub use self::tls::SimTls;

/// Why a simulator cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the simulated factory cannot start: {what}")]
pub struct SimError {
    what: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SimError {
    fn new(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { what: what.into(), source: Some(source.into()) }
    }
}

/// How a simulator is set up.
#[derive(Debug, Clone)]
pub struct SimBuilder {
    pub(crate) tls: Option<SimTls>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) iso_size: u64,
    pub(crate) direct: bool,
    pub(crate) login: Option<(String, String)>,
    /// Who may use the factory, with the password; any password where none is given.
    pub(crate) owner: Option<(String, Option<String>)>,
    pub(crate) extensions: Vec<LabExtension>,
    ports: (u16, u16),
}

impl SimBuilder {
    /// Serves TLS with this certificate; without, plain HTTP.
    #[must_use]
    pub fn tls(mut self, tls: SimTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Keeps schematics, manifests and blobs in a folder, so that they outlive the process.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Size of an ISO in bytes; at least 64 KiB, rounded up to whole sectors of 2048.
    #[must_use]
    pub fn iso_size(mut self, bytes: u64) -> Self {
        self.iso_size = bytes.max(1 << 16).next_multiple_of(2048);
        self
    }

    /// Answers with the image itself, without ranges, instead of leading to a storage that has
    /// them: public factories do both.
    #[must_use]
    pub fn direct(mut self) -> Self {
        self.direct = true;
        self
    }

    /// The registry asks for this user and password.
    #[must_use]
    pub fn registry_login(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// The factory is a private one: it asks for this user and password (any password without one)
    /// and stamps schematics as the user's, which is part of their ids.
    #[must_use]
    pub fn factory_login(mut self, user: &str, password: Option<&str>) -> Self {
        self.owner = Some((user.to_owned(), password.map(str::to_owned)));
        self
    }

    /// Adds an official extension to the lists (or replaces one of the same name).
    #[must_use]
    pub fn extension(mut self, extension: LabExtension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Listens on these ports (factory, registry) instead of free ones.
    #[must_use]
    pub fn ports(mut self, factory: u16, registry: u16) -> Self {
        self.ports = (factory, registry);
        self
    }

    /// Starts both servers on 127.0.0.1.
    ///
    /// # Errors
    /// A port is taken, the folder cannot be used, or the certificate makes no sense.
    pub async fn start(self) -> Result<Sim, SimError> {
        let acceptor = self.tls.as_ref().map(SimTls::acceptor).transpose()?;
        let ca_pem = self.tls.as_ref().map(|tls| tls.ca_pem().to_owned());
        let (factory, factory_addr) = listen(self.ports.0).await?;
        let (registry, registry_addr) = listen(self.ports.1).await?;
        let store = store::Store::open(self.dir.as_deref())
            .map_err(|error| SimError::new("its folder cannot be used", error))?;
        let faults = Faults::default();
        let shared = Arc::new(server::Shared { config: self, store, faults: faults.clone() });
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (side, listener) in [(Side::Factory, factory), (Side::Registry, registry)] {
            let shared = Arc::clone(&shared);
            tasks.spawn(server::serve(side, listener, acceptor.clone(), shared, stopped.clone()));
        }
        Ok(Sim { factory_addr, registry_addr, ca_pem, faults, stop, tasks })
    }
}

async fn listen(port: u16) -> Result<(TcpListener, SocketAddr), SimError> {
    let failed = |error| SimError::new(format!("port {port} cannot be listened on"), error);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    Ok((listener, addr))
}

/// A running factory and registry.
#[derive(Debug)]
pub struct Sim {
    factory_addr: SocketAddr,
    registry_addr: SocketAddr,
    ca_pem: Option<String>,
    faults: Faults,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Sim {
    /// Sets one up.
    pub fn builder() -> SimBuilder {
        SimBuilder {
            tls: None,
            dir: None,
            iso_size: 4 << 20,
            direct: false,
            login: None,
            owner: None,
            extensions: Vec::new(),
            ports: (0, 0),
        }
    }

    /// Where the factory listens.
    pub fn factory_addr(&self) -> SocketAddr {
        self.factory_addr
    }

    /// Where the registry listens.
    pub fn registry_addr(&self) -> SocketAddr {
        self.registry_addr
    }

    /// The authority of its certificate, if it speaks TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Makes it misbehave, and tells what it was asked.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Stops it and waits until its connections are closed.
    pub async fn stop(mut self) {
        let _sent = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}
