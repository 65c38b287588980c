//! Rules of documents about routing, probes, registries and images.

use super::super::DocumentId;
use super::super::url::GoUrl;
use super::document::named;
use super::{Environment, Findings, Part, Wanted};

pub(super) fn routing(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    named(findings, id);
    let priority = id.name.parse::<u32>();
    if priority.is_err() {
        findings.error(
            "routing-priority-invalid",
            "the name is no priority, a whole number of 32 bits",
        );
    }
    // What is no number counts as none; what is too large counts as the largest.
    let is_too_large =
        priority.is_err() && !id.name.is_empty() && id.name.chars().all(|c| c.is_ascii_digit());
    let number = if is_too_large { u32::MAX } else { priority.unwrap_or(0) };
    if [0, 32500, 32766, 32767].contains(&number) {
        findings.error("routing-priority-reserved", "the priority is reserved");
    }
    let table = document.at("table");
    let has_table =
        table.number().is_some_and(|table| table != 0) || !["", "unspec"].contains(&table.text());
    let action = document.at("action").text();
    if !has_table && ["", "unspec", "unicast"].contains(&action) {
        findings.error(
            "routing-table-required",
            "there is neither a table nor another action than unicast",
        );
    }
    let set = |key: &str| document.at(key).number().is_some_and(|number| number != 0);
    if set("fwMask") && !set("fwMark") {
        findings.error("routing-mask-needs-mark", "fwMask needs fwMark");
    }
}

pub(super) fn probe(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    named(findings, id);
    if document.at("endpoint").text().is_empty() {
        findings.error("probe-endpoint-required", "the probe has no endpoint");
    }
    let is_negative = |key: &str| {
        let value = document.at(key);
        value.text().starts_with('-') || value.number().is_some_and(|number| number < 0)
    };
    for key in ["interval", "failureThreshold", "timeout"] {
        if is_negative(key) {
            findings.error("probe-negative", format!("{key} is negative"));
        }
    }
}

pub(super) fn auth(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    named(findings, id);
    let has = |key: &str| !document.at(key).text().is_empty();
    if has("username") && has("identityToken") {
        findings.error("auth-two-methods", "there are a user name and an identity token");
    }
    if has("auth") && (has("username") || has("identityToken")) {
        findings.error("auth-two-methods", "there are `auth` and another method");
    }
}

/// Whether a text holds PEM of that label that can be decoded.
fn is_pem(text: &str, label: &str) -> bool {
    use rustls_pki_types::pem::{PemObject as _, SectionKind};
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes());
    let mut sections = sections.filter_map(Result::ok);
    if label == "CERTIFICATE" {
        use x509_parser::prelude::FromDer as _;
        return sections.next().is_some_and(|(kind, der)| {
            let parsed = x509_parser::certificate::X509Certificate::from_der(&der);
            kind == SectionKind::Certificate && parsed.is_ok()
        });
    }
    let mut kinds = sections.map(|(kind, _)| kind);
    kinds.next().is_some_and(|kind| {
        matches!(
            kind,
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey
        )
    }) || text.contains("ED25519 PRIVATE KEY")
}

pub(super) fn tls(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    named(findings, id);
    let ca = document.at("ca").text();
    if !ca.is_empty() && !is_pem(ca, "CERTIFICATE") {
        findings.error("tls-ca-invalid", "`ca` holds no certificate");
    }
    let identity = document.at("clientIdentity");
    if identity.is_there() {
        if !is_pem(identity.at("cert").text(), "CERTIFICATE") {
            findings.error(
                "tls-identity-certificate-invalid",
                "`clientIdentity.cert` holds no certificate",
            );
        }
        if !is_pem(identity.at("key").text(), "KEY") {
            findings.error("tls-identity-key-invalid", "`clientIdentity.key` holds no key");
        }
    }
}

pub(super) fn siderolink(findings: &mut Findings, document: Part<'_>) {
    let text = document.at("apiUrl").text();
    let Some(url) = GoUrl::parse(text).ok().filter(|_| !text.is_empty()) else {
        return findings.error("url-required", "there is no URL");
    };
    if !["https", "grpc"].contains(&url.scheme()) {
        findings.error("url-scheme", format!("{text:?} is neither https nor grpc"));
    } else if !matches!(url.path(), "" | "/") {
        findings.error("url-path", format!("{text:?} has a path"));
    }
}

/// What is done when memory runs out.
pub(super) fn memory(findings: &mut Findings, document: Part<'_>) {
    let trigger = document.at("triggerExpression");
    findings.expression(trigger, Environment::OomTrigger, Wanted::Bool, "oom-trigger-invalid");
    let ranking = document.at("cgroupRankingExpression");
    findings.expression(ranking, Environment::OomRanking, Wanted::Double, "oom-ranking-invalid");
    if document.at("sampleInterval").text().starts_with('-') {
        findings.error("oom-interval-negative", "sampleInterval is negative");
    }
}

pub(super) fn images(findings: &mut Findings, document: Part<'_>) {
    for (index, rule) in document.at("rules").items().enumerate() {
        let pattern = rule.at("image").text();
        if pattern.is_empty() {
            findings
                .of(rule)
                .error("image-rule-pattern-required", format!("rule {index} has no image"));
        } else {
            odd_pattern(findings, rule, index, pattern);
        }
        let (skip, deny) = (rule.at("skip").is_on(), rule.at("deny").is_on());
        let (keyless, key) = (rule.at("keyless"), rule.at("publicKey"));
        if skip && deny {
            findings
                .of(rule)
                .error("image-rule-skip-and-deny", format!("rule {index} skips and denies"));
        }
        if (skip || deny) && (keyless.is_there() || key.is_there()) {
            findings.of(rule).error(
                "image-rule-verifier-unwanted",
                format!("rule {index} has a verifier too many"),
            );
        }
        match (keyless.is_there(), key.is_there()) {
            (false, false) if skip || deny => {}
            (false, false) => {
                findings
                    .of(rule)
                    .error("image-rule-verifier-required", format!("rule {index} has no verifier"));
            }
            (true, true) => {
                findings
                    .of(rule)
                    .error("image-rule-two-verifiers", format!("rule {index} has two verifiers"));
            }
            _ => {}
        }
        let incomplete = "image-rule-verifier-incomplete";
        if keyless.is_there() {
            if keyless.at("issuer").text().is_empty() {
                findings.of(rule).error(incomplete, format!("rule {index} has no issuer"));
            }
            if keyless.at("subject").text().is_empty()
                && keyless.at("subjectRegex").text().is_empty()
            {
                findings.of(rule).error(incomplete, format!("rule {index} has no subject"));
            }
        }
        if key.is_there() && key.at("certificate").text().is_empty() {
            findings.of(rule).error(incomplete, format!("rule {index} has no certificate"));
        }
    }
}

/// Patterns are compared with registry and repository alone.
fn odd_pattern(findings: &mut Findings, rule: Part<'_>, index: usize, pattern: &str) {
    let odd = "image-rule-pattern-odd";
    if pattern.contains('@') {
        findings.of(rule).warning(odd, format!("rule {index} has `@`, which never matches"));
    }
    let last = pattern.rsplit('/').next().unwrap_or_default();
    if last.contains(':') {
        findings.of(rule).warning(odd, format!("rule {index} has a tag, which never matches"));
    }
    if !pattern.contains('/') && !pattern.contains('*') {
        findings.of(rule).warning(odd, format!("rule {index} names no registry"));
    }
}
