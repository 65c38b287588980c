use std::collections::BTreeMap;

use super::make::Contract;
use super::*;

const NOW: i64 = 1_780_000_000;

fn contract(text: &str) -> Contract {
    text.parse().unwrap()
}

#[test]
fn a_new_bundle_is_complete_and_reads_back() {
    // Contract 1.6 has a small key for service accounts, which is quick to make.
    let bundle = Bundle::generate(contract("v1.6"), NOW).unwrap();
    assert_eq!(bundle.problems(), Vec::<String>::new());
    let text = bundle.to_yaml();
    let again = Bundle::parse(&text).unwrap();
    assert_eq!(again, bundle);
    assert_eq!(again.to_yaml(), text);
}

#[test]
fn what_is_missing_is_named() {
    let problems = Bundle::default().problems();
    assert_eq!(
        problems,
        [
            "cluster is required",
            "secrets is required",
            "trustdinfo is required",
            "certs is required"
        ]
    );
}

#[test]
fn contracts_are_read_as_talos_does() {
    assert!(contract("1.12.0-rc.1") == contract("v1.12") && contract("1.12.x") > contract("1.9"));
    for bad in ["", "newest", "1", "1.12-rc.1", "v1.", "vv1.2", "1.-2"] {
        assert!(bad.parse::<Contract>().is_err(), "{bad}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let bundle = Bundle::generate(contract("1.6"), NOW).unwrap();
    let shown = format!("{bundle:?}");
    let token = bundle.trustd_token.as_ref().unwrap().text().unwrap();
    assert!(!shown.contains(token) && shown.contains("(secret)"));
    let error = Bundle::parse("certs: {os: {key: geheim@}}").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("geheim"));
}

#[test]
fn a_folder_that_lacks_a_file_is_refused_with_its_name() {
    let refused = Bundle::from_kubernetes_pki(&BTreeMap::new(), "", contract("1.13"), NOW);
    assert_eq!(refused, Err(BundleError::Missing("ca.crt")));
}
