//! Whether a configuration makes sense: the rules that Talos applies before it takes one.

mod cluster;
mod document;
mod hint;
mod lint;
mod machine;
mod network;
mod newest;
mod other;
mod runtime;
mod spot;
mod text;
pub(super) mod volume;

use std::fmt;

use serde_json::Value;

use super::MachineConfig;
use super::cel::{self, Environment, Wanted};
use super::machine::id_of;
use spot::Address;

/// How a machine runs Talos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Installed to a disk of its own.
    Metal,
    /// From an image of a cloud.
    Cloud,
    /// In a container.
    Container,
    /// In an agent that only waits.
    MetalAgent,
}

/// Something found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The document: `v1alpha1.Config`, or kind and name.
    pub document: String,
    /// The field that it is about, such as `machine.install.disk`, whether it is there or not; empty
    /// for the document as a whole. [`Lines`](super::Lines) tells its line.
    pub path: String,
    /// A word that stays the same whatever the text says.
    pub class: &'static str,
    /// What is wrong. It holds no secret.
    pub text: String,
}

impl Finding {
    /// What to do about it, where that can be told.
    pub fn hint(&self) -> Option<&'static str> {
        hint::of(self.class)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.document, self.text)
    }
}

/// What a validation found, in Talos' own order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validation {
    /// A node refuses the configuration for these.
    pub errors: Vec<Finding>,
    /// Works, but hardly as meant.
    pub warnings: Vec<Finding>,
}

impl Validation {
    /// No errors.
    pub fn is_ok(&self) -> bool {
        self.errors.is_empty()
    }
}

/// What is validated, and what was found so far.
struct Findings {
    document: String,
    mode: Mode,
    /// Minor version of Talos whose rules apply.
    minor: u32,
    /// A document of its own names the endpoint of the cluster.
    has_endpoint: bool,
    errors: Vec<(Finding, Address)>,
    warnings: Vec<(Finding, Address)>,
}

/// What is found is about a part of a document.
struct About<'f> {
    findings: &'f mut Findings,
    part: Address,
}

impl About<'_> {
    fn error(self, class: &'static str, text: impl Into<String>) {
        let found = self.finding(class, text);
        self.findings.errors.push(found);
    }

    fn warning(self, class: &'static str, text: impl Into<String>) {
        let found = self.finding(class, text);
        self.findings.warnings.push(found);
    }

    fn finding(&self, class: &'static str, text: impl Into<String>) -> (Finding, Address) {
        let document = self.findings.document.clone();
        (Finding { document, path: String::new(), class, text: text.into() }, self.part)
    }
}

impl Findings {
    fn new(mode: Mode, minor: u32) -> Self {
        Self {
            document: String::new(),
            mode,
            minor,
            has_endpoint: false,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// About a part; one that is not there is as good as its document.
    fn of(&mut self, part: Part<'_>) -> About<'_> {
        About { findings: self, part: Address::of(part.0) }
    }

    fn error(&mut self, class: &'static str, text: impl Into<String>) {
        self.of(Part(None)).error(class, text);
    }

    fn warning(&mut self, class: &'static str, text: impl Into<String>) {
        self.of(Part(None)).warning(class, text);
    }

    /// Warnings count as errors.
    fn be_strict(&mut self) {
        for (warning, part) in std::mem::take(&mut self.warnings) {
            let class = strict_class(warning.class);
            let text = format!("warning: {}", warning.text);
            self.errors.push((Finding { class, text, ..warning }, part));
        }
    }

    /// What was found, each with its place in these documents.
    fn placed(self, documents: &[Value]) -> Validation {
        let place = |(mut finding, part): (Finding, Address)| {
            // What is about two documents is told at the main one.
            let of = match finding.document.as_str() {
                "" | "v1alpha1.Config" => "v1alpha1",
                other => other,
            };
            let document = documents.iter().find(|one| id_of(one).to_string() == of);
            if let Some(document) = document {
                finding.path = spot::path(document, part, &finding.text);
            }
            finding
        };
        Validation {
            errors: self.errors.into_iter().map(place).collect(),
            warnings: self.warnings.into_iter().map(place).collect(),
        }
    }

    /// Checks an expression, if there is one, and says whether there is.
    fn expression(
        &mut self,
        part: Part<'_>,
        environment: Environment,
        wanted: Wanted,
        class: &'static str,
    ) -> bool {
        let text = part.text();
        if text.is_empty() {
            return false;
        }
        if let Err(error) = cel::check(text, environment, self.minor, wanted) {
            self.of(part).error(class, format!("the expression cannot be used: {error}"));
        }
        true
    }
}

/// A part of a document; what is not there or null is nothing.
#[derive(Clone, Copy)]
struct Part<'a>(Option<&'a Value>);

impl<'a> Part<'a> {
    fn at(self, path: &str) -> Self {
        let start = self.0;
        let found =
            start.and_then(|start| path.split('.').try_fold(start, |value, name| value.get(name)));
        Self(found.filter(|value| !value.is_null()))
    }

    fn is_there(self) -> bool {
        self.0.is_some()
    }

    fn text(self) -> &'a str {
        self.0.and_then(Value::as_str).unwrap_or_default()
    }

    fn number(self) -> Option<i64> {
        self.0.and_then(Value::as_i64)
    }

    fn flag(self) -> Option<bool> {
        self.0.and_then(Value::as_bool)
    }

    fn is_on(self) -> bool {
        self.flag() == Some(true)
    }

    fn items(self) -> impl Iterator<Item = Part<'a>> {
        self.0.and_then(Value::as_array).into_iter().flatten().map(|value| Part(Some(value)))
    }

