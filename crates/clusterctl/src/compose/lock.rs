//! One operator at a time: a pool of Proxmox that exists while somebody is at work.
//!
//! The pool's comment says who. A lock is taken over only when its owner is a process of this
//! host that is gone; in every other case a person decides (`unlock`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use proxmox_client::{Client, ErrorKind};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind as Kind};

/// How long a lock is good for without a renewal, in seconds.
const LIFETIME: i64 = 600;

/// How long another take-over on this host is waited for, and how often it is looked at.
const TAKE_OVER: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(20);

/// How often it is renewed.
const RENEWAL: Duration = Duration::from_mins(5);

/// How often the lock is tried to be taken when the answers are lost.
const ATTEMPTS: usize = 3;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The user.
    pub owner: String,
    /// The host.
    pub host: String,
    /// The boot of that host, with the namespace that its process numbers are of: a container may
    /// have the name and the boot of its host, and other processes.
    pub boot: String,
    /// The process.
    pub pid: u32,
    /// When that process started, in clock ticks since the boot: numbers are used again.
    pub started: u64,
    /// The run.
    pub run: String,
    /// When the lock ends unless it is renewed, in seconds since 1970.
    pub expires: i64,
}

impl Holder {
    /// This process.
    pub fn this(run: &str, variables: &std::collections::BTreeMap<String, String>) -> Self {
        let read = |path: &str| {
            fs_err::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        let owner = ["USER", "LOGNAME"].iter().find_map(|name| variables.get(*name).cloned());
        let pid = std::process::id();
        Self {
            owner: owner.unwrap_or_else(|| "somebody".to_owned()),
            host: read("/proc/sys/kernel/hostname"),
            boot: match read("/proc/sys/kernel/random/boot_id") {
                boot if boot.is_empty() => boot,
                boot => format!("{boot} {}", process_namespace()),
            },
            pid,
            started: start_of(pid).unwrap_or_default(),
            run: run.to_owned(),
            expires: 0,
        }
    }

    fn is_of_this_boot(&self, this: &Self) -> bool {
        !self.boot.is_empty() && self.host == this.host && self.boot == this.boot
    }

    /// Whether this is a process of the same host and boot that is gone.
    fn is_gone(&self, this: &Self) -> bool {
        self.is_of_this_boot(this) && start_of(self.pid) != Some(self.started)
    }

    /// Whether this is a process of the same host and boot that is there.
    fn is_alive(&self, this: &Self) -> bool {
        self.is_of_this_boot(this) && start_of(self.pid) == Some(self.started)
    }

    /// Who it is, for people.
    pub fn describe(&self) -> String {
        let at = jiff::Timestamp::from_second(self.expires)
            .map_or_else(|_| "an unknown time".to_owned(), |time| time.to_string());
        format!(
            "{} on {} (process {}, run {}); it ends at {at} unless it is renewed",
            self.owner, self.host, self.pid, self.run
        )
    }
}

/// Names the namespace that the numbers of our processes are of, such as `pid:[4026531836]`.
fn process_namespace() -> String {
    fs_err::read_link("/proc/self/ns/pid")
        .map(|path| path.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// When a process started; none when there is no such process.
fn start_of(pid: u32) -> Option<u64> {
    let text = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in brackets and may hold anything.
    let rest = text.rsplit_once(')')?.1;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// The pool that is a site's lock.
pub fn pool_of(site: &str) -> String {
    let name: String = site
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' })
        .collect();
    format!("clusterctl-lock-{name}")
}

/// A lock that is held; [`Lease::release`] ends it.
#[derive(Debug)]
pub struct Lease {
    client: Client,
    /// None when Proxmox does not let us have pools: then the local lock is all there is.
    pool: Option<String>,
    holder: Holder,
    stop: CancellationToken,
    lost: CancellationToken,
    _local: std::fs::File,
    /// What the user should know of it.
    pub warning: Option<String>,
}

fn failed(what: &str) -> impl FnOnce(proxmox_client::Error) -> Error {
    let what = what.to_owned();
    move |error| Error::failed(what).because(error)
}

fn text_of(holder: &Holder) -> String {
    serde_json::to_string(holder).unwrap_or_default()
}

/// Takes the lock of a site; `file` is the local one.
///
/// # Errors
/// Somebody else holds it, or it cannot be taken.
pub async fn acquire(
    client: &Client,
    site: &str,
    file: &Path,
    mut holder: Holder,
) -> Result<Lease, Error> {
    let local = local(file)?;
    let pool = pool_of(site);
    holder.expires = now() + LIFETIME;
    let (pool, warning) = match take(client, &pool, &holder).await? {
        Taken::Pool => (Some(pool), None),
        Taken::Refused(why) => {
            let text = format!(
                "the lock is local only: {why}; with Pool.Allocate and Pool.Audit on \
                 /pool/{pool} others would be kept out too"
            );
            (None, Some(text))
        }
    };
    let lease = Lease {
        client: client.clone(),
        pool,
        holder,
        stop: CancellationToken::new(),
        lost: CancellationToken::new(),
        _local: local,
        warning,
    };
    lease.renew();
    Ok(lease)
}

enum Taken {
    Pool,
    /// Proxmox does not let us have pools, or not see them; why.
    Refused(String),
}

/// Makes the pool, or takes over that of a run that is gone; it is read back.
async fn take(client: &Client, pool: &str, holder: &Holder) -> Result<Taken, Error> {
    for _ in 0..ATTEMPTS {
        match client.pools().create(pool, &text_of(holder)).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Forbidden => {
                return Ok(Taken::Refused(error.to_string()));
            }
            Err(error)
                if error.kind() == ErrorKind::AlreadyExists || error.may_have_been_applied() =>
            {
                match look(client, pool).await.map_err(failed("read the lock of the site"))? {
                    // The answer was lost, or somebody has just ended theirs.
                    None => continue,
                    Some(other) => take_over(client, pool, other, holder).await?,
                }
            }
            Err(error) => return Err(failed("take the lock of the site")(error)),
        }
        match look(client, pool).await {
            Ok(Some(Some(other))) if other.run == holder.run => return Ok(Taken::Pool),
            Ok(Some(other)) => return Err(held(other.as_ref())),
            Ok(None) => {}
            // A pool that may be made and not seen is no lock: it cannot be told whose it is.
            Err(error) if error.kind() == ErrorKind::Forbidden => {
                let removed = client.pools().delete(pool).await;
                removed.map_err(failed("remove a lock that may not be read"))?;
                return Ok(Taken::Refused(error.to_string()));
            }
            Err(error) => return Err(failed("read the lock of the site")(error)),
        }
    }
    Err(Error::new(Kind::Locked, "the lock of the site comes and goes")
        .detail(format!("{pool} was taken {ATTEMPTS} times and was not there afterwards"))
        .hint("somebody else starts and ends runs, or removes the pool; try again"))
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn local(path: &Path) -> Result<std::fs::File, Error> {
    let at = |what: &'static str| move |error: std::io::Error| Error::failed(what).because(error);
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder).map_err(at("make the folder of the lock"))?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let file = options.open(path).map_err(at("open the local lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Error::new(Kind::Locked, "another run is at work in this tree")
                .detail(format!("{} is locked", path.display()))
                .hint("wait for it"))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(at("take the local lock")(error)),
    }
}

/// Who holds a site's lock; none when nobody does, or when it cannot be told.
///
/// # Errors
/// Proxmox cannot be asked.
pub async fn read(client: &Client, pool: &str) -> Result<Option<Holder>, Error> {
    Ok(look(client, pool).await.map_err(failed("read the lock of the site"))?.flatten())
}

/// The pool of a lock, if it is there, and whom it names.
async fn look(client: &Client, pool: &str) -> proxmox_client::Result<Option<Option<Holder>>> {
    let found = client.pools().get(pool).await?;
    Ok(found.map(|pool| pool.comment.and_then(|text| serde_json::from_str(&text).ok())))
}

fn held(holder: Option<&Holder>) -> Error {
    let error = Error::new(Kind::Locked, "another operator is at work on this site");
    match holder {
        Some(holder) => error.detail(format!("the lock is held by {}", holder.describe())),
        None => error.detail("the lock does not say by whom"),
    }
    .hint("wait; if nobody is at work any more, `clusterctl unlock`")
}

/// Takes over the lock of a run that is gone.
async fn take_over(
    client: &Client,
    pool: &str,
    found: Option<Holder>,
    this: &Holder,
) -> Result<(), Error> {
    let gone = match &found {
        // The answer to our own creation was lost.
        Some(holder) if holder.run == this.run => return Ok(()),
        Some(holder) if holder.is_gone(this) => holder,
        other => return Err(held(other.as_ref())),
    };
    // Two of this host may find the same run gone: one after the other looks again and writes.
    let _alone = alone_on_host(client, pool).await?;
    let again = read(client, pool).await?;
    if again.as_ref() != Some(gone) {
        return Err(held(again.as_ref()));
    }
    let written = client.pools().set_comment(pool, &text_of(this)).await;
    written.map_err(failed("take over the lock of a run that is gone"))
}

/// Keeps other processes of this host away from a lock's take-over, waiting for the one that is at
/// it: that takes a few calls. Ends with the process.
#[cfg(target_os = "linux")]
async fn alone_on_host(
    client: &Client,
    pool: &str,
) -> Result<std::os::unix::net::UnixListener, Error> {
    use sha2::Digest as _;
    use std::io::ErrorKind::AddrInUse;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};
    // Sites of one name at different endpoints have nothing to do with each other. A name of this
    // kind is at most 107 bytes long.
    let name = sha2::Sha256::digest(format!("clusterctl/{}/{pool}", client.base_url()));
    let end = tokio::time::Instant::now() + TAKE_OVER;
    loop {
        let taken = SocketAddr::from_abstract_name(name)
            .and_then(|address| UnixListener::bind_addr(&address));
        match taken {
            Ok(taken) => return Ok(taken),
            Err(error) if error.kind() == AddrInUse && tokio::time::Instant::now() < end => {
                tokio::time::sleep(LOOK).await;
            }
            Err(error) => {
                let what = "another run of this host takes over the lock of the site";
                return Err(Error::new(Kind::Locked, what).because(error).hint("wait for it"));
            }
        }
    }
}

/// Without process starts to compare, nothing is ever taken over here.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unused_async, reason = "as on Linux")]
async fn alone_on_host(_client: &Client, _pool: &str) -> Result<(), Error> {
    Ok(())
}

impl Lease {
    /// The pool that says so; none when the lock is local only.
    pub fn pool(&self) -> Option<&str> {
        self.pool.as_deref()
    }

    /// Ends when the lock was taken away from this run, which has to stop then.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    fn renew(&self) {
        let Some(pool) = self.pool.clone() else { return };
        let (client, stop, lost) = (self.client.clone(), self.stop.clone(), self.lost.clone());
        let mut holder = self.holder.clone();
        drop(tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(RENEWAL) => {}
                    () = stop.cancelled() => break,
                }
                holder.expires = now() + LIFETIME;
                // Somebody may have removed it, and another have it by now: theirs is not
                // written over.
                match look(&client, &pool).await {
                    Ok(Some(Some(other))) if other.run == holder.run => {}
                    Ok(found) => {
                        let by = found.flatten().map_or_else(
                            || "it is gone".to_owned(),
                            |other| format!("it is held by {}", other.describe()),
                        );
                        tracing::error!("the lock of the site was taken away: {by}");
                        lost.cancel();
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the lock was not renewed");
                        continue;
                    }
                }
                if let Err(error) = client.pools().set_comment(&pool, &text_of(&holder)).await {
                    tracing::warn!(%error, "the lock was not renewed");
                }
            }
        }));
    }

    /// Ends the lock, if it is still ours.
    ///
    /// # Errors
    /// Proxmox cannot be asked: the lock stays, and the next run of this host takes it over.
    pub async fn release(self) -> Result<(), Error> {
        self.stop.cancel();
        let Some(pool) = &self.pool else { return Ok(()) };
        let found = read(&self.client, pool).await?;
        if found.is_some_and(|holder| holder.run == self.holder.run) {
            self.client.pools().delete(pool).await.map_err(failed("end the lock of the site"))?;
        }
        Ok(())
    }
}

