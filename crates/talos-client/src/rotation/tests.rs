use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::prelude::FromDer as _;

use super::*;
use crate::config::{GenerateInput, MachineConfig, MachineType, Mode};
use crate::pki::Pem;
use crate::talosconfig::{ClientOptions, TalosConfig};

const NOW: i64 = 1_780_000_000;
const DAY: i64 = 86_400;

fn bundle() -> Bundle {
    Bundle::generate("1.6".parse().unwrap(), NOW).unwrap()
}

fn generated(bundle: &Bundle, role: MachineType, minor: u32) -> MachineConfig {
    let contract = format!("1.{minor}").parse().unwrap();
    let input = GenerateInput::new(contract, role, "a", "https://10.0.0.1:6443", "1.35.0");
    MachineConfig::generate(bundle, &input).unwrap()
}

#[test]
fn a_node_goes_through_three_phases_and_ends_as_one_that_is_made_anew() {
    let bundle = bundle();
    for which in [Which::Talos, Which::Kubernetes] {
        let rotation = Rotation::new(which, &bundle, NOW).unwrap();
        for (role, minor) in [MachineType::ControlPlane, MachineType::Worker]
            .into_iter()
            .flat_map(|r| [(r, 13), (r, 14)])
        {
            let start = generated(&bundle, role, minor);
            assert_eq!(
                rotation.stage_of(&start),
                Some(Stage::Before),
                "{which:?} {role:?} 1.{minor}"
            );
            let mut config = start.clone();
            for stage in Stage::PHASES {
                let next = rotation.config(&config, stage).unwrap();
                // A worker of 1.14 only accepts: for it the second phase changes the order.
                let is_witness =
                    which == Which::Kubernetes && minor == 14 && role == MachineType::Worker;
                if !is_witness || stage != Stage::Issuing {
                    assert_eq!(
                        rotation.stage_of(&next),
                        Some(stage),
                        "{which:?} {role:?} 1.{minor}"
                    );
                }
                assert_eq!(rotation.config(&next, stage).unwrap(), next, "again is the same");
                if minor < 14 {
                    let found = next.validate(Mode::Cloud, minor, false);
                    assert!(found.is_ok(), "{:?}", found.errors);
                }
                config = next;
            }
            let anew = generated(&rotation.bundle(&bundle, Stage::Done), role, minor);
            assert_eq!(config.diff(&anew), [], "{which:?} {role:?} 1.{minor}");
            // All of it can be taken back.
            let back = rotation.config(&config, Stage::Before).unwrap();
            assert_eq!(back.diff(&start), []);
        }
    }
}

#[test]
fn keys_stay_off_workers_and_other_authorities_stay() {
    let bundle = bundle();
    let rotation = Rotation::new(Which::Talos, &bundle, NOW).unwrap();
    let other = STANDARD.encode(rotation_of_others().crt.bytes());
    let mut documents = generated(&bundle, MachineType::Worker, 13).documents().to_vec();
    documents[0]["machine"]["acceptedCAs"] = serde_json::json!([{ "crt": other }]);
    let worker = MachineConfig::of_documents(documents);
    for stage in Stage::PHASES {
        let config = rotation.config(&worker, stage).unwrap();
        assert_eq!(config.value("/machine/ca/key").unwrap(), "");
        assert_eq!(config.value("/machine/acceptedCAs/0/crt").unwrap(), &other);
        let count = config.value("/machine/acceptedCAs").unwrap().as_array().unwrap().len();
        assert_eq!(count, if stage == Stage::Done { 1 } else { 2 });
    }
    let stranger = generated(&self::bundle(), MachineType::Worker, 13);
    assert!(rotation.config(&stranger, Stage::Accepted).is_err());
    let shown = format!("{rotation:?}");
    assert!(!shown.contains("BEGIN") && shown.contains("(secret)"));
}

fn rotation_of_others() -> Pair {
    Rotation::new(Which::Talos, &bundle(), NOW).unwrap().successor().clone()
}

