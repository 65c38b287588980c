//! What every verb works with: the tree, the environment, the keys.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sha2::Digest as _;

use super::Error;
use crate::compose::bundle::is_lack_of_keys;
use crate::spec::hcl::{Decrypt, DecryptedText};
use crate::spec::model::{Level, LoadOptions, Loaded, load, load_credentials};
use crate::spec::root::{Root, RootError};
use crate::spec::site::{Credentials, Patch, PatchText, Site};
use crate::spec::sops;

/// What a verb is given from outside.
#[derive(Clone)]
pub struct Context {
    /// The working folder.
    pub cwd: PathBuf,
    /// The tree, if it was named.
    pub live: Option<PathBuf>,
    /// The environment.
    pub variables: BTreeMap<String, String>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values of variables may be secret.
        f.debug_struct("Context")
            .field("cwd", &self.cwd)
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// The tree that is meant.
    ///
    /// # Errors
    /// There is none.
    pub fn root(&self) -> Result<Root, Error> {
        let root = match &self.live {
            Some(live) => Root::at(&self.cwd.join(live)),
            None => Root::find(&self.cwd),
        };
        root.map_err(|error| {
            let hint = match &error {
                RootError::NotFound { below: Some(_), .. } => {
                    "the tree is in the folder `live` here: go into it, or say `--live live`"
                }
                RootError::NotFound { .. } => {
                    "go into the tree, name it with --live DIR, or make one with `clusterctl init`"
                }
                _ => "name the folder that holds common/versions.hcl",
            };
            Error::usage(error.to_string()).hint(hint)
        })
    }

    /// Reads the tree without opening anything encrypted.
    ///
    /// # Errors
    /// There is no tree.
    pub fn load(&self) -> Result<(Root, Loaded), Error> {
        self.load_as(false)
    }

    fn load_as(&self, lab: bool) -> Result<(Root, Loaded), Error> {
        let root = self.root()?;
        let loaded = load(LoadOptions {
            live: root.live.clone(),
            repo_root: root.repository.clone(),
            lab,
            variables: self.variables.clone(),
            decrypt: sealed(),
        });
        Ok((root, loaded))
    }

    /// Reads the tree; one with errors is a failure that shows them.
    ///
    /// # Errors
    /// There is no tree, or it has errors.
    pub fn load_valid(&self) -> Result<(Root, Loaded), Error> {
        self.load_valid_as(false)
    }

    /// As [`Self::load_valid`], for the lab or not.
    ///
    /// # Errors
    /// As there.
    pub fn load_valid_as(&self, lab: bool) -> Result<(Root, Loaded), Error> {
        let (root, loaded) = self.load_as(lab)?;
        if !loaded.has_errors() {
            return Ok((root, loaded));
        }
        let errors =
            loaded.diagnostics.iter().filter(|diagnostic| diagnostic.level == Level::Error);
        let mut failure = Error::failed("the tree has errors");
        for diagnostic in errors {
            failure = failure.detail(diagnostic.render(&root.repository));
        }
        Err(failure.hint("`clusterctl validate` shows all of them with their lines"))
    }
}

