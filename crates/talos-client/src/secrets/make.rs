//! Making a bundle: a new one, or one around the PKI of a cluster that kubeadm made.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use rand::RngCore as _;

use super::{Bundle, BundleError, Certs, Cluster, Pair, Text, Tokens};
use crate::config::release::CLUSTER_SECRET_BYTES;
use crate::pki::{self, KeyKind, Pem, PrivateKey};

/// How long an authority is valid, in seconds: 87600 hours.
pub(crate) const AUTHORITY_LIFETIME: i64 = 87_600 * 3600;

/// The version of Talos that a bundle or configuration is for, as major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contract {
    major: u32,
    minor: u32,
}

impl std::str::FromStr for Contract {
    type Err = BundleError;

    /// Reads `v1.13`, `1.13` or `v1.13.2`; what follows the second dot is ignored.
    fn from_str(text: &str) -> Result<Self, BundleError> {
        let wrong = || BundleError::Contract(text.to_owned());
        let rest = text.strip_prefix('v').unwrap_or(text);
        let mut parts = rest.splitn(3, '.');
        let mut number = || {
            let part = parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
            part.and_then(|part| part.parse().ok()).ok_or_else(wrong)
        };
        Ok(Self { major: number()?, minor: number()? })
    }
}

impl Contract {
    /// The minor version.
    pub fn minor(self) -> u32 {
        self.minor
    }

    fn after(self, minor: u32) -> bool {
        (self.major, self.minor) > (1, minor)
    }
}

fn random_bytes() -> [u8; CLUSTER_SECRET_BYTES] {
    let mut bytes = [0; CLUSTER_SECRET_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// A token `xxxxxx.yyyyyyyyyyyyyyyy` over digits and small letters, each as likely as the other.
fn token() -> Text {
    const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut token = Vec::with_capacity(23);
    while token.len() < 23 {
        let mut byte = [0];
        rand::rng().fill_bytes(&mut byte);
        // 252 is the largest multiple of 36 in a byte.
        if let Some(symbol) = ALPHABET.get(usize::from(byte[0] % 36)).filter(|_| byte[0] < 252) {
            token.push(*symbol);
        }
        if token.len() == 6 {
            token.push(b'.');
        }
    }
    token.into()
}

fn authority(kind: KeyKind, organization: Option<&str>, now: i64) -> Result<Pair, BundleError> {
    let made = pki::make_authority(kind, organization, now, AUTHORITY_LIFETIME)?;
    Ok(Pair {
        crt: Text::from(made.certificate.text().as_str()),
        key: Text::from(made.key.text().as_str()),
    })
}

/// What is new in each bundle, the authorities of Kubernetes aside.
fn around(contract: Contract, now: i64, certs: Certs) -> Result<Bundle, BundleError> {
    let encryption = Text::from(STANDARD.encode(random_bytes()).as_str());
    let (aescbc, secretbox) = match contract.after(2) {
        true => (Text::default(), encryption),
        false => (encryption, Text::default()),
    };
    let os = Some(authority(KeyKind::Ed25519, Some("talos"), now)?);
    Ok(Bundle {
        cluster: Some(Cluster {
            id: Text::from(URL_SAFE.encode(random_bytes()).as_str()),
            secret: Text::from(STANDARD.encode(random_bytes()).as_str()),
        }),
        secrets: Some(Tokens { bootstrap: token(), aescbc, secretbox }),
        trustd_token: Some(token()),
        certs: Some(Certs { os, ..certs }),
    })
}

impl Bundle {
    /// Makes a new bundle. `now` is the begin of its certificates in seconds since 1970.
    ///
    /// # Errors
    /// A key cannot be made.
    pub fn generate(contract: Contract, now: i64) -> Result<Self, BundleError> {
        let kind = if contract.after(6) { KeyKind::Rsa } else { KeyKind::EcdsaP256 };
        let service_account = PrivateKey::generate(kind)?.to_pem()?;
        let certs = Certs {
            etcd: Some(authority(KeyKind::EcdsaP256, Some("etcd"), now)?),
            k8s: Some(authority(KeyKind::EcdsaP256, Some("kubernetes"), now)?),
            k8s_aggregator: Some(authority(KeyKind::EcdsaP256, None, now)?),
            k8s_service_account: Some(Text::from(service_account.text().as_str())),
            os: None,
        };
        around(contract, now, certs)
    }

    /// Makes a bundle around the PKI folder of a cluster that kubeadm made, to take it over.
    ///
    /// `files` are the folder's files by their path in it, such as `etcd/ca.crt`. An empty
    /// `bootstrap_token` means a new one; one that is given is not checked.
    ///
    /// # Errors
    /// A file is missing or has no usable PEM block, or a key cannot be made.
    pub fn from_kubernetes_pki(
        files: &BTreeMap<String, Vec<u8>>,
        bootstrap_token: &str,
        contract: Contract,
        now: i64,
    ) -> Result<Self, BundleError> {
        let file = |name: &'static str| {
            let bytes = files.get(name).ok_or(BundleError::Missing(name))?;
            let text = std::str::from_utf8(bytes).map_err(|_| BundleError::Unusable(name))?;
            Pem::parse(text).map_err(|_| BundleError::Unusable(name))?;
            Ok::<_, BundleError>(Text::from(text))
        };
        let pair = |crt, key| Ok::<_, BundleError>(Some(Pair { crt: file(crt)?, key: file(key)? }));
        let certs = Certs {
            k8s: pair("ca.crt", "ca.key")?,
            etcd: pair("etcd/ca.crt", "etcd/ca.key")?,
            k8s_aggregator: pair("front-proxy-ca.crt", "front-proxy-ca.key")?,
            k8s_service_account: Some(file("sa.key")?),
            os: None,
        };
        let mut bundle = around(contract, now, certs)?;
        if let Some(tokens) = bundle.secrets.as_mut().filter(|_| !bootstrap_token.is_empty()) {
            tokens.bootstrap = Text::from(bootstrap_token);
        }
        Ok(bundle)
    }
}