#[test]
fn clients_trust_both_authorities_on_the_way() {
    let bundle = bundle();
    let rotation = Rotation::new(Which::Talos, &bundle, NOW).unwrap();
    let count = |stage| rotation.trust(stage).matches("BEGIN CERTIFICATE").count();
    assert_eq!(
        [Stage::Before, Stage::Accepted, Stage::Issuing, Stage::Done].map(count),
        [1, 2, 2, 1]
    );
    assert_eq!(Stage::Accepted.takes(), (true, true));
    assert_eq!((Stage::Before.takes(), Stage::Done.takes()), ((true, false), (false, true)));
    let again = Rotation::to(Which::Talos, &bundle, rotation.successor().clone()).unwrap();
    assert_eq!(again.trust(Stage::Done), rotation.trust(Stage::Done));
    assert!(Rotation::new(Which::Talos, &Bundle::default(), NOW).is_err());
}

#[test]
fn an_administrator_is_renewed_with_the_same_roles() {
    let bundle = bundle();
    let os = bundle.certs.clone().unwrap().os.unwrap();
    let options = ClientOptions {
        endpoints: vec!["10.0.0.1".to_owned()],
        nodes: vec!["10.0.0.2".to_owned()],
        roles: vec!["os:reader".to_owned(), "os:etcd:backup".to_owned()],
        now: NOW - 364 * DAY,
        lifetime: 365 * DAY,
    };
    let (ca, key) = (os.crt.text().unwrap(), os.key.text().unwrap());
    let mut config = TalosConfig::generate("a", ca, key, &options).unwrap();
    let before = expiries(&config.to_yaml()).unwrap();
    let client =
        |all: &[Expiry]| all.iter().find(|one| one.path == "contexts.a.crt").unwrap().clone();
    assert_eq!(client(&before).left(NOW), DAY);
    let old = config.contexts["a"].clone();
    config.renew("a", &bundle, NOW, 30 * DAY).unwrap();
    let new = &config.contexts["a"];
    assert_eq!((&new.endpoints, &new.nodes, &new.ca), (&old.endpoints, &old.nodes, &old.ca));
    assert!(new.crt != old.crt && new.key != old.key);
    let renewed = client(&expiries(&config.to_yaml()).unwrap());
    assert_eq!((renewed.left(NOW), renewed.is_authority), (30 * DAY, false));
    assert_eq!(renewed.subject, client(&before).subject);
    let text = String::from_utf8(STANDARD.decode(&new.crt).unwrap()).unwrap();
    let (pem, authority) = (Pem::parse(&text).unwrap(), Pem::parse(ca).unwrap());
    let parse = |pem: &'static Pem| {
        x509_parser::certificate::X509Certificate::from_der(pem.der()).unwrap().1
    };
    let (pem, authority) = (Box::leak(Box::new(pem)), Box::leak(Box::new(authority)));
    assert_eq!(parse(pem).issuer(), parse(authority).subject());
    assert!(config.renew("b", &bundle, NOW, DAY).is_err());
    assert!(config.renew("a", &Bundle::default(), NOW, DAY).is_err());
}

#[test]
fn every_certificate_is_found_with_its_end() {
    let bundle = bundle();
    let found = expiries(&bundle.to_yaml()).unwrap();
    let mut paths: Vec<&str> = found.iter().map(|one| one.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        ["certs.etcd.crt", "certs.k8s.crt", "certs.k8saggregator.crt", "certs.os.crt"]
    );
    assert!(
        found.iter().all(|one| one.is_authority && one.is_valid(NOW) && !one.is_valid(NOW - 1))
    );
    let newer = generated(&bundle, MachineType::ControlPlane, 14).to_yaml();
    let found = expiries(&newer).unwrap();
    assert!(found.iter().any(|one| one.path == "issuingCA.cert"), "{found:?}");
    assert!(expiries("a: [").is_err());
}
