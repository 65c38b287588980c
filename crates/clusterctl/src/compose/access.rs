//! The files that open a cluster: kubeconfig and talosconfig.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use sha2::Digest as _;
use talos_client::secrets::Bundle;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::spec::site::{Cluster, Role};
use crate::state::{FileError, Layout, read_text_if_present};

/// A file whose certificate ends sooner than this is made anew.
pub const RENEW_BEFORE: Duration = Duration::from_hours(30 * 24);

/// Which of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For talosctl.
    Talosconfig,
    /// For kubectl.
    Kubeconfig,
}

/// Why a file does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// There is none.
    Absent,
    /// It opens something else than what the cluster's secrets are for: it may be the last key to a
    /// cluster whose bundle was lost, and is never written over.
    Foreign,
    /// A new one takes its place, for this reason.
    Stale(String),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("it is not there"),
            Self::Foreign => f.write_str("it is of another authority than the cluster's secrets"),
            Self::Stale(why) => f.write_str(why),
        }
    }
}

/// A file as it lies there.
#[derive(Debug)]
pub struct Found {
    /// What it says.
    pub text: Option<String>,
    /// Why it does not serve; none when it does.
    pub flaw: Option<Flaw>,
}

impl Kind {
    /// Both, in the order in which they are made.
    pub const ALL: [Self; 2] = [Self::Talosconfig, Self::Kubeconfig];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubeconfig => "kubeconfig",
            Self::Talosconfig => "talosconfig",
        }
    }

    /// Where that of a cluster lies.
    pub fn path(self, layout: &Layout, folder: &str) -> PathBuf {
        match self {
            Self::Kubeconfig => layout.kubeconfig(folder),
            Self::Talosconfig => layout.talosconfig(folder),
        }
    }

    /// Looks at the file of a cluster with these secrets.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn look(
        self,
        layout: &Layout,
        cluster: &Cluster,
        bundle: Option<&Bundle>,
    ) -> Result<Found, FileError> {
        let text = read_text_if_present(&self.path(layout, &cluster.folder))?;
        let flaw = match &text {
            None => Some(Flaw::Absent),
            Some(text) => self.flaw(text, cluster, bundle),
        };
        Ok(Found { text, flaw })
    }

    fn flaw(self, text: &str, cluster: &Cluster, bundle: Option<&Bundle>) -> Option<Flaw> {
        let certs = bundle.and_then(|bundle| bundle.certs.as_ref());
        let pair = certs.and_then(|certs| match self {
            Self::Kubeconfig => certs.k8s.as_ref(),
            Self::Talosconfig => certs.os.as_ref(),
        });
        let authority = pair.and_then(|pair| pair.crt.text()).and_then(fingerprint);
        let now = jiff::Timestamp::now().as_second();
        match self {
            Self::Kubeconfig => kubeconfig_flaw(text, cluster, authority.as_deref(), now),
            Self::Talosconfig => talosconfig_flaw(text, cluster, authority.as_deref(), now),
        }
    }
}

/// What the administrator of a cluster has, as PEM.
pub struct Admin {
    /// The authority of the API server.
    pub ca_pem: String,
    /// The administrator's certificate.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: Zeroizing<String>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// Takes the administrator out of a kubeconfig: the user and cluster of its current context.
    ///
    /// # Errors
    /// The text is no kubeconfig, or has no such user with a certificate.
    pub fn of_kubeconfig(text: &str) -> Result<Self, Error> {
        let failed = || Error::failed("read a kubeconfig");
        let file: KubeFile =
            serde_saphyr::from_str(text).map_err(|_| failed().detail("it is no kubeconfig"))?;
        let context = file
            .contexts
            .iter()
            .find(|context| context.name == file.current_context)
            .or(file.contexts.first())
            .ok_or_else(|| failed().detail("it has no context"))?;
        let cluster = file.clusters.iter().find(|one| one.name == context.context.cluster);
        let user = file.users.iter().find(|one| one.name == context.context.user);
        let (Some(cluster), Some(user)) = (cluster, user) else {
            return Err(failed().detail("its context names a cluster or user that is not there"));
        };
        let pem = |text: &Option<String>, what: &str| {
            let text = text.as_ref().ok_or_else(|| failed().detail(format!("it has no {what}")))?;
            let bytes = Zeroizing::new(
                STANDARD
                    .decode(text.trim())
                    .map_err(|_| failed().detail(format!("its {what} is not base64")))?,
            );
            String::from_utf8(bytes.to_vec())
                .map_err(|_| failed().detail(format!("its {what} is no PEM")))
        };
        Ok(Self {
            ca_pem: pem(&cluster.cluster.authority, "authority")?,
            certificate_pem: pem(&user.user.certificate, "certificate")?,
            key_pem: Zeroizing::new(pem(&user.user.key, "key")?),
        })
    }

