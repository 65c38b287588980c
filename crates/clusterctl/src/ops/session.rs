//! A look at a site, and what it takes for one: the tree, credentials, clients, the lab.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use proxmox_client::plan::sdn::{Object, SdnObserved};
use secrecy::ExposeSecret as _;
use sha2::Digest as _;

use super::inventory::named;
use super::{Context, Error};
use crate::compose::credentials::Credentials;
use crate::compose::crew::{Crew, Detour};
use crate::compose::custody::{self, Keys};
use crate::compose::destroy::destroy;
use crate::compose::draft::{Drafted, Wish, draft};
use crate::compose::neighbour::network_users;
use crate::compose::network;
use crate::compose::observe::{Machines, observe, observe_proxmox};
use crate::compose::rights;
use crate::compose::target::{Extent, Target};
use crate::compose::world::World;
use crate::engine::Base;
use crate::lab::Lab;
use crate::spec::model::Level;
use crate::spec::root::Root;
use crate::spec::site::Cluster;
use crate::state::LedgerEntry;

/// How many calls to Proxmox are under way at once.
const CONCURRENCY: usize = 16;

/// A tree with clients for its site.
#[derive(Debug)]
pub struct Session {
    /// The tree.
    pub root: Root,
    /// Clients, keys, places.
    pub crew: Arc<Crew>,
    /// Fingerprint of the tree's text.
    pub tree: String,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// A plan with what it was made from.
#[derive(Debug)]
pub struct Made {
    /// The plan with what stands in its way.
    pub drafted: Drafted,
    /// What was seen.
    pub world: World,
    /// Requests that carrying it out will make, about.
    pub calls: u64,
}

impl Session {
    /// Reads the tree and makes clients; with `lab` the lab is started where it is absent.
    ///
    /// # Errors
    /// The tree has errors or asks for what this version cannot do, credentials are missing, or
    /// the lab does not start.
    pub fn open(context: &Context, lab: bool) -> Result<Self, Error> {
        Self::open_for(context, lab, &[])
    }

    /// As [`Self::open`], for a verb that is about these clusters: a name that is that of none is told
    /// before anything else is asked for.
    ///
    /// # Errors
    /// As [`Self::open`], or a name is that of no cluster.
    pub fn open_for(context: &Context, lab: bool, clusters: &[String]) -> Result<Self, Error> {
        let (root, loaded) = context.load_valid_as(lab)?;
        if let Some(site) = &loaded.site {
            named(site, clusters)?;
        }
        if !loaded.unsupported.is_empty() {
            let mut error = Error::refused("the tree asks for what this version cannot do yet");
            for found in &loaded.unsupported {
                error = error.detail(found.render(&root.repository));
            }
            return Err(error.hint("nothing that is written is ignored: remove these keys for now"));
        }
        let mut site = loaded.site.ok_or_else(|| Error::failed("the tree gave no site"))?;
        let opened = context.open_patches(&root, lab, &mut site)?;
        let tree = fingerprint(&loaded.sources, &opened);
        let mut warnings = Vec::new();
        let (config, detour) = if lab {
            let lab = Lab::ensure(&root, &site)?;
            let token = lab.proxmox_token();
            let auth = proxmox_client::Auth::token(token.expose_secret())
                .ok_or_else(|| Error::failed("read the lab's token"))?;
            let config = proxmox_client::ClientConfig::new(lab.proxmox_endpoint(), auth)
                .trust(proxmox_client::Trust::Ca(lab.ca_pem().to_owned()));
            (config, Some(detour(&lab)))
        } else {
            let credentials =
                Credentials::gather(&site, &context.variables, || context.unseal(&root, &site))?;
            if credentials.is_insecure() {
                warnings.push(
                    "PROXMOX_VE_INSECURE is set: the certificate of Proxmox is not checked".into(),
                );
            }
            if site.credentials.age_key_file.is_some() {
                warnings
                    .push("age_key_file names a key in the repository: it protects nothing".into());
            }
            (credentials.client_config()?, None)
        };
        let config = config.concurrency(CONCURRENCY);
        let crew = Crew::new(site, &config, &context.variables, detour)?;
        let mut wrong = Vec::new();
        for problem in custody::problems(&crew.bundles, &crew.site.clusters, Keys::AtHand)? {
            let (path, text, help) = (problem.path.display(), problem.text, problem.help);
            let told = format!("{path}: {text}\n  help: {help}");
            match problem.level {
                Level::Error => wrong.push(told),
                Level::Warning | Level::Info => warnings.push(told),
            }
        }
        if !wrong.is_empty() {
            let error = Error::refused("secrets of the tree are not what they should be");
            return Err(wrong.into_iter().fold(error, Error::detail));
        }
        Ok(Self { root, crew: Arc::new(crew), tree, warnings })
    }

    /// Looks at the site and makes a plan.
    ///
    /// # Errors
    /// The target is none, or the site cannot be seen.
    pub async fn make(&self, wish: &Wish) -> Result<Made, Error> {
        let mut world = observe(&self.crew).await.map_err(unseen)?;
        if wish.allow_remove && wish.target.sdn == Extent::Full {
            let ledger = self.crew.lock_file().ledger;
            let desired = network::desired(&self.crew.site, &world.peers);
            let left = network::left(&desired, &world.sdn, &ledger);
            self.look_at_users(&left, &ledger, &mut world).await?;
        }
        let base = Base { tree: self.tree.clone(), observation: world.fingerprint() };
        let drafted = draft(&self.crew, &world, wish, base)?;
        self.allowed(drafted, world).await
    }

