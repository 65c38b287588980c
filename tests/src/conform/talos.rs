//! Answers to `talos-talosconfig`.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use talos_client::TalosConfig;
use talos_client::talosconfig::{ClientOptions, lifetime, unknown_roles};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;

/// Begin of the certificates: they are compared by their length of life.
const NOW: i64 = 1_780_000_000;

#[derive(Deserialize)]
struct Bundle {
    certs: Authorities,
}

#[derive(Deserialize)]
struct Authorities {
    os: PairText,
}

#[derive(Deserialize)]
struct PairText {
    crt: String,
    key: String,
}

/// Our answer to a case.
pub(super) fn answer(dir: &Path, case: &Value) -> anyhow::Result<Value> {
    match case["op"].as_str() {
        Some("generate") => generate(dir, case),
        Some("read") => Ok(match read(case, "config") {
            Ok(config) => json!({ "config": config.to_json() }),
            Err(refusal) => refusal,
        }),
        Some("merge") => Ok(merge(case)),
        other => Err(anyhow!("no answers to {other:?}")),
    }
}

fn refused(stage: &str, text: &dyn std::fmt::Display) -> Value {
    json!({ "error": { "stage": stage, "text": text.to_string() } })
}

fn read(case: &Value, field: &str) -> Result<TalosConfig, Value> {
    TalosConfig::parse(case[field].as_str().unwrap_or_default())
        .map_err(|error| refused("read", &error))
}

fn merge(case: &Value) -> Value {
    let (mut config, add) = match (read(case, "config"), read(case, "add")) {
        (Ok(config), Ok(add)) => (config, add),
        (Err(refusal), _) | (_, Err(refusal)) => return refusal,
    };
    let renames: Vec<String> =
        config.merge(&add).iter().map(|(old, new)| format!("{old:?} -> {new:?}")).collect();
    json!({ "outcomes": [{ "config": config.to_json(), "renames": renames }] })
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn decoded(text: &str) -> anyhow::Result<String> {
    Ok(String::from_utf8(STANDARD.decode(text)?)?)
}

fn generate(dir: &Path, case: &Value) -> anyhow::Result<Value> {
    let name = case["bundle"].as_str().context("no `bundle`")?;
    let text = fs_err::read_to_string(dir.join("bundles").join(name))?;
    let bundle: Bundle = serde_saphyr::from_str(&text)?;
    let (ca, ca_key) = (decoded(&bundle.certs.os.crt)?, decoded(&bundle.certs.os.key)?);
    let lifetime = match lifetime(case["ttl"].as_str().unwrap_or_default()) {
        Ok(lifetime) => lifetime,
        Err(error) => return Ok(refused("ttl", &error)),
    };
    let roles = match case.get("roles") {
        Some(roles) => strings(roles),
        None => vec!["os:admin".to_owned()],
    };
    let unknown = unknown_roles(&roles);
    let options = ClientOptions {
        endpoints: strings(&case["endpoints"]),
        nodes: strings(&case["nodes"]),
        roles,
        now: NOW,
        lifetime,
    };
    let context = case["context"].as_str().or(case["cluster_name"].as_str()).unwrap_or_default();
    let config = TalosConfig::generate(context, &ca, &ca_key, &options)?;
    // What is judged is what a reader of the file sees.
    let mut shown = TalosConfig::parse(&config.to_yaml())?.to_json();
    let fields = &mut shown["contexts"][context];
    let certificate = decoded(fields["crt"].as_str().unwrap_or_default())?;
    let key = decoded(fields["key"].as_str().unwrap_or_default())?;
    fields["crt"] = certificate_facts(&certificate, &ca)?;
    fields["key"] = key_facts(&key, &certificate)?;
    let mut answer = json!({ "config": shown });
    if !unknown.is_empty() {
        answer["unknown_roles"] = json!(unknown);
    }
    Ok(answer)
}

/// Label and content of a PEM text.
fn block(text: &str) -> anyhow::Result<(String, Vec<u8>)> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes())?;
    Ok((pem.label, pem.contents))
}

/// A name as RFC 4514 writes it, but with its sets in the order of the certificate.
fn name_text(name: &x509_parser::x509::X509Name<'_>) -> anyhow::Result<String> {
    let mut sets = Vec::new();
    for set in name.iter() {
        let mut parts = Vec::new();
        for part in set.iter() {
            let kind = match part.attr_type().to_id_string().as_str() {
                "2.5.4.3" => "CN".to_owned(),
                "2.5.4.10" => "O".to_owned(),
                other => other.to_owned(),
            };
            parts.push(format!("{kind}={}", part.as_str()?.replace(',', "\\,")));
        }
        sets.push(parts.join("+"));
    }
    Ok(sets.join(","))
}

