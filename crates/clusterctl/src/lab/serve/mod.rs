//! The process of the lab: simulators, the joins between them, and the control socket.

mod access;
mod certificate;
mod fault;
mod guest;
mod image;
mod site;
mod socket;
mod status;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::error::{LabError, LabErrorKind};
use super::manners::Manners;
use super::paths::{Paths, own_folder};
use super::process::{Held, LOOK, try_hold};
use super::world::World;
use crate::state::remove_if_present;
use site::LabSite;

/// How often the process looks whether its folder is still there.
const WATCH: Duration = Duration::from_secs(2);

/// How long a simulator may take to stop.
const STOPPING: Duration = Duration::from_secs(5);

/// Files that may be open: a socket for each planned address and each connection.
const OPEN_FILES: u64 = 1 << 16;

/// How the process of a lab is started.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The folder of the lab.
    pub dir: PathBuf,
    /// The build that started it.
    pub build: String,
    /// A folder of the user's own for sockets.
    pub runtime_dir: Option<PathBuf>,
    /// How fast everything is.
    pub manners: Manners,
}

/// Is the lab until it is told to end.
///
/// # Errors
/// A lab lives in the folder already, or something of it cannot be set up.
pub fn serve(options: ServeOptions) -> Result<(), LabError> {
    // Already a leader, as when started by hand: then the session is the caller's.
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "no session of its own");
    }
    // Whatever a simulator writes is for its owner alone.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    more_files();
    let failed =
        |error: std::io::Error| LabError::new(LabErrorKind::Start, "start the lab").because(error);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("lab")
        .enable_all()
        .build()
        .map_err(failed)?;
    let done = runtime.block_on(Box::pin(run(options)));
    // What still hangs at a socket does not keep the process.
    runtime.shutdown_timeout(STOPPING);
    done
}

fn more_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the number of open files stays small");
        }
    }
}

async fn run(options: ServeOptions) -> Result<(), LabError> {
    let paths = Paths::at(&options.dir);
    own_folder(paths.dir())?;
    let _alive = alive(&paths).await?;
    let socket = paths.socket(options.runtime_dir.as_deref())?;
    let stop = CancellationToken::new();
    let watched = watch(paths.clone(), stop.clone())?;
    let site = Arc::new(LabSite::start(&paths, &options, &socket)?);
    let joined = guest::attach(Arc::clone(&site), stop.clone());
    let world = wanted(&paths.world())?;
    site.sync(world).await?;
    let served = socket::listen(&socket, Arc::clone(&site), stop.clone())?;
    let file = site.file().await?;
    file.write(&paths.file())?;
    tracing::info!(pid = file.pid, proxmox = file.proxmox.endpoint, "the lab is ready");
    stop.cancelled().await;
    tracing::info!("the lab ends");
    // From here on nobody finds it; files of a folder that is gone are gone.
    drop(remove_if_present(&paths.file()));
    drop(remove_if_present(&socket));
    for task in [served, joined, watched] {
        drop(tokio::time::timeout(STOPPING, task).await);
    }
    site.stop().await;
    Ok(())
}

/// Takes the lock of the one that lives here. Whoever just looks has it for a moment.
async fn alive(paths: &Paths) -> Result<Held, LabError> {
    for _ in 0..50 {
        if let Some(held) = try_hold(&paths.alive())? {
            return Ok(held);
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(LabError::new(
        LabErrorKind::Start,
        format!("a lab lives in {} already", paths.dir().display()),
    ))
}

/// What earlier trees and the one that started the lab want.
fn wanted(path: &Path) -> Result<World, LabError> {
    let Some(bytes) = crate::state::read_if_present(path).map_err(LabError::file("read", path))?
    else {
        return Ok(World::default());
    };
    serde_json::from_slice(&bytes).map_err(LabError::file("read", path))
}

/// Ends the lab on a signal, and when its folder is gone: nobody could find it any more.
fn watch(paths: Paths, stop: CancellationToken) -> Result<tokio::task::JoinHandle<()>, LabError> {
    let failed = |error: std::io::Error| {
        LabError::new(LabErrorKind::Start, "wait for signals").because(error)
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    Ok(tokio::spawn(async move {
        let mut tick = tokio::time::interval(WATCH);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                // The terminal it was started from is none of its business.
                _ = hangup.recv() => {}
                _ = tick.tick() => if !paths.alive().exists() { break },
            }
        }
        stop.cancel();
    }))
}