impl Context {
    /// What `credentials.hcl` says when what is encrypted in it is opened.
    ///
    /// # Errors
    /// There is no key for it, or what it holds cannot be used. No value is told.
    pub(super) fn unseal(&self, root: &Root, site: &Site) -> Result<Credentials, Error> {
        let key_files = site.credentials.age_key_file.clone().into_iter().collect();
        let (credentials, diagnostics) = load_credentials(LoadOptions {
            live: root.live.clone(),
            repo_root: root.repository.clone(),
            lab: false,
            variables: self.variables.clone(),
            decrypt: opening(&self.variables, key_files),
        });
        let failed = || Error::failed("open common/credentials.hcl");
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.level == Level::Error);
        if let Some(error) =
            errors.map(|one| one.render(&root.repository)).reduce(|all, one| all + "\n" + &one)
        {
            return Err(failed().detail(error));
        }
        if let Some(reason) = &credentials.sealed {
            return Err(failed().detail(reason.clone()).hint(
                "give an age identity with SOPS_AGE_KEY_FILE, or PROXMOX_VE_ENDPOINT and \
                 PROXMOX_VE_API_TOKEN in the environment",
            ));
        }
        Ok(credentials)
    }

    /// Opens what is encrypted in the patches of a site, and gives the hash of every file that
    /// was read for it. Without a key they stay closed: what needs them says so.
    ///
    /// # Errors
    /// What they hold cannot be used. No value is told.
    pub(super) fn open_patches(
        &self,
        root: &Root,
        lab: bool,
        site: &mut Site,
    ) -> Result<BTreeMap<PathBuf, [u8; 32]>, Error> {
        let is_sealed = |patch: &Patch| matches!(patch.text, PatchText::Sealed(_));
        if !site.clusters.iter().any(|cluster| cluster.patches().any(is_sealed)) {
            return Ok(BTreeMap::new());
        }
        let read: Rc<RefCell<BTreeMap<PathBuf, [u8; 32]>>> = Rc::default();
        let key_files = site.credentials.age_key_file.clone().into_iter().collect();
        let (open, seen) = (opening(&self.variables, key_files), Rc::clone(&read));
        let opened = load(LoadOptions {
            live: root.live.clone(),
            repo_root: root.repository.clone(),
            lab,
            variables: self.variables.clone(),
            decrypt: Box::new(move |path| {
                let bytes = fs_err::read(path).map_err(|error| error.to_string())?;
                let hash = sha2::Sha256::digest(&bytes).into();
                seen.borrow_mut().insert(path.to_path_buf(), hash);
                open(path)
            }),
        });
        let Some(opened_site) = opened.site else {
            let mut failure = Error::failed("open the encrypted patches of the tree");
            for one in opened.diagnostics.iter().filter(|one| one.level == Level::Error) {
                failure = failure.detail(one.render(&root.repository));
            }
            return Err(failure);
        };
        // Nothing else of what was opened is used.
        let changed = || Error::failed("the tree changed while it was read").hint("try again");
        for cluster in &mut site.clusters {
            let found = opened_site.clusters.iter().find(|one| one.folder == cluster.folder);
            let opened = found.ok_or_else(changed)?;
            cluster.patches_all.clone_from(&opened.patches_all);
            cluster.patches_controlplane.clone_from(&opened.patches_controlplane);
            cluster.patches_worker.clone_from(&opened.patches_worker);
            for node in &mut cluster.nodes {
                let found = opened.nodes.iter().find(|one| one.name == node.name);
                node.patches.clone_from(&found.ok_or_else(changed)?.patches);
            }
        }
        Ok(read.take())
    }
}

/// Opens nothing: what is encrypted is not known.
fn sealed() -> Decrypt {
    Box::new(|_| Ok(DecryptedText::NoKey("it is encrypted, and this verb opens nothing".into())))
}

/// Opens SOPS files with the identities of the environment; without one what they hold is not
/// known.
pub(super) fn opening(variables: &BTreeMap<String, String>, key_files: Vec<PathBuf>) -> Decrypt {
    let sources =
        sops::IdentitySources { variables: variables.clone(), key_files, ..Default::default() };
    // A command that gives a key is run once, however many files there are.
    let identities = RefCell::new(None);
    Box::new(move |path: &Path| {
        let bytes = fs_err::read(path).map_err(|error| error.to_string())?;
        let format = sops::Format::of_path(path);
        let mut identities = identities.borrow_mut();
        let identities = identities.get_or_insert_with(|| sops::Identities::gather(&sources));
        match sops::decrypt(&bytes, format, identities) {
            Ok(opened) => {
                opened.to_text(format).map(DecryptedText::Plain).map_err(|error| error.to_string())
            }
            Err(error) if is_lack_of_keys(error.class()) => {
                Ok(DecryptedText::NoKey(error.to_string()))
            }
            Err(error) => Err(error.to_string()),
        }
    })
}