fn algorithm(oid: &str) -> &str {
    match oid {
        "1.3.101.112" => "Ed25519",
        other => other,
    }
}

fn is_signed_by(certificate: &X509Certificate<'_>, body: &[u8], ca: &X509Certificate<'_>) -> bool {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = &ca.public_key().subject_public_key.data;
    provider
        .signature_verification_algorithms
        .all
        .iter()
        .any(|scheme| scheme.verify_signature(key, body, &certificate.signature_value.data).is_ok())
}

fn certificate_facts(text: &str, ca: &str) -> anyhow::Result<Value> {
    let (label, der) = block(text)?;
    let (_, ca_der) = block(ca)?;
    let (_, certificate) = X509Certificate::from_der(&der)?;
    let (_, ca) = X509Certificate::from_der(&ca_der)?;
    let body = certificate.tbs_certificate.as_ref();
    let issued = certificate.issuer().as_raw() == ca.subject().as_raw()
        && is_signed_by(&certificate, body, &ca);
    let validity = certificate.validity();
    let seconds = validity.not_after.timestamp() - validity.not_before.timestamp();
    let hours = match seconds % 3600 {
        0 => json!(seconds / 3600),
        _ => json!(std::time::Duration::from_secs(seconds.unsigned_abs()).as_secs_f64() / 3600.0),
    };
    let serial = certificate.raw_serial();
    let positive = serial.first().is_some_and(|byte| *byte < 0x80)
        && certificate.tbs_certificate.serial.bits() <= 128;
    let mut facts = json!({
        "pem": label,
        "version": certificate.version().0 + 1,
        "subject": name_text(certificate.subject())?,
        "subject_sets": certificate.subject().iter().count(),
        "issuer": name_text(certificate.issuer())?,
        "issued_by": if issued { "the given CA" } else { "someone else" },
        "signature": algorithm(&certificate.signature_algorithm.algorithm.to_id_string()),
        "public_key": algorithm(&certificate.public_key().algorithm.algorithm.to_id_string()),
        "hours": hours,
        "serial": if positive { "positive, at most 128 bits" } else { "out of range" },
        "is_ca": certificate.is_ca(),
        "basic_constraints": "absent",
        "subject_key_id": "absent",
        "authority_key_id": "absent",
    });
    let (mut names, mut critical) = (Vec::new(), Vec::new());
    for extension in certificate.iter_extensions() {
        let name = match extension.parsed_extension() {
            ParsedExtension::KeyUsage(usage) => {
                facts["key_usage"] =
                    if usage.flags == 1 { json!(["digitalSignature"]) } else { json!(usage.flags) };
                "keyUsage"
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let only_client = usage.client_auth && !usage.server_auth && !usage.any;
                facts["ext_key_usage"] =
                    if only_client { json!(["clientAuth"]) } else { json!("others") };
                "extKeyUsage"
            }
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                let wanted =
                    ca.iter_extensions().find_map(|extension| match extension.parsed_extension() {
                        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                        _ => None,
                    });
                let given = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                let same = given.is_some() && given == wanted;
                facts["authority_key_id"] =
                    json!(if same { "subject key id of the issuer" } else { "another" });
                "authorityKeyIdentifier"
            }
            other => return Err(anyhow!("an extension that was not expected: {other:?}")),
        };
        names.push(name);
        if extension.critical {
            critical.push(name);
        }
    }
    facts["extensions"] = json!(names);
    facts["critical"] = json!(critical);
    Ok(facts)
}

/// Facts of a key, which must belong to the certificate.
fn key_facts(text: &str, certificate: &str) -> anyhow::Result<Value> {
    let (label, der) = block(text)?;
    let (_, certificate) = block(certificate)?;
    let (_, certificate) = X509Certificate::from_der(&certificate)?;
    let key = rustls::crypto::aws_lc_rs::sign::any_eddsa_type(&der.into())?;
    let public = key.public_key().context("the key has no public part")?;
    if public.as_ref() != certificate.public_key().raw {
        return Err(anyhow!("the key does not belong to the certificate"));
    }
    Ok(json!({ "pem": label, "format": "PKCS#8", "algorithm": "Ed25519", "bits": 256 }))
}
