//! Secrets bundles of clusters: read, made once, never written over.
//!
//! In a real tree a bundle lies beside `cluster.hcl`, encrypted by the rules of `.sops.yaml`. The
//! lab has bundles of its own, encrypted for a key of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use sha2::Digest as _;
use talos_client::pki::Pem;
use talos_client::secrets::{Bundle, Contract};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::spec::site::{Cluster, Site};
use crate::spec::sops::{self, EncryptOptions, Format, Plain, Step};
use crate::state::{FileError, Layout, Mode, read_text_if_present, write, write_new};

/// The form of the clear fields.
const FORM: u32 = 1;

/// The section of a bundle that stays readable.
const CLEAR: &str = "clusterctl_unencrypted";

/// Largest file that is taken for a bundle or a configuration, in bytes.
const LARGEST: u64 = 16 << 20;

/// What tells whose bundle a file is, readable without a key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Clear {
    /// The cluster's id.
    pub cluster_id: u16,
    /// The cluster's name.
    pub cluster_name: String,
    /// SHA-256 of the certificate of the Talos API's authority, in hex.
    pub ca_sha256: String,
}

/// A bundle that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where.
    pub path: PathBuf,
    /// Whether an identity at hand opens it.
    pub opens: bool,
}

/// Where bundles lie, and the keys that open them.
#[derive(Clone)]
pub struct BundleStore {
    layout: Layout,
    variables: BTreeMap<String, String>,
    /// Key files that are joined to the identities of the environment.
    key_files: Vec<PathBuf>,
    /// Those of a real tree, gathered once: a command that gives a key may ask the user for a touch.
    gathered: Arc<Mutex<Option<sops::Identities>>>,
}

