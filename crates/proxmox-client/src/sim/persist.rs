//! Files of the simulator: saved state, certificate and credentials.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use rand::Rng as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::builder::{Dialect, SimBuilder, SimError};
use super::digest;
use super::state::{AclRow, Node, State, Token, User};

/// A folder that is removed with the simulator.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!(
            "pve-sim-{}-{:08x}",
            std::process::id(),
            rand::rng().random::<u32>()
        ));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Certificate, token and password of an instance.
#[derive(Serialize, Deserialize)]
pub(crate) struct Credentials {
    pub(crate) ca_pem: String,
    pub(crate) cert_pem: String,
    pub(crate) key_pem: String,
    pub(crate) token_secret: String,
    pub(crate) password: String,
}

impl Credentials {
    pub(crate) fn fingerprint(&self) -> String {
        let der = CertificateDer::from_pem_slice(self.cert_pem.as_bytes())
            .map(|der| der.to_vec())
            .unwrap_or_default();
        let hex = digest::sha256(&der).to_uppercase();
        let pairs: Vec<String> = hex
            .as_bytes()
            .chunks(2)
            .map(|pair| String::from_utf8_lossy(pair).into_owned())
            .collect();
        pairs.join(":")
    }
}

/// Writes a file so that it is either the old or the new one, readable by the owner only.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

#[expect(clippy::disallowed_methods, reason = "the error is given its path here")]
fn read(path: &Path) -> Result<Option<Vec<u8>>, SimError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SimError::Io { what: path.display().to_string(), source }),
    }
}

/// The saved state, when there is one.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn load(base: &Path) -> Result<Option<State>, SimError> {
    let Some(bytes) = read(&base.join("state.json"))? else { return Ok(None) };
    let mut state: State = serde_json::from_slice(&bytes).map_err(|error| SimError::Data {
        what: "saved state".to_owned(),
        reason: error.to_string(),
    })?;
    let mut broken = Vec::new();
    for (number, task) in &mut state.tasks {
        if task.end.is_none() {
            task.end = Some(task.start);
            task.exit = Some("unexpected status".to_owned());
            broken.push(task.id.clone());
        }
        state.upids.insert(task.upid.clone(), *number);
    }
    for id in broken.iter().filter_map(|id| id.parse::<u32>().ok()) {
        state.vms.remove(&id).and_then(|vm| {
            let unfinished = vm.conf.get("lock").is_some_and(|lock| lock == "create");
            (!unfinished).then(|| state.vms.insert(id, vm))
        });
    }
    Ok(Some(state))
}

/// Reads or makes the credentials.
///
/// # Errors
/// When they cannot be read, made or written.
pub(crate) fn credentials(base: &Path) -> Result<Credentials, SimError> {
    let path = base.join("credentials.json");
    if let Some(bytes) = read(&path)? {
        return serde_json::from_slice(&bytes).map_err(|error| SimError::Data {
            what: "saved credentials".to_owned(),
            reason: error.to_string(),
        });
    }
    let made = make().map_err(|error| SimError::Tls(error.to_string()))?;
    let text = serde_json::to_vec(&made).map_err(|error| SimError::Tls(error.to_string()))?;
    write_atomic(&path, &text)
        .map_err(|source| SimError::Io { what: path.display().to_string(), source })?;
    Ok(made)
}

fn make() -> Result<Credentials, rcgen::Error> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name.push(DnType::CommonName, "Simulated PVE Cluster CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_cert = ca.self_signed(&ca_key)?;
    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned()])?;
    leaf.subject_alt_names.push(SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
    leaf.subject_alt_names.push(SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()));
    leaf.distinguished_name.push(DnType::CommonName, "localhost");
    leaf.use_authority_key_identifier_extension = true;
    let cert = leaf.signed_by(&key, &Issuer::new(ca, ca_key))?;
    Ok(Credentials {
        ca_pem: ca_cert.pem(),
        cert_pem: cert.pem(),
        key_pem: key.serialize_pem(),
        token_secret: uuid::Uuid::new_v4().to_string(),
        password: uuid::Uuid::new_v4().simple().to_string(),
    })
}

/// Fills a new state and brings nodes, storages and users of the configuration into an old one.
pub(crate) fn initialise(state: &mut State, config: &SimBuilder, secrets: &Credentials, now: u64) {
    if state.ticket_key.is_empty() {
        state.ticket_key = uuid::Uuid::new_v4().to_string();
        state.quorum = true;
    }
    state.tells_why = config.dialect < Dialect::V9_2;
    state.old = config.dialect == Dialect::V8_4;
    state.cluster_name =
        config.cluster_name.clone().or_else(|| (config.nodes.len() > 1).then(|| "lab".to_owned()));
    for (index, name) in config.nodes.iter().enumerate() {
        let number = u32::try_from(index).unwrap_or(0) + 1;
        let node = state.nodes.entry(name.clone()).or_insert_with(|| Node {
            number,
            online: true,
            reload_works: config.network_reload,
            hosts: format!(
                "127.0.0.1 localhost\n10.99.0.{number} {name}.{} {name}\n",
                config.dns.0
            ),
            dns: [
                ("search".to_owned(), config.dns.0.clone()),
                ("dns1".to_owned(), config.dns.1.clone()),
            ]
            .into(),
            ..Node::default()
        });
        node.started = now;
        for (bridge, mtu) in &config.bridges {
            node.bridges.insert(bridge.clone(), *mtu);
        }
    }
    for storage in &config.storages {
        let mut keys: std::collections::BTreeMap<_, _> = storage.extra.iter().cloned().collect();
        keys.insert("type".to_owned(), storage.kind.clone());
        keys.insert("content".to_owned(), storage.content.clone());
        state.storages.entry(storage.id.clone()).or_insert(keys);
    }
    let root = state
        .users
        .entry("root@pam".to_owned())
        .or_insert_with(|| User { enable: true, ..User::default() });
    root.password_sha256 = Some(digest::sha256(secrets.password.as_bytes()));
    let secret_sha256 = digest::sha256(secrets.token_secret.as_bytes());
    root.tokens
        .entry("lab".to_owned())
        .or_insert_with(|| Token { secret_sha256, ..Token::default() });
    for (userid, codes) in &config.one_time_codes {
        let user = state
            .users
            .entry(userid.clone())
            .or_insert_with(|| User { enable: true, ..User::default() });
        user.codes = Some(codes.clone());
    }
    for (userid, password) in &config.users {
        let user = state
            .users
            .entry(userid.clone())
            .or_insert_with(|| User { enable: true, ..User::default() });
        user.password_sha256 = Some(digest::sha256(password.as_bytes()));
    }
    for (userid, id, secret, privsep) in &config.tokens {
        let user = state
            .users
            .entry(userid.clone())
            .or_insert_with(|| User { enable: true, ..User::default() });
        let secret_sha256 = digest::sha256(secret.as_bytes());
        user.tokens
            .insert(id.clone(), Token { privsep: *privsep, secret_sha256, ..Token::default() });
    }
    for (who, path, role) in &config.acl {
        let kind = if who.contains('!') { "token" } else { "user" };
        let row = AclRow {
            path: path.clone(),
            kind: kind.to_owned(),
            id: who.clone(),
            role: role.clone(),
            propagate: true,
        };
        if !state.acl.contains(&row) {
            state.acl.push(row);
        }
    }
}
