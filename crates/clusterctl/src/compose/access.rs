//! The files that open a cluster: kubeconfig and talosconfig.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use sha2::Digest as _;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::spec::site::{Cluster, Role};

/// A file whose certificate ends sooner than this is made anew.
pub const RENEW_BEFORE: Duration = Duration::from_hours(30 * 24);

/// What the administrator of a cluster has, as PEM.
pub struct Admin {
    /// The authority of the API server.
    pub ca_pem: String,
    /// The administrator's certificate.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: Zeroizing<String>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

/// Whether a kubeconfig on the disk still serves; the reason when it does not.
pub fn kubeconfig_problem(
    text: &str,
    cluster: &Cluster,
    authority_sha256: &str,
    now: i64,
) -> Option<String> {
    let Ok(admin) = Admin::of_kubeconfig(text) else {
        return Some("it cannot be read".to_owned());
    };
    if fingerprint(&admin.ca_pem).as_deref() != Some(authority_sha256) {
        return Some("it is of another authority".to_owned());
    }
    let file: KubeFile = serde_saphyr::from_str(text).ok()?;
    if !file.clusters.iter().any(|one| one.cluster.server == cluster.endpoint) {
        return Some(format!("its server is not {}", cluster.endpoint));
    }
    if !file.contexts.iter().any(|context| context.name == cluster.name) {
        return Some(format!("it has no context {}", cluster.name));
    }
    expiry_problem(&admin.certificate_pem, now)
}

/// Whether a talosconfig on the disk still serves; the reason when it does not.
pub fn talosconfig_problem(
    text: &str,
    cluster: &Cluster,
    authority_sha256: &str,
    now: i64,
) -> Option<String> {
    let Ok(config) = talos_client::TalosConfig::parse(text) else {
        return Some("it cannot be read".to_owned());
    };
    let Some(context) = config.contexts.get(&cluster.name) else {
        return Some(format!("it has no context {}", cluster.name));
    };
    let decoded =
        |text: &str| STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let (Some(authority), Some(certificate)) = (decoded(&context.ca), decoded(&context.crt)) else {
        return Some("it cannot be read".to_owned());
    };
    if fingerprint(&authority).as_deref() != Some(authority_sha256) {
        return Some("it is of another authority".to_owned());
    }
    if context.endpoints != endpoints(cluster) {
        return Some("its endpoints are not the control planes".to_owned());
    }
    expiry_problem(&certificate, now)
}

/// Whether a certificate ends soon.
pub fn expiry_problem(certificate_pem: &str, now: i64) -> Option<String> {
    let Ok(der) = CertificateDer::from_pem_slice(certificate_pem.as_bytes()) else {
        return Some("its certificate cannot be read".to_owned());
    };
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&der) else {
        return Some("its certificate cannot be read".to_owned());
    };
    let end = certificate.validity().not_after.timestamp();
    let soon = i64::try_from(RENEW_BEFORE.as_secs()).unwrap_or(i64::MAX);
    let days = (end - now) / 86_400;
    (end - now < soon).then(|| format!("its certificate ends in {days} day(s)"))
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