    fn texts(self) -> impl Iterator<Item = &'a str> {
        self.items().map(Self::text)
    }

    /// Entries in the order of their keys.
    fn entries(self) -> Vec<(&'a str, Self)> {
        let map = self.0.and_then(Value::as_object).into_iter().flatten();
        let mut entries: Vec<(&str, Self)> =
            map.map(|(key, value)| (key.as_str(), Self(Some(value)))).collect();
        entries.sort_by_key(|(key, _)| *key);
        entries
    }
}

impl MachineConfig {
    /// Checks the configuration by the rules of a minor version of Talos 1 for a way to run it.
    /// With `strict` warnings of the main document are errors too.
    pub fn validate(&self, mode: Mode, minor: u32, strict: bool) -> Validation {
        let mut findings = Findings::new(mode, minor);
        findings.has_endpoint = self.document("KubeClusterConfig", "").is_some();
        let main = self.document("v1alpha1", "");
        if let Some(main) = main {
            "v1alpha1.Config".clone_into(&mut findings.document);
            self::main(&mut findings, Part(Some(main)));
            if strict {
                findings.be_strict();
            }
        }
        for document in self.documents() {
            let id = id_of(document);
            if id.kind != "v1alpha1" {
                findings.document = id.to_string();
                document::check(&mut findings, &id, Part(Some(document)));
                if minor >= 14 {
                    newest::check(&mut findings, &id, Part(Some(document)));
                }
            }
        }
        if let Some(main) = main {
            findings.document = String::new();
            for document in self.documents() {
                document::conflict(&mut findings, Part(Some(main)), Part(Some(document)));
                if minor >= 14 {
                    newest::conflict(&mut findings, Part(Some(main)), Part(Some(document)));
                }
            }
        }
        if minor >= 14 {
            findings.document = String::new();
            newest::together(&mut findings, Part(main), self.documents());
        }
        findings.placed(self.documents())
    }
}

/// The class of a warning that counts as an error.
fn strict_class(class: &'static str) -> &'static str {
    match class {
        "machine-type-alias" => "strict-machine-type-alias",
        "extensions-deprecated" => "strict-extensions-deprecated",
        "interface-cidr-deprecated" => "strict-interface-cidr-deprecated",
        "cni-urls-empty" => "strict-cni-urls-empty",
        other => other,
    }
}

/// What a machine is in the eyes of the rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    ControlPlane,
    Worker,
    Unknown,
}

