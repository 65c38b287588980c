//! Answers to `talos-talosconfig` and `talos-secrets`.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha1::Digest as _;
use talos_client::TalosConfig;
use talos_client::secrets::{Bundle, Contract, Text};
use talos_client::talosconfig::{ClientOptions, lifetime, unknown_roles};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

/// Begin of the certificates: they are compared by their length of life.
const NOW: i64 = 1_780_000_000;

/// Our answer to a case.
pub(super) fn talosconfig(dir: &Path, case: &Value) -> anyhow::Result<Value> {
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
    let os = Bundle::parse(&text)?.certs.and_then(|certs| certs.os).context("no authority")?;
    let part = |text: &Text| text.text().map(str::to_owned).context("no PEM");
    let (ca, ca_key) = (part(&os.crt)?, part(&os.key)?);
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
    fields["key"] = client_key_facts(&key, &certificate)?;
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

fn algorithm(oid: &str) -> String {
    let name = match oid {
        "1.3.101.112" => "Ed25519",
        "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
        "1.2.840.113549.1.1.11" => "SHA256-RSA",
        other => other,
    };
    name.to_owned()
}

fn public_key(certificate: &X509Certificate<'_>) -> String {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(key)) if key.key_size() == 256 => "ECDSA P-256".to_owned(),
        _ => algorithm(&certificate.public_key().algorithm.algorithm.to_id_string()),
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
    let positive = certificate.raw_serial().first().is_some_and(|byte| *byte < 0x80);
    let serial = match certificate.tbs_certificate.serial.bits() {
        _ if !positive => "not positive",
        0..=64 => "positive, at most 64 bits",
        65..=128 => "positive, at most 128 bits",
        _ => "positive, more than 128 bits",
    };
    let mut facts = json!({
        "pem": label,
        "version": certificate.version().0 + 1,
        "subject": name_text(certificate.subject())?,
        "subject_sets": certificate.subject().iter().count(),
        "issuer": name_text(certificate.issuer())?,
        "issued_by": match (issued, der == ca_der) {
            (false, _) => "another",
            (true, true) => "itself",
            (true, false) => "the given CA",
        },
        "signature": algorithm(&certificate.signature_algorithm.algorithm.to_id_string()),
        "public_key": public_key(&certificate),
        "hours": hours,
        "serial": serial,
        "is_ca": certificate.is_ca(),
        "basic_constraints": "absent",
        "key_usage": [],
        "ext_key_usage": [],
        "subject_key_id": "absent",
        "authority_key_id": "absent",
    });
    let (mut names, mut critical) = (Vec::new(), Vec::new());
    for extension in certificate.iter_extensions() {
        let name = match extension.parsed_extension() {
            ParsedExtension::KeyUsage(usage) => {
                let names = [
                    (usage.digital_signature(), "digitalSignature"),
                    (usage.non_repudiation(), "contentCommitment"),
                    (usage.key_encipherment(), "keyEncipherment"),
                    (usage.data_encipherment(), "dataEncipherment"),
                    (usage.key_agreement(), "keyAgreement"),
                    (usage.key_cert_sign(), "keyCertSign"),
                    (usage.crl_sign(), "cRLSign"),
                ];
                facts["key_usage"] =
                    names.into_iter().filter(|(set, _)| *set).map(|(_, n)| n).collect();
                "keyUsage"
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let names = [(usage.server_auth, "serverAuth"), (usage.client_auth, "clientAuth")];
                facts["ext_key_usage"] =
                    names.into_iter().filter(|(set, _)| *set).map(|(_, n)| n).collect();
                "extKeyUsage"
            }
            ParsedExtension::BasicConstraints(constraints) => {
                facts["basic_constraints"] = json!(format!("CA:{}", constraints.ca));
                "basicConstraints"
            }
            ParsedExtension::SubjectKeyIdentifier(id) => {
                let key = &certificate.public_key().subject_public_key.data;
                let hashed = sha1::Sha1::digest(key).as_slice() == id.0;
                let suffix = if hashed { ", SHA-1 of the public key" } else { "" };
                facts["subject_key_id"] = json!(format!("{} bytes{suffix}", id.0.len()));
                "subjectKeyIdentifier"
            }
            ParsedExtension::SubjectAlternativeName(_) => "subjectAltName",
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
    critical.sort_unstable();
    facts["extensions"] = json!(names);
    facts["critical"] = json!(critical);
    Ok(facts)
}

/// Facts of a client's key, which must belong to its certificate.
fn client_key_facts(text: &str, certificate: &str) -> anyhow::Result<Value> {
    let (_, der) = block(text)?;
    let (_, certificate) = block(certificate)?;
    let (_, certificate) = X509Certificate::from_der(&certificate)?;
    let key = rustls::crypto::aws_lc_rs::sign::any_eddsa_type(&der.into())?;
    let public = key.public_key().context("the key has no public part")?;
    if public.as_ref() != certificate.public_key().raw {
        return Err(anyhow!("the key does not belong to the certificate"));
    }
    key_facts(text)
}

/// Facts of a private key.
fn key_facts(text: &str) -> anyhow::Result<Value> {
    let (label, der) = block(text)?;
    let key = rustls::pki_types::PrivateKeyDer::try_from(der.as_slice())
        .map_err(|why| anyhow!("no private key: {why}"))?;
    let format = match key {
        rustls::pki_types::PrivateKeyDer::Pkcs1(_) => "PKCS#1",
        rustls::pki_types::PrivateKeyDer::Sec1(_) => "SEC1",
        _ => "PKCS#8",
    };
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)?;
    let public = key.public_key().context("the key has no public part")?;
    let (_, public) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&public)?;
    let (algorithm, bits) = match public.parsed()? {
        PublicKey::RSA(key) => ("RSA", key.key_size()),
        PublicKey::EC(key) => ("ECDSA P-256", key.key_size()),
        _ => ("Ed25519", 256),
    };
    Ok(json!({ "pem": label, "format": format, "algorithm": algorithm, "bits": bits }))
}

/// Our answer to a case of `talos-secrets`.
pub(super) fn secrets(dir: &Path, case: &Value) -> anyhow::Result<Value> {
    let contract = case["contract"].as_str().unwrap_or_default().parse::<Contract>();
    match case["op"].as_str() {
        Some("read") => {
            let text = match case["bundle"].as_str() {
                Some(name) => fs_err::read_to_string(dir.join("bundles").join(name))?,
                None => case["bundle_yaml"].as_str().unwrap_or_default().to_owned(),
            };
            let bundle = match Bundle::parse(&text) {
                Ok(bundle) => bundle,
                Err(error) => return Ok(refused("read", &error)),
            };
            let mut answer = bundle_facts(&bundle)?;
            answer["same_text"] = json!(*bundle.to_yaml() == text);
            Ok(answer)
        }
        Some("import") => {
            let text = case["config_yaml"].as_str().unwrap_or_default();
            match Bundle::from_machine_config(text) {
                Ok(bundle) => bundle_facts(&bundle),
                Err(error) => Ok(refused("import", &error)),
            }
        }
        Some("pki") => {
            let contract = match contract {
                Ok(contract) => contract,
                Err(error) => return Ok(refused("contract", &error)),
            };
            let files = case["files"].as_object().context("no `files`")?;
            let files = files
                .iter()
                .map(|(name, text)| (name.clone(), text.as_str().unwrap_or_default().into()))
                .collect();
            let token = case["bootstrap_token"].as_str().unwrap_or_default();
            let bundle = match Bundle::from_kubernetes_pki(&files, token, contract, NOW) {
                Ok(bundle) => bundle,
                Err(error) => return Ok(refused("pki", &error)),
            };
            let mut answer = bundle_facts(&bundle)?;
            answer["strings"] = strings_facts(&bundle)?;
            if !token.is_empty() {
                answer["strings"]["secrets.bootstraptoken"] = json!(token);
            }
            let mut certs = answer["bundle"]["certs"].take();
            certs.as_object_mut().context("no certs")?.remove("os");
            answer["bundle"] = json!({ "certs": certs });
            Ok(answer)
        }
        Some("shape") => {
            let contract = match contract {
                Ok(contract) => contract,
                Err(error) => return Ok(refused("contract", &error)),
            };
            let bundle = Bundle::generate(contract, NOW)?;
            let mut answer = bundle_facts(&bundle)?;
            answer["strings"] = strings_facts(&bundle)?;
            // One identifier alone does not show its alphabet.
            let old: Contract = "1.5".parse()?;
            let samples = (0..40)
                .map(|_| Ok(Bundle::generate(old, NOW)?.cluster.unwrap_or_default()))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let ids: Vec<&[u8]> = samples.iter().map(|sample| sample.id.bytes()).collect();
            answer["strings"]["cluster.id"] = base64_facts(&ids);
            let secrets: Vec<&[u8]> = samples.iter().map(|sample| sample.secret.bytes()).collect();
            answer["strings"]["cluster.secret"] = base64_facts(&secrets);
            blank(&mut answer["bundle"]);
            Ok(answer)
        }
        other => Err(anyhow!("no answers to {other:?} of talos-secrets")),
    }
}

/// Takes the values out of a bundle.
fn blank(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(blank),
        other => *other = json!(""),
    }
}

