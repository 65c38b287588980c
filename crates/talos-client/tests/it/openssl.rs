//! What `openssl` says of certificates that were made here: chains, purposes, and both at each
//! stage of a rotation.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use talos_client::rotation::{Rotation, Stage, Which};
use talos_client::secrets::Bundle;
use talos_client::talosconfig::{ClientOptions, TalosConfig};

const NOW: i64 = 1_780_000_000;
const DAY: i64 = 86_400;

struct Openssl {
    dir: tempfile::TempDir,
}

impl Openssl {
    /// None with a line that says so where it is missing; in CI that is a failure.
    fn new() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_ok() {
            return Some(Self { dir: tempfile::tempdir().unwrap() });
        }
        let text = "skipped: openssl is missing (Debian's package openssl)";
        assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{text}");
        report(text);
        None
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs_err::write(&path, text).unwrap();
        path
    }

    /// Whether a certificate is one of an authority, for a purpose, at a time.
    fn verifies(&self, authorities: &str, certificate: &str, purpose: &str, at: i64) -> bool {
        let (ca, crt) = (self.file("ca.pem", authorities), self.file("crt.pem", certificate));
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-x509_strict", "-attime", &at.to_string(), "-purpose", purpose]);
        verify.arg("-CAfile").arg(ca).arg(crt).output().unwrap().status.success()
    }

    fn run(args: &[&str], file: &Path) -> String {
        let output = Command::new("openssl").args(args).arg(file).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The public key of a certificate.
    fn key_of(&self, certificate: &str) -> String {
        let file = self.file("one.pem", certificate);
        Self::run(&["x509", "-noout", "-pubkey", "-in"], &file)
    }

    /// The public key of a secret one; Talos has a label of its own for the keys that it makes.
    fn public(&self, key: &str) -> String {
        let text = key.replace("ED25519 PRIVATE KEY", "PRIVATE KEY");
        let file = self.file("key.pem", &text);
        Self::run(&["pkey", "-pubout", "-in"], &file)
    }
}

#[expect(clippy::print_stderr, reason = "a skipped check must be seen")]
fn report(text: &str) {
    eprintln!("{text}");
}

fn admin(name: &str, bundle: &Bundle, lifetime: i64) -> TalosConfig {
    let os = bundle.certs.clone().unwrap().os.unwrap();
    let options = ClientOptions {
        endpoints: Vec::new(),
        nodes: Vec::new(),
        roles: vec!["os:admin".to_owned()],
        now: NOW,
        lifetime,
    };
    TalosConfig::generate(name, os.crt.text().unwrap(), os.key.text().unwrap(), &options).unwrap()
}

fn plain(encoded: &str) -> String {
    String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
}

#[test]
fn authorities_and_administrators_of_every_contract_verify() {
    let Some(openssl) = Openssl::new() else { return };
    for contract in ["1.0", "1.6", "1.11", "1.13", "1.14"] {
        let bundle = Bundle::generate(contract.parse().unwrap(), NOW).unwrap();
        let certs = bundle.certs.clone().unwrap();
        let all = [
            ("etcd", certs.etcd),
            ("k8s", certs.k8s),
            ("k8saggregator", certs.k8s_aggregator),
            ("os", certs.os),
        ];
        for (name, pair) in all {
            let pair = pair.unwrap();
            let crt = pair.crt.text().unwrap();
            let shown = format!("{name} of {contract}");
            for at in [NOW + 1, NOW + 3649 * DAY] {
                assert!(openssl.verifies(crt, crt, "any", at), "{shown}");
            }
            assert!(!openssl.verifies(crt, crt, "any", NOW + 3651 * DAY), "{shown}");
            let file = openssl.file("shown.pem", crt);
            let text = Openssl::run(&["x509", "-noout", "-text", "-in"], &file);
            assert!(text.contains("CA:TRUE") && text.contains("Certificate Sign"), "{text}");
            assert_eq!(openssl.key_of(crt), openssl.public(pair.key.text().unwrap()), "{shown}");
        }
        let config = admin("a", &bundle, 365 * DAY);
        let context = &config.contexts["a"];
        let (ca, crt) = (plain(&context.ca), plain(&context.crt));
        assert!(openssl.verifies(&ca, &crt, "sslclient", NOW + DAY), "{contract}");
        assert!(!openssl.verifies(&ca, &crt, "sslserver", NOW + DAY), "no server: {contract}");
        assert!(!openssl.verifies(&ca, &crt, "sslclient", NOW + 366 * DAY), "{contract}");
        assert_eq!(openssl.key_of(&crt), openssl.public(&plain(&context.key)), "{contract}");
        let other = bundle.certs.as_ref().unwrap().k8s.clone().unwrap();
        assert!(!openssl.verifies(other.crt.text().unwrap(), &crt, "sslclient", NOW + DAY));
    }
}

#[test]
fn at_each_stage_of_a_rotation_the_trusted_clients_verify_and_no_others() {
    let Some(openssl) = Openssl::new() else { return };
    let bundle = Bundle::generate("1.12".parse().unwrap(), NOW).unwrap();
    let rotation = Rotation::new(Which::Talos, &bundle, NOW).unwrap();
    let mut config = admin("a", &bundle, 365 * DAY);
    let old = plain(&config.contexts["a"].crt);
    let after = rotation.bundle(&bundle, Stage::Done);
    config.renew("a", &after, NOW, 30 * DAY).unwrap();
    let new = plain(&config.contexts["a"].crt);
    for stage in [Stage::Before, Stage::Accepted, Stage::Issuing, Stage::Done] {
        let trust = rotation.trust(stage);
        let found = [&old, &new].map(|crt| openssl.verifies(&trust, crt, "sslclient", NOW + DAY));
        let (takes_old, takes_new) = stage.takes();
        assert_eq!(found, [takes_old, takes_new], "{stage:?}");
    }
    for which in [Which::Talos, Which::Kubernetes] {
        let pair = Rotation::new(which, &bundle, NOW).unwrap().successor().clone();
        let crt = pair.crt.text().unwrap();
        assert!(openssl.verifies(crt, crt, "any", NOW + DAY), "{which:?}");
        assert_eq!(openssl.key_of(crt), openssl.public(pair.key.text().unwrap()), "{which:?}");
    }
}
