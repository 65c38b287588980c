//! Private keys.

use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::der::{INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, bits, positive, sequence, tlv};
use super::pem::Pem;
use super::{PkiError, Result};

const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const OID_ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const OID_RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];

/// Kinds of keys that Talos uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Ed25519: the machine API.
    Ed25519,
    /// ECDSA on P-256: etcd, Kubernetes.
    EcdsaP256,
    /// RSA: service accounts, and authorities made by kubeadm.
    Rsa,
}

/// A private key.
pub struct PrivateKey {
    kind: KeyKind,
    pair: KeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

fn failed<E>(_: E) -> PkiError {
    PkiError::new("the key cannot be used")
}

impl PrivateKey {
    /// Makes a key; an RSA one has 4096 bits.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate(kind: KeyKind) -> Result<Self> {
        let pair = match kind {
            KeyKind::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            KeyKind::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyKind::Rsa => {
                KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_4096)
            }
        };
        let pair = pair.map_err(failed)?;
        let pkcs8 = Zeroizing::new(pair.serialize_der());
        Ok(Self { kind, pair, pkcs8 })
    }

    /// Reads a key: PKCS#8 under `ED25519 PRIVATE KEY` or `PRIVATE KEY`, SEC1 under
    /// `EC PRIVATE KEY`, PKCS#1 under `RSA PRIVATE KEY`.
    ///
    /// # Errors
    /// The label or the content is none of these.
    pub fn parse(pem: &Pem) -> Result<Self> {
        let pkcs8 = match pem.label() {
            "ED25519 PRIVATE KEY" | "PRIVATE KEY" => pem.der().to_vec(),
            "EC PRIVATE KEY" => wrap(&[tlv(OID, OID_EC), tlv(OID, OID_P256)], pem.der()),
            "RSA PRIVATE KEY" => wrap(&[tlv(OID, OID_RSA), vec![0x05, 0x00]], pem.der()),
            _ => return Err(PkiError::new("the PEM block is no private key")),
        };
        let pkcs8 = Zeroizing::new(pkcs8);
        let algorithm = algorithm_of(&pkcs8)?;
        let (kind, signing) = match algorithm.as_slice() {
            OID_ED25519 => (KeyKind::Ed25519, &rcgen::PKCS_ED25519),
            OID_EC => (KeyKind::EcdsaP256, &rcgen::PKCS_ECDSA_P256_SHA256),
            OID_RSA => (KeyKind::Rsa, &rcgen::PKCS_RSA_SHA256),
            _ => return Err(PkiError::new("the key is of a kind that is not used")),
        };
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.to_vec()));
        let pair = KeyPair::from_der_and_sign_algo(&der, signing).map_err(failed)?;
        Ok(Self { kind, pair, pkcs8 })
    }

    /// Which kind it is.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// As PEM, with the label and content that Talos reads.
    ///
    /// # Errors
    /// The key has another shape than its kind.
    pub fn to_pem(&self) -> Result<Pem> {
        let inner = inner_of(&self.pkcs8)?;
        Ok(match self.kind {
            KeyKind::Ed25519 => {
                // The seed in an octet string of its own, and no public key behind it.
                let algorithm = sequence(&[tlv(OID, OID_ED25519)]);
                let der = sequence(&[tlv(INTEGER, &[0]), algorithm, tlv(OCTET_STRING, inner)]);
                Pem::new("ED25519 PRIVATE KEY", der)
            }
            KeyKind::Rsa => Pem::new("RSA PRIVATE KEY", inner.to_vec()),
            KeyKind::EcdsaP256 => {
                let mut reader = Reader(inner);
                let mut content = Reader(reader.take(SEQUENCE)?);
                content.take(INTEGER)?;
                let secret = content.take(OCTET_STRING)?;
                let parts = [
                    tlv(INTEGER, &[1]),
                    tlv(OCTET_STRING, secret),
                    tlv(0xa0, &tlv(OID, OID_P256)),
                    tlv(0xa1, &bits(self.pair.public_key_raw())),
                ];
                Pem::new("EC PRIVATE KEY", sequence(&parts))
            }
        })
    }

    /// The subject public key info.
    pub(super) fn public_key(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    /// The algorithm that it signs with.
    pub(super) fn signature_algorithm(&self) -> Vec<u8> {
        match self.kind {
            KeyKind::Ed25519 => sequence(&[tlv(OID, OID_ED25519)]),
            KeyKind::EcdsaP256 => sequence(&[tlv(OID, OID_ECDSA_SHA256)]),
            KeyKind::Rsa => sequence(&[tlv(OID, OID_RSA_SHA256), vec![0x05, 0x00]]),
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        self.pair.sign(message).map_err(failed)
    }
}

fn wrap(algorithm: &[Vec<u8>], inner: &[u8]) -> Vec<u8> {
    sequence(&[positive(&[0]), sequence(algorithm), tlv(OCTET_STRING, inner)])
}

fn algorithm_of(pkcs8: &[u8]) -> Result<Vec<u8>> {
    let mut outer = Reader(pkcs8);
    let mut content = Reader(outer.take(SEQUENCE)?);
    content.take(INTEGER)?;
    let mut algorithm = Reader(content.take(SEQUENCE)?);
    algorithm.take(OID).map(<[u8]>::to_vec)
}

fn inner_of(pkcs8: &[u8]) -> Result<&[u8]> {
    let mut outer = Reader(pkcs8);
    let mut content = Reader(outer.take(SEQUENCE)?);
    content.take(INTEGER)?;
    content.take(SEQUENCE)?;
    content.take(OCTET_STRING)
}