fn bundle_facts(bundle: &Bundle) -> anyhow::Result<Value> {
    // What is judged is what another reader sees in our text.
    let data: Value = serde_saphyr::from_str(&bundle.to_yaml())?;
    let problems = bundle.problems();
    let mut answer = json!({ "bundle": data, "valid": problems.is_empty() });
    if !problems.is_empty() {
        answer["errors"] = json!(problems);
    }
    let Some(certs) = &bundle.certs else { return Ok(answer) };
    let mut facts = serde_json::Map::new();
    for (name, pair) in certs.pairs() {
        let Some(pair) = pair else { continue };
        let crt = pair.crt.text().unwrap_or_default();
        if let Ok(found) = certificate_facts(crt, crt) {
            facts.insert(format!("{name}.crt"), found);
        }
        if let Ok(found) = key_facts(pair.key.text().unwrap_or_default()) {
            facts.insert(format!("{name}.key"), found);
        }
    }
    if let Some(key) = &certs.k8s_service_account
        && let Ok(found) = key_facts(key.text().unwrap_or_default())
    {
        facts.insert("k8sserviceaccount.key".to_owned(), found);
    }
    answer["certs"] = Value::Object(facts);
    Ok(answer)
}

fn strings_facts(bundle: &Bundle) -> anyhow::Result<Value> {
    let cluster = bundle.cluster.as_ref().context("no cluster")?;
    let tokens = bundle.secrets.as_ref().context("no secrets")?;
    let trustd = bundle.trustd_token.as_ref().context("no token")?;
    let mut facts = json!({
        "cluster.id": { "length": cluster.id.bytes().len() },
        "cluster.secret": { "length": cluster.secret.bytes().len() },
        "secrets.bootstraptoken": token_facts(&tokens.bootstrap),
        "trustdinfo.token": token_facts(trustd),
    });
    for (name, secret) in [("secretbox", &tokens.secretbox), ("aescbc", &tokens.aescbc)] {
        if !secret.is_empty() {
            facts[format!("secrets.{name}encryptionsecret")] = base64_facts(&[secret.bytes()]);
        }
    }
    Ok(facts)
}