impl std::fmt::Debug for BundleStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values of variables may be secret.
        f.debug_struct("BundleStore").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl BundleStore {
    /// The bundles of a tree.
    pub fn new(layout: Layout, variables: BTreeMap<String, String>) -> Self {
        Self { layout, variables, key_files: Vec::new(), gathered: Arc::default() }
    }

    /// The bundles of a site, with the key that it names.
    pub fn of_site(site: &Site, lab: bool, variables: &BTreeMap<String, String>) -> Self {
        let store = Self::new(Layout::new(&site.live, lab), variables.clone());
        match &site.credentials.age_key_file {
            Some(file) => store.with_key_file(file.clone()),
            None => store,
        }
    }

    /// Joins a key file to the identities.
    #[must_use]
    pub fn with_key_file(mut self, path: PathBuf) -> Self {
        self.key_files.push(path);
        self
    }

    /// Where the bundle of a cluster lies.
    pub fn path(&self, cluster: &Cluster) -> PathBuf {
        self.layout.bundle(&cluster.folder)
    }

    /// Whether there is a bundle.
    ///
    /// # Errors
    /// That cannot be told.
    pub fn is_there(&self, cluster: &Cluster) -> Result<bool, Error> {
        Ok(read_text_if_present(&self.path(cluster)).map_err(read_failed)?.is_some())
    }

    /// The clear fields of a cluster's bundle.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn clear(&self, cluster: &Cluster) -> Result<Option<Clear>, Error> {
        let text = read_text_if_present(&self.path(cluster)).map_err(read_failed)?;
        Ok(text.as_deref().and_then(clear_fields))
    }

    /// Opens the bundle of a cluster; `None` when there is none.
    ///
    /// # Errors
    /// No identity opens it, it is no bundle, or it is the bundle of another cluster.
    pub fn open(&self, cluster: &Cluster) -> Result<Option<Bundle>, Error> {
        let path = self.path(cluster);
        let Some(sealed) = read_text_if_present(&path).map_err(read_failed)? else {
            return Ok(None);
        };
        if let Some(clear) = clear_fields(&sealed)
            && (clear.cluster_id, clear.cluster_name.as_str())
                != (cluster.id, cluster.name.as_str())
        {
            return Err(Error::refused(format!(
                "{} is the bundle of cluster {} (id {}), not of {} (id {})",
                path.display(),
                clear.cluster_name,
                clear.cluster_id,
                cluster.name,
                cluster.id
            ))
            .hint("a copied folder keeps the bundle of the old cluster: move the copy away. If name or id of a cluster that lives was changed, set it back"));
        }
        let text = self.plain_text(&path)?;
        let bundle = Bundle::parse(&text)
            .map_err(|error| Error::failed(format!("read {}", path.display())).because(error))?;
        Ok(Some(bundle))
    }

    /// Whether a bundle of a cluster could be encrypted, without writing anything.
    ///
    /// # Errors
    /// No rule of a `.sops.yaml` fits.
    pub fn check_rule(&self, cluster: &Cluster) -> Result<(), Error> {
        self.rule(&self.path(cluster)).map(drop)
    }

    /// Makes a new bundle and writes it; it is on the disk when this returns.
    ///
    /// # Errors
    /// There is a bundle, no rule of a `.sops.yaml` fits, or the file cannot be written.
    pub fn create(&self, cluster: &Cluster) -> Result<(Bundle, Written), Error> {
        let failed = || Error::failed(format!("make the secrets of cluster {}", cluster.name));
        let contract: Contract = cluster
            .versions
            .talos
            .to_string()
            .parse()
            .map_err(|error: <Contract as std::str::FromStr>::Err| failed().because(error))?;
        let bundle = Bundle::generate(contract, now()).map_err(|error| failed().because(error))?;
        let written = self.keep(cluster, &bundle)?;
        Ok((bundle, written))
    }

    /// Encrypts a bundle and writes it where none is.
    ///
    /// # Errors
    /// There is a bundle, no rule of a `.sops.yaml` fits or the rule leaves secrets readable, or
    /// the file cannot be written. Nothing that was there is changed.
    pub fn keep(&self, cluster: &Cluster, bundle: &Bundle) -> Result<Written, Error> {
        let path = self.path(cluster);
        if read_text_if_present(&path).map_err(read_failed)?.is_some() {
            return Err(Error::refused(format!("{} exists", path.display()))
                .hint("a bundle is never written over; move it away if it is not the right one"));
        }
        let failed = |error: sops::SopsError| seal_failed(&path, error);
        let rule = self.rule(&path)?;
        let mut text = Zeroizing::new(bundle.to_yaml());
        let clear = format!(
            "{CLEAR}:\n    format: {FORM}\n    cluster_id: {}\n    cluster_name: {}\n    ca_sha256: {}\n",
            cluster.id,
            serde_json::Value::from(cluster.name.as_str()),
            serde_json::Value::from(authority_of(bundle)?),
        );
        text.push_str(&clear);
        let time = sops::time_text(now());
        let sealed = sops::encrypt(Plain::Text(text.as_bytes()), Format::Yaml, &rule, &time)
            .map_err(failed)?;
        check_sealed(&path, &sealed)?;
        let opens = match self.decrypt(&sealed.bytes) {
            Ok(_) => true,
            Err(error) if is_lack_of_keys(error.class()) => false,
            Err(error) => return Err(seal_failed(&path, error)),
        };
        write_new(&path, &sealed.bytes, Mode::Private)
            .map_err(|error| Error::failed("write the bundle").because(error))?;
        Ok(Written { path, opens })
    }

    /// The text of a file; decrypted when it is a SOPS file.
    ///
    /// # Errors
    /// It cannot be read or opened, or is larger than any configuration.
    pub fn plain_text(&self, path: &Path) -> Result<Zeroizing<String>, Error> {
        let failed = || Error::failed(format!("read {}", path.display()));
        let file = fs_err::File::open(path).map_err(|error| failed().because(error))?;
        let data = file.metadata().map_err(|error| failed().because(error))?;
        // A pipe does not tell its length. Room for all of it: what a vector leaves behind as it
        // grows is not overwritten.
        let most = if data.is_file() { data.len().min(LARGEST) } else { LARGEST } + 1;
        let mut bytes =
            Zeroizing::new(Vec::with_capacity(usize::try_from(most).unwrap_or_default()));
        file.take(most).read_to_end(&mut bytes).map_err(|error| failed().because(error))?;
        if bytes.len() as u64 > LARGEST {
            return Err(failed().detail(format!("it has more than {} MiB", LARGEST >> 20)));
        }
        if bytes.len() as u64 == most {
            return Err(failed().detail("it grew while it was read"));
        }
        if std::str::from_utf8(&bytes).is_ok_and(is_sealed) {
            let opened = self.decrypt(&bytes).and_then(|opened| opened.to_text(Format::Yaml));
            return opened.map(Zeroizing::new).map_err(|error| {
                let failure = failed();
                match error.help() {
                    Some(help) => failure.hint(help).because(error),
                    None => failure.because(error),
                }
            });
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| failed().detail("it is no text"))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Decrypts with the identities of the environment and the tree; in the lab, with the lab's own.
    fn decrypt(&self, bytes: &[u8]) -> Result<sops::Decrypted, sops::SopsError> {
        if self.layout.is_lab() {
            let key_files = vec![self.lab_key_file()];
            let sources = sops::IdentitySources { key_files, ..Default::default() };
            return sops::decrypt(bytes, Format::Yaml, &mut sops::Identities::gather(&sources));
        }
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let identities = gathered.get_or_insert_with(|| {
            let (variables, key_files) = (self.variables.clone(), self.key_files.clone());
            let sources = sops::IdentitySources { variables, key_files, ..Default::default() };
            sops::Identities::gather(&sources)
        });
        sops::decrypt(bytes, Format::Yaml, identities)
    }

    fn rule(&self, path: &Path) -> Result<sops::CreationRule, Error> {
        let failed = |error: sops::SopsError| seal_failed(path, error);
        if self.layout.is_lab() {
            let text = format!("creation_rules:\n  - age: {}\n", self.lab_recipient()?);
            let config = self.layout.own().join(".sops.yaml");
            return sops::rule_of(text.as_bytes(), &config, path, &EncryptOptions::default())
                .map_err(failed);
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let recipients = self.variables.get("SOPS_AGE_RECIPIENTS").cloned();
        sops::find_rule(folder, path, &EncryptOptions { recipients }).map_err(failed)
    }

    fn lab_key_file(&self) -> PathBuf {
        self.layout.own().join("age.key")
    }

    /// The lab's own recipient; its key is made the first time.
    fn lab_recipient(&self) -> Result<String, Error> {
        use age::secrecy::ExposeSecret as _;
        let path = self.lab_key_file();
        let failed = || Error::failed("read the lab's key");
        if let Some(text) = read_text_if_present(&path).map_err(read_failed)? {
            let key = text.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
            let identity: age::x25519::Identity =
                key.trim().parse().map_err(|error: &str| failed().because(error))?;
            return Ok(identity.to_public().to_string());
        }
        let identity = age::x25519::Identity::generate();
        let text = Zeroizing::new(format!("{}\n", identity.to_string().expose_secret()));
        write(&path, text.as_bytes(), Mode::Private)
            .map_err(|error| Error::failed("write the lab's key").because(error))?;
        Ok(identity.to_public().to_string())
    }
}

/// SHA-256 of the certificate of the Talos API's authority, in hex.
///
/// # Errors
/// The bundle has none.
pub fn authority_of(bundle: &Bundle) -> Result<String, Error> {
    let os = bundle.certs.as_ref().and_then(|certs| certs.os.as_ref());
    let pem = os.and_then(|os| os.crt.text()).map(Pem::parse);
    let Some(Ok(pem)) = pem else {
        return Err(Error::refused("the bundle has no authority of the Talos API"));
    };
    Ok(sha2::Sha256::digest(pem.der()).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Whether a file cannot be opened for want of a key, and for no other reason.
pub fn is_lack_of_keys(class: sops::SopsClass) -> bool {
    use sops::SopsClass as C;
    matches!(
        class,
        C::NoIdentity
            | C::WrongIdentity
            | C::BadIdentityFile
            | C::PassphraseIdentity
            | C::PluginIdentity
    )
}

/// Whether a text is a SOPS file.
pub fn is_sealed(text: &str) -> bool {
    text.lines().any(|line| line.trim_end() == "sops:")
}

pub(super) fn clear_fields(text: &str) -> Option<Clear> {
    #[derive(Deserialize)]
    struct File {
        clusterctl_unencrypted: Option<Clear>,
    }
    serde_saphyr::from_str::<File>(text).ok()?.clusterctl_unencrypted
}

fn check_sealed(path: &Path, sealed: &sops::Encrypted) -> Result<(), Error> {
    let is_clear = |steps: &[Step]| steps.first() == Some(&Step::Key(CLEAR.to_owned()));
    if let Some(steps) = sealed.plain_paths.iter().find(|steps| !is_clear(steps)) {
        return Err(Error::refused(format!(
            "the rule for {} leaves secrets readable",
            path.display()
        ))
        .detail(format!("such as {}", dotted(steps)))
        .hint("give this path a creation rule of its own in .sops.yaml, without encrypted_regex and the like"));
    }
    if sealed.encrypted_paths.iter().any(|steps| is_clear(steps)) {
        return Err(Error::refused(format!(
            "the rule for {} encrypts {CLEAR}, which tells whose bundle it is",
            path.display()
        ))
        .hint("give this path a creation rule of its own in .sops.yaml"));
    }
    Ok(())
}

fn seal_failed(path: &Path, error: sops::SopsError) -> Error {
    let mut failure = Error::failed(format!("encrypt {}", path.display()));
    if let Some(help) = error.help() {
        failure = failure.hint(help);
    }
    failure.because(error)
}

fn dotted(steps: &[Step]) -> String {
    let names: Vec<String> = steps
        .iter()
        .map(|step| match step {
            Step::Key(key) => key.clone(),
            Step::Index(index) => index.to_string(),
        })
        .collect();
    names.join(".")
}

pub(super) fn read_failed(error: FileError) -> Error {
    Error::failed("read a bundle").because(error)
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