fn main(findings: &mut Findings, root: Part<'_>) {
    let machine = root.at("machine");
    if !machine.is_there() {
        findings.error("machine-required", "there is no `machine` section");
        return;
    }
    let kind = match machine.at("type").text() {
        "init" | "controlplane" => Type::ControlPlane,
        "worker" | "join" | "" => Type::Worker,
        _ => Type::Unknown,
    };
    let section = root.at("cluster");
    cluster::check(findings, section, kind);
    // From 1.14 on a document may say how to install, or nobody.
    if findings.minor < 14 || machine.at("install").is_there() {
        machine::install(findings, machine.at("install"));
    }
    machine::host_dns(findings, machine.at("features.hostDNS"));
    match machine.at("type").text() {
        "join" | "" => findings.warning("machine-type-alias", "`machine.type` should say `worker`"),
        other if kind == Type::Unknown => {
            findings.error("machine-type-unknown", format!("`machine.type` is {other:?}"));
        }
        _ => {}
    }
    machine::authorities(findings, machine, section, kind);
    network::check(findings, machine.at("network"));
    machine::rest(findings, machine, section, root, kind);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(text: &str, mode: Mode) -> (Vec<&'static str>, Vec<&'static str>) {
        let found = MachineConfig::parse(text).unwrap().validate(mode, 13, false);
        let of = |list: &[Finding]| list.iter().map(|one| one.class).collect();
        (of(&found.errors), of(&found.warnings))
    }

    const WORKER: &str = "machine: {type: worker, token: t, ca: {crt: Y2E=}, install: {disk: /dev/sda}}\ncluster: {controlPlane: {endpoint: 'https://10.0.0.1:6443'}}\n";

    #[test]
    fn a_document_is_checked_as_far_as_the_library_checks_it() {
        let errors = |kind: &str, rest: &str| {
            let text = format!("apiVersion: v1alpha1\nkind: {kind}\n{rest}\n");
            classes(&text, Mode::Metal).0
        };
        let rule = |rule: &str| errors("ImageVerificationConfig", &format!("rules: [{rule}]"));
        assert_eq!(
            rule("{image: a/*, skip: true, keyless: {issuer: i}, publicKey: {certificate: c}}"),
            [
                "image-rule-verifier-unwanted",
                "image-rule-two-verifiers",
                "image-rule-verifier-incomplete"
            ]
        );
        assert!(rule("{image: a/*, deny: true}").is_empty());
        let volume = |rest: &str| errors("UserVolumeConfig", &format!("name: abc\n{rest}"));
        let odd = "filesystem: {type: vfat}";
        assert_eq!(volume(&format!("volumeType: tmpfs\n{odd}")), ["volume-type-unsupported"]);
        assert_eq!(
            volume(&format!("volumeType: directory\n{odd}")),
            ["volume-section-unsupported"]
        );
        assert_eq!(errors("KubeSpanConfig", "mtu: 0"), ["kubespan-mtu-small"]);
        assert!(errors("KubeSpanConfig", "enabled: true").is_empty());
        assert_eq!(
            errors("BlackholeRouteConfig", "metric: 1"),
            ["name-required", "name-not-prefix"]
        );
        let swap = "name: abc\nprovisioning: {diskSelector: {match: 'true'}, maxSize: -10%}";
        assert!(errors("SwapVolumeConfig", swap).is_empty());
    }

    #[test]
    fn a_worker_passes_and_its_install_disk_matters_on_metal() {
        assert_eq!(classes(WORKER, Mode::Metal), (vec![], vec![]));
        let without = WORKER.replace("install: {disk: /dev/sda}", "install: {}");
        assert_eq!(classes(&without, Mode::Metal).0, ["install-disk-required"]);
        assert_eq!(classes(&without, Mode::Cloud).0, Vec::<&str>::new());
        let alias = WORKER.replace("type: worker", "type: join");
        assert_eq!(classes(&alias, Mode::Cloud), (vec![], vec!["machine-type-alias"]));
        let found = MachineConfig::parse(&alias).unwrap().validate(Mode::Cloud, 13, true);
        assert_eq!(found.errors[0].class, "strict-machine-type-alias");
    }

    #[test]
    fn sections_that_are_missing_are_told_first() {
        assert_eq!(classes("cluster: {}", Mode::Cloud).0, ["machine-required"]);
        let found = classes("machine: {type: controlplane}", Mode::Cloud).0;
        assert_eq!(found, ["cluster-required", "ca-or-accepted-required", "ca-required"]);
    }

    #[test]
    fn a_document_that_says_what_the_main_one_says_is_a_conflict() {
        let text =
            format!("{WORKER}---\napiVersion: v1alpha1\nkind: HostnameConfig\nhostname: a\n");
        let named = text.replace("token: t,", "token: t, network: {hostname: b},");
        assert_eq!(classes(&text, Mode::Cloud).0, Vec::<&str>::new());
        assert_eq!(classes(&named, Mode::Cloud).0, ["conflict-hostname"]);
    }

    #[test]
    fn what_a_field_says_is_read_as_upstream_reads_it() {
        let bond = |mode: &str| {
            let bond = format!("bond: {{interfaces: [eth0], mode: {mode}, arpInterval: 5}}");
            let network = format!("network: {{interfaces: [{{interface: bond0, {bond}}}]}}");
            WORKER.replace("token: t,", &format!("token: t, {network},"))
        };
        assert_eq!(classes(&bond("nonsense"), Mode::Metal).0, ["bond-option-invalid"]);
        assert_eq!(classes(&bond("802.3ad"), Mode::Metal).0, ["bond-option-wrong-mode"]);
        let unknown = WORKER
            .replace("type: worker", "type: '1'")
            .replace("cluster: {", "cluster: {etcd: {}, ");
        let wanted = ["etcd-on-worker", "machine-type-unknown"];
        assert_eq!(classes(&unknown, Mode::Metal).0, wanted);
        let rule = |name: &str| {
            format!("apiVersion: v1alpha1\nkind: RoutingRuleConfig\nname: '{name}'\ntable: '9'\n")
        };
        let both = ["routing-priority-invalid", "routing-priority-reserved"];
        assert_eq!(classes(&rule("x"), Mode::Metal).0, both);
        assert_eq!(classes(&rule("99999999999"), Mode::Metal).0, ["routing-priority-invalid"]);
        let text = "apiVersion: v1alpha1\nkind: RegistryTLSConfig\nname: a\nca: |\n  -----BEGIN CERTIFICATE-----\n  TUlJQg==\n  -----END CERTIFICATE-----\n";
        assert_eq!(classes(text, Mode::Metal).0, ["tls-ca-invalid"]);
    }
}