    /// Before networks go, it is known who is on them.
    async fn look_at_users(
        &self,
        going: &[Object],
        ledger: &BTreeSet<LedgerEntry>,
        world: &mut World,
    ) -> Result<(), Error> {
        if network::users_count(going, &world.sdn, ledger) {
            world.network_users = network_users(&self.crew).await.map_err(unseen)?;
        }
        Ok(())
    }

    /// Adds what Proxmox would not allow to what stands in the way of a plan.
    async fn allowed(&self, mut drafted: Drafted, world: World) -> Result<Made, Error> {
        let needed = rights::needed(&self.crew, &world.storages, &drafted.plan);
        if needed.iter().next().is_some() {
            let has = self
                .crew
                .proxmox
                .permissions()
                .await
                .map_err(|error| Error::failed("ask Proxmox what we may do").because(error))?;
            drafted.problems.extend(rights::problem(&needed, &has));
        }
        drafted.problems.extend(rights::of_root(&needed, self.crew.proxmox.is_root()));
        let calls = calls(&drafted);
        Ok(Made { drafted, world, calls })
    }

    /// Looks at Proxmox and makes the plan that removes what a target has made.
    ///
    /// # Errors
    /// Proxmox cannot be seen.
    pub async fn unmake(&self, target: &Target) -> Result<Made, Error> {
        let mut world = observe_proxmox(&self.crew, Machines::All).await.map_err(unseen)?;
        if target.sdn == Extent::Full {
            let ledger = self.crew.lock_file().ledger;
            let going = network::present(&self.crew.site, &world, &ledger);
            self.look_at_users(&going, &ledger, &mut world).await?;
        }
        let base = Base { tree: self.tree.clone(), observation: world.fingerprint() };
        let drafted = destroy(&self.crew, &world, target, base)?;
        self.allowed(drafted, world).await
    }

    /// Takes networks out of the ledger that are neither there nor saved, where the token sees all
    /// that are. What a list hides is not gone.
    ///
    /// # Errors
    /// Proxmox cannot be asked, or the lock file not be written.
    pub async fn forget_vanished(&self, seen: &SdnObserved) -> Result<(), Error> {
        let ledger = self.crew.lock_file().ledger;
        let vanished = network::vanished(&ledger, seen);
        if vanished.is_empty() {
            return Ok(());
        }
        let tree = self.crew.site.sdn.as_ref().map(|sdn| sdn.zone_id.as_str());
        let paths = network::seen_on(&ledger, seen, tree);
        let hidden = self.crew.proxmox.access().first_hidden(paths, &network::SEES).await;
        match hidden {
            Ok(Some(_)) => Ok(()),
            Ok(None) => self
                .crew
                .update_lock_file(|lock| lock.ledger.retain(|entry| !vanished.contains(entry))),
            Err(error) => Err(Error::failed("ask Proxmox what we may do").because(error)),
        }
    }

    /// The clusters that are called so; all when none is named.
    ///
    /// # Errors
    /// A name is that of none.
    pub fn clusters(&self, names: &[String]) -> Result<Vec<&Cluster>, Error> {
        named(&self.crew.site, names)
    }

    /// What paths of the command line mean.
    ///
    /// # Errors
    /// A path is no target.
    pub fn target(&self, context: &Context, paths: &[String]) -> Result<Target, Error> {
        Target::of(&self.crew.site, &self.crew.lock_file().ledger, &context.cwd, paths)
    }
}

/// Where what the plan names is really reached in a lab.
pub(super) fn detour(lab: &Lab) -> Detour {
    Detour {
        talos: lab.talos_dial(),
        hosts: lab.factory_dial(),
        authorities: Some(lab.ca_pem().to_owned()),
    }
}

/// What a look that failed leaves to do.
fn unseen(error: Error) -> Error {
    if error.kind() == super::ErrorKind::Failed {
        return error
            .hint("`clusterctl doctor` looks closer: names, TLS, clocks, privileges, reach");
    }
    error
}

/// A runtime for calls.
///
/// # Errors
/// The system gives no threads.
pub fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .map_err(|error| Error::failed("start the runtime").because(error))
}

/// A runtime for looking: thousands of small answers are read on one thread, since between two of
/// them each would cost a wake-up.
///
/// # Errors
/// As [`runtime`].
pub fn onlooker() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed("start the runtime").because(error))
}

fn calls(drafted: &Drafted) -> u64 {
    use crate::compose::action::Action as A;
    let of = |action: &A| match action {
        A::Networks { plan } => 10 + 2 * u64::try_from(plan.changes.len()).unwrap_or(u64::MAX),
        A::CreateMachine { .. } | A::ChangeMachine { .. } | A::DestroyMachine { .. } => 20,
        A::StartMachine { .. } | A::EjectMedium { .. } => 12,
        A::Configure { .. } | A::Reconfigure { .. } => 30,
        A::Bootstrap { .. } | A::AwaitCluster { .. } => 20,
        _ => 4,
    };
    drafted.plan.steps.values().map(|step| of(&step.action)).sum()
}

/// Of the tree's texts, and of the encrypted files as they lie there.
fn fingerprint(
    sources: &crate::spec::model::Sources,
    encrypted: &BTreeMap<PathBuf, [u8; 32]>,
) -> String {
    use std::fmt::Write as _;
    let mut hash = sha2::Sha256::new();
    for (path, text) in sources.0.iter() {
        hash.update(path.to_string_lossy().as_bytes());
        hash.update([0]);
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    for (path, of) in encrypted {
        hash.update(path.to_string_lossy().as_bytes());
        hash.update([0]);
        hash.update(of);
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