    /// The kubeconfig of a cluster: its context is called as the cluster is.
    pub fn to_kubeconfig(&self, cluster: &Cluster) -> Zeroizing<String> {
        let name = serde_json::Value::from(cluster.name.as_str());
        let user = serde_json::Value::from(format!("admin@{}", cluster.name));
        let server = serde_json::Value::from(cluster.endpoint.as_str());
        let authority = STANDARD.encode(&self.ca_pem);
        let certificate = STANDARD.encode(&self.certificate_pem);
        let key = Zeroizing::new(STANDARD.encode(self.key_pem.as_bytes()));
        Zeroizing::new(format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: {name}\n  cluster:\n    server: {server}\n    \
             certificate-authority-data: {authority}\nusers:\n- name: {user}\n  user:\n    \
             client-certificate-data: {certificate}\n    client-key-data: {}\ncontexts:\n- name: {name}\n  \
             context:\n    cluster: {name}\n    user: {user}\n    namespace: default\ncurrent-context: {name}\n",
            key.as_str()
        ))
    }
}

#[derive(Deserialize)]
struct KubeFile {
    #[serde(rename = "current-context", default)]
    current_context: String,
    #[serde(default)]
    contexts: Vec<Named>,
    #[serde(default)]
    clusters: Vec<KubeCluster>,
    #[serde(default)]
    users: Vec<KubeUser>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    context: KubeContext,
}

#[derive(Deserialize)]
struct KubeContext {
    cluster: String,
    user: String,
}

#[derive(Deserialize)]
struct KubeCluster {
    name: String,
    cluster: KubeServer,
}

#[derive(Deserialize)]
struct KubeServer {
    #[serde(default)]
    server: String,
    #[serde(rename = "certificate-authority-data")]
    authority: Option<String>,
}

#[derive(Deserialize)]
struct KubeUser {
    name: String,
    user: KubeCredential,
}

#[derive(Deserialize)]
struct KubeCredential {
    #[serde(rename = "client-certificate-data")]
    certificate: Option<String>,
    #[serde(rename = "client-key-data")]
    key: Option<String>,
}

fn stale(why: impl Into<String>) -> Option<Flaw> {
    Some(Flaw::Stale(why.into()))
}

fn kubeconfig_flaw(
    text: &str,
    cluster: &Cluster,
    authority_sha256: Option<&str>,
    now: i64,
) -> Option<Flaw> {
    let Ok(admin) = Admin::of_kubeconfig(text) else { return stale("it cannot be read") };
    if fingerprint(&admin.ca_pem).as_deref() != authority_sha256 {
        return Some(Flaw::Foreign);
    }
    let Ok(file) = serde_saphyr::from_str::<KubeFile>(text) else {
        return stale("it cannot be read");
    };
    if !file.clusters.iter().any(|one| one.cluster.server == cluster.endpoint) {
        return stale(format!("its server is not {}", cluster.endpoint));
    }
    if !file.contexts.iter().any(|context| context.name == cluster.name) {
        return stale(format!("it has no context {}", cluster.name));
    }
    expiry_flaw(&admin.certificate_pem, now)
}

fn talosconfig_flaw(
    text: &str,
    cluster: &Cluster,
    authority_sha256: Option<&str>,
    now: i64,
) -> Option<Flaw> {
    let Ok(config) = talos_client::TalosConfig::parse(text) else {
        return stale("it cannot be read");
    };
    let Some(context) = config.contexts.get(&cluster.name) else {
        return stale(format!("it has no context {}", cluster.name));
    };
    let decoded =
        |text: &str| STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let (Some(authority), Some(certificate)) = (decoded(&context.ca), decoded(&context.crt)) else {
        return stale("it cannot be read");
    };
    if fingerprint(&authority).as_deref() != authority_sha256 {
        return Some(Flaw::Foreign);
    }
    if context.endpoints != endpoints(cluster) {
        return stale("its endpoints are not the control planes");
    }
    expiry_flaw(&certificate, now)
}

/// Whether a certificate ends soon.
fn expiry_flaw(certificate_pem: &str, now: i64) -> Option<Flaw> {
    let unread = || stale("its certificate cannot be read");
    let Ok(der) = CertificateDer::from_pem_slice(certificate_pem.as_bytes()) else {
        return unread();
    };
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&der) else { return unread() };
    let end = certificate.validity().not_after.timestamp();
    let soon = i64::try_from(RENEW_BEFORE.as_secs()).unwrap_or(i64::MAX);
    let days = (end - now) / 86_400;
    (end - now < soon).then(|| Flaw::Stale(format!("its certificate ends in {days} day(s)")))
}

/// SHA-256 of the first certificate of a PEM text, in hex.
pub fn fingerprint(pem: &str) -> Option<String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    Some(hex(&sha2::Sha256::digest(&der)))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Addresses at which the Talos API of the control planes is reached.
pub fn endpoints(cluster: &Cluster) -> Vec<String> {
    let controlplanes = cluster.nodes.iter().filter(|node| node.role == Role::ControlPlane);
    controlplanes.filter_map(|node| node.addresses().first().map(ToString::to_string)).collect()
}

/// Addresses of all nodes.
pub fn nodes(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.nodes.iter();
    nodes.filter_map(|node| node.addresses().first().map(ToString::to_string)).collect()
}
