//! Writing a bundle.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::read::REDACTED;
use super::{Bundle, Certs, Pair, Text};
use crate::yaml;

impl Bundle {
    /// As YAML text, byte for byte as Talos writes it. It is secret: write it to a file of mode
    /// 0600.
    pub fn to_yaml(&self) -> Zeroizing<String> {
        let mut out = Lines(Zeroizing::new(String::new()));
        match &self.cluster {
            None => out.line(0, "cluster", Some("null")),
            Some(cluster) => {
                out.line(0, "cluster", None);
                out.text(1, "id", &cluster.id);
                out.text(1, "secret", &cluster.secret);
            }
        }
        match &self.secrets {
            None => out.line(0, "secrets", Some("null")),
            Some(tokens) => {
                out.line(0, "secrets", None);
                out.text(1, "bootstraptoken", &tokens.bootstrap);
                let optional = [
                    ("aescbcencryptionsecret", &tokens.aescbc),
                    ("secretboxencryptionsecret", &tokens.secretbox),
                ];
                for (name, value) in optional.into_iter().filter(|(_, value)| !value.is_empty()) {
                    out.text(1, name, value);
                }
            }
        }
        match &self.trustd_token {
            None => out.line(0, "trustdinfo", Some("null")),
            Some(token) => {
                out.line(0, "trustdinfo", None);
                out.text(1, "token", token);
            }
        }
        match &self.certs {
            None => out.line(0, "certs", Some("null")),
            Some(certs) => out.certs(certs),
        }
        out.0
    }
}

struct Lines(Zeroizing<String>);

impl Lines {
    fn line(&mut self, depth: usize, name: &str, value: Option<&str>) {
        self.0.push_str(&"    ".repeat(depth));
        self.0.push_str(name);
        self.0.push(':');
        if let Some(value) = value {
            self.0.push(' ');
            self.0.push_str(value);
        }
        self.0.push('\n');
    }

    fn text(&mut self, depth: usize, name: &str, value: &Text) {
        let text = Zeroizing::new(yaml::scalar(value.text().unwrap_or_default()).into_owned());
        self.line(depth, name, Some(&text));
    }

    fn pem(&mut self, name: &str, value: &Text) {
        if value.bytes() == REDACTED.as_bytes() {
            self.text(2, name, value);
            return;
        }
        let packed = Zeroizing::new(yaml::scalar(&STANDARD.encode(value.bytes())).into_owned());
        self.line(2, name, Some(&packed));
    }

    fn certs(&mut self, certs: &Certs) {
        self.line(0, "certs", None);
        let pair = |out: &mut Self, name: &str, pair: Option<&Pair>| match pair {
            None => out.line(1, name, Some("null")),
            Some(pair) => {
                out.line(1, name, None);
                out.pem("crt", &pair.crt);
                out.pem("key", &pair.key);
            }
        };
        pair(self, "etcd", certs.etcd.as_ref());
        pair(self, "k8s", certs.k8s.as_ref());
        pair(self, "k8saggregator", certs.k8s_aggregator.as_ref());
        match &certs.k8s_service_account {
            None => self.line(1, "k8sserviceaccount", Some("null")),
            Some(key) => {
                self.line(1, "k8sserviceaccount", None);
                self.pem("key", key);
            }
        }
        pair(self, "os", certs.os.as_ref());
    }
}
