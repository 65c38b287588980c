//! Our answers agree with what the real programs answered.

use std::path::Path;

use cluster_tests::conform::{Filter, Golden, check};

/// Checks one golden file; every case that is judged must agree.
fn agrees(file: &str, filters: &[&str], at_least: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden").join(file);
    let golden = Golden::read(&path).unwrap();
    let filters: Vec<Filter> = filters.iter().map(|text| text.parse().unwrap()).collect();
    let mut differences = Vec::new();
    let tally = check(&golden, None, &filters, |id, why| differences.push(format!("{id}: {why}")));
    let tally = tally.unwrap();
    assert!(differences.is_empty(), "{file}\n{}", differences.join("\n"));
    assert!(tally.passed >= at_least, "{file}: only {} cases were judged", tally.passed);
}

#[test]
fn sops_files_decrypt_as_sops_does() {
    agrees("sops/sops-decrypt.json", &[], 320);
}

#[test]
fn sops_files_are_written_as_sops_does() {
    agrees("sops/sops-encrypt.json", &[], 80);
}

#[test]
fn expressions_evaluate_as_in_terraform() {
    agrees("hcl/hcl-eval.json", &[], 248);
}

#[test]
fn trees_evaluate_as_in_terragrunt() {
    agrees("hcl/hcl-tree.json", &[], 290);
}