/// Whose a lock is, as somebody was told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The run; none when the lock does not say.
    run: Option<String>,
    text: String,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Who holds a site's lock; `None` when nobody does.
///
/// # Errors
/// Proxmox cannot be asked.
pub async fn owner(client: &Client, site: &str) -> Result<Option<Owner>, Error> {
    let found = look(client, &pool_of(site)).await.map_err(failed("read the lock of the site"))?;
    Ok(found.map(|holder| Owner {
        text: holder.as_ref().map_or_else(|| "somebody unknown".to_owned(), Holder::describe),
        run: holder.map(|holder| holder.run),
    }))
}

/// Removes a site's lock, unless its owner is known to be alive, or it is not `asked`'s any more.
/// False when there was none.
///
/// # Errors
/// The owner is a process of this host that is alive or another one than was asked about, or
/// Proxmox cannot be asked.
pub async fn unlock(
    client: &Client,
    site: &str,
    this: &Holder,
    asked: &Owner,
) -> Result<bool, Error> {
    let pool = pool_of(site);
    let found = look(client, &pool).await.map_err(failed("read the lock of the site"))?;
    let Some(holder) = found else { return Ok(false) };
    if holder.as_ref().map(|holder| &holder.run) != asked.run.as_ref() {
        return Err(held(holder.as_ref()).detail("it was another's when you were asked"));
    }
    if let Some(holder) = holder.filter(|holder| holder.is_alive(this)) {
        return Err(Error::new(Kind::Locked, "the owner of the lock is at work on this host")
            .detail(format!("it is {}", holder.describe()))
            .hint("wait for it, or end that process first"));
    }
    client.pools().delete(&pool).await.map_err(failed("remove the lock of the site"))?;
    Ok(true)
}

/// Where the local lock lies.
pub fn local_path(own: &Path) -> PathBuf {
    own.join("lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_only_looked_for_where_its_number_means_something() {
        let this = Holder::this("r1", &std::collections::BTreeMap::new());
        assert!(this.is_alive(&this) && !this.is_gone(&this));
        let ended = Holder { pid: u32::MAX, ..this.clone() };
        assert!(ended.is_gone(&this) && !ended.is_alive(&this));
        // The same host and boot, from inside of a container.
        let boot = this.boot.replace("pid:[", "pid:[1");
        assert_ne!(boot, this.boot);
        let elsewhere = Holder { boot, ..ended };
        assert!(!elsewhere.is_gone(&this) && !elsewhere.is_alive(&this));
    }
}
