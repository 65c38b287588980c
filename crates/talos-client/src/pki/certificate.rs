//! Certificates: read of an authority, made for its clients.

use rand::RngCore as _;
use x509_parser::prelude::FromDer as _;

use super::der::{
    BIT_STRING, GENERALIZED_TIME, OCTET_STRING, OID, PRINTABLE, SEQUENCE, SET, UTC_TIME, UTF8,
    bits, positive, sequence, tlv,
};
use super::key::{KeyKind, PrivateKey};
use super::pem::Pem;
use super::{PkiError, Result};

const OID_ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
const OID_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const OID_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const OID_AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];
const OID_BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const OID_SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
const OID_SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const OID_CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// The boolean true.
const TRUE: [u8; 3] = [0x01, 0x01, 0xff];

/// Key usages as bits, behind the number of bits that are not used.
const DIGITAL_SIGNATURE: [u8; 2] = [7, 0x80];
const SIGNATURE_AND_CERT_SIGN: [u8; 2] = [2, 0x84];

/// An authority that signs certificates.
#[derive(Debug)]
pub struct Authority {
    subject: Vec<u8>,
    key_id: Option<Vec<u8>>,
    key: PrivateKey,
}

impl Authority {
    /// Reads an authority.
    ///
    /// # Errors
    /// The certificate or the key cannot be read.
    pub fn new(certificate: &Pem, key: &Pem) -> Result<Self> {
        let wrong = || PkiError::new("the certificate of the authority cannot be read");
        if certificate.label() != "CERTIFICATE" {
            return Err(wrong());
        }
        let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(certificate.der())
            .map_err(|_| wrong())?;
        let key_id =
            parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
                x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => {
                    Some(id.0.to_vec())
                }
                _ => None,
            });
        Ok(Self {
            subject: parsed.subject().as_raw().to_vec(),
            key_id,
            key: PrivateKey::parse(key)?,
        })
    }
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: Pem,
    /// Its key.
    pub key: Pem,
}

/// Issues a certificate for a client of the machine API; its key is of the authority's kind.
///
/// `roles` become the organizations of its subject, all in one set; DER orders a set by its
/// encoding. `not_before` is in seconds since 1970, `lifetime` in seconds; neither is checked
/// against the authority.
///
/// # Errors
/// The authority's key cannot sign.
pub fn issue_client(
    authority: &Authority,
    roles: &[String],
    not_before: i64,
    lifetime: i64,
) -> Result<Issued> {
    let kind = match authority.key.kind() {
        KeyKind::Rsa => KeyKind::EcdsaP256,
        other => other,
    };
    let key = PrivateKey::generate(kind)?;
    let mut extensions = vec![
        extension(OID_KEY_USAGE, true, &tlv(BIT_STRING, &DIGITAL_SIGNATURE)),
        extension(OID_EXTENDED_KEY_USAGE, false, &sequence(&[tlv(OID, OID_CLIENT_AUTH)])),
    ];
    if let Some(id) = &authority.key_id {
        extensions.push(extension(OID_AUTHORITY_KEY_ID, false, &sequence(&[tlv(0x80, id)])));
    }
    let certificate = Certificate {
        issuer: &authority.subject,
        signer: &authority.key,
        subject: subject(roles),
        key: &key,
        not_before,
        lifetime,
        extensions: &extensions,
    };
    Ok(Issued { certificate: certificate.signed()?, key: key.to_pem()? })
}

/// Makes an authority that signs itself, of the template that Talos has for all of its own.
///
/// `organization` is its whole subject; without one the subject is empty, as that of the
/// aggregated API is. `not_before` is in seconds since 1970, `lifetime` in seconds.
///
/// # Errors
/// The system gives no randomness, or a time is out of range.
pub fn make_authority(
    kind: KeyKind,
    organization: Option<&str>,
    not_before: i64,
    lifetime: i64,
) -> Result<Issued> {
    let key = PrivateKey::generate(kind)?;
    let name: Vec<String> = organization.into_iter().map(str::to_owned).collect();
    let name = subject(&name);
    let mut key_id = [0_u8; 20];
    rand::rng().fill_bytes(&mut key_id);
    let purposes = sequence(&[tlv(OID, OID_SERVER_AUTH), tlv(OID, OID_CLIENT_AUTH)]);
    let extensions = [
        extension(OID_KEY_USAGE, true, &tlv(BIT_STRING, &SIGNATURE_AND_CERT_SIGN)),
        extension(OID_EXTENDED_KEY_USAGE, false, &purposes),
        extension(OID_BASIC_CONSTRAINTS, true, &sequence(&[TRUE.to_vec()])),
        extension(OID_SUBJECT_KEY_ID, false, &tlv(OCTET_STRING, &key_id)),
    ];
    let certificate = Certificate {
        issuer: &name,
        signer: &key,
        subject: name.clone(),
        key: &key,
        not_before,
        lifetime,
        extensions: &extensions,
    };
    Ok(Issued { certificate: certificate.signed()?, key: key.to_pem()? })
}

/// What a certificate says.
struct Certificate<'a> {
    issuer: &'a [u8],
    signer: &'a PrivateKey,
    subject: Vec<u8>,
    key: &'a PrivateKey,
    not_before: i64,
    lifetime: i64,
    extensions: &'a [Vec<u8>],
}

impl Certificate<'_> {
    fn signed(self) -> Result<Pem> {
        let mut serial = [0_u8; 16];
        rand::rng().fill_bytes(&mut serial);
        let algorithm = self.signer.signature_algorithm();
        let not_after = self.not_before.saturating_add(self.lifetime);
        let body = sequence(&[
            // Version 3.
            tlv(0xa0, &positive(&[2])),
            positive(&serial),
            algorithm.clone(),
            self.issuer.to_vec(),
            sequence(&[time(self.not_before)?, time(not_after)?]),
            self.subject,
            self.key.public_key(),
            tlv(0xa3, &sequence(self.extensions)),
        ]);
        let signature = self.signer.sign(&body)?;
        let certificate = sequence(&[body, algorithm, bits(&signature)]);
        Ok(Pem::new("CERTIFICATE", certificate))
    }
}

fn extension(oid: &[u8], critical: bool, content: &[u8]) -> Vec<u8> {
    let mut parts = vec![tlv(OID, oid)];
    if critical {
        parts.push(TRUE.to_vec());
    }
    parts.push(tlv(OCTET_STRING, content));
    sequence(&parts)
}

/// The organizations in one set, each once, in the order that DER gives a set.
fn subject(roles: &[String]) -> Vec<u8> {
    let mut values: Vec<Vec<u8>> = roles
        .iter()
        .map(|role| {
            let printable =
                |byte: u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte);
            let tag = if role.bytes().all(printable) { PRINTABLE } else { UTF8 };
            sequence(&[tlv(OID, OID_ORGANIZATION), tlv(tag, role.as_bytes())])
        })
        .collect();
    values.sort();
    values.dedup();
    if values.is_empty() {
        return tlv(SEQUENCE, &[]);
    }
    sequence(&[tlv(SET, &values.concat())])
}

/// A time: with two digits of the year until 2049, with four from then on.
fn time(seconds: i64) -> Result<Vec<u8>> {
    let moment = jiff::Timestamp::from_second(seconds)
        .map_err(|_| PkiError::new("the time is out of range"))?;
    let year = moment.strftime("%Y").to_string();
    if (1950..2050).contains(&year.parse().unwrap_or(0)) {
        return Ok(tlv(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").to_string().as_bytes()));
    }
    Ok(tlv(GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()))
}