fn token_facts(token: &Text) -> Value {
    let part = |part: &str, length| {
        let symbol = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        part.len() == length && part.bytes().all(symbol)
    };
    let parts = token.text().and_then(|text| text.split_once('.'));
    match parts {
        Some((first, second)) if part(first, 6) && part(second, 16) => {
            json!({ "pattern": "^[0-9a-z]{6}\\.[0-9a-z]{16}$" })
        }
        _ => json!({ "pattern": "none", "length": token.bytes().len() }),
    }
}

/// Decoded size and, with more than one sample, the alphabet.
fn base64_facts(samples: &[&[u8]]) -> Value {
    let url = samples.iter().any(|sample| sample.iter().any(|byte| b"-_".contains(byte)));
    let length = samples.first().map_or(0, |sample| sample.len());
    let decode = |sample: &[u8]| match url {
        true => base64::engine::general_purpose::URL_SAFE.decode(sample),
        false => STANDARD.decode(sample),
    };
    let decoded: Result<Vec<_>, _> = samples.iter().map(|sample| decode(sample)).collect();
    let Ok(decoded) = decoded else {
        return json!({ "length": length, "encoding": "not padded base64" });
    };
    let bytes = decoded.first().map_or(0, Vec::len);
    let mut facts = json!({ "length": length, "encoding": "padded base64", "bytes": bytes });
    if samples.len() > 1 {
        facts["alphabet"] = json!(if url { "url" } else { "standard" });
    }
    facts
}
