//! Our answers agree with what the real programs answered.

use std::path::Path;

use cluster_tests::conform::{Filter, Golden, check};

/// Checks one golden file; every case that is judged must agree.
fn agrees(file: &str, filters: &[&str], at_least: usize) -> anyhow::Result<()> {
    agrees_but(file, filters, at_least, &[])
}

/// As [`agrees`], but for cases that are known to differ, and must.
fn agrees_but(file: &str, filters: &[&str], at_least: usize, known: &[&str]) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden").join(file);
    let golden = Golden::read(&path)?;
    let filters: Vec<Filter> =
        filters.iter().map(|text| text.parse()).collect::<anyhow::Result<_>>()?;
    let mut differences = Vec::new();
    let mut different = std::collections::BTreeSet::new();
    let tally = check(&golden, None, &filters, |id, why| {
        different.insert(id.to_owned());
        if !known.contains(&id) {
            differences.push(format!("{id}: {why}"));
        }
    })?;
    let agree: Vec<&&str> = known.iter().filter(|id| !different.contains(**id)).collect();
    assert!(agree.is_empty(), "{file}: these agree now: {agree:?}");
    assert!(differences.is_empty(), "{file}\n{}", differences.join("\n"));
    assert!(tally.passed >= at_least, "{file}: only {} cases were judged", tally.passed);
    Ok(())
}

#[test]
fn sops_files_decrypt_as_sops_does() -> anyhow::Result<()> {
    agrees("sops/sops-decrypt.json", &[], 320)
}

#[test]
fn sops_files_are_written_as_sops_does() -> anyhow::Result<()> {
    agrees("sops/sops-encrypt.json", &[], 80)
}

#[test]
fn expressions_evaluate_as_in_terraform() -> anyhow::Result<()> {
    agrees("hcl/hcl-eval.json", &[], 248)
}

#[test]
fn trees_evaluate_as_in_terragrunt() -> anyhow::Result<()> {
    agrees("hcl/hcl-tree.json", &[], 290)
}

#[test]
fn schematics_have_the_ids_that_the_factory_gives() -> anyhow::Result<()> {
    agrees("schematic/schematic-id.json", &[], 570)
}

#[test]
fn property_strings_are_printed_as_the_server_does() -> anyhow::Result<()> {
    agrees("pve/pve-canonical.json", &[], 44)
}

#[test]
fn client_configurations_are_made_read_and_merged_as_talos_does() -> anyhow::Result<()> {
    agrees("talos/talos-talosconfig.json", &[], 60)
}

#[test]
fn secrets_bundles_are_read_and_made_as_talos_does() -> anyhow::Result<()> {
    agrees("talos/talos-secrets.json", &[], 60)
}

#[test]
fn requests_are_judged_as_the_schema_of_the_server_does() -> anyhow::Result<()> {
    agrees("pve/pve-validate.json", &[], 92)
}

#[test]
fn machine_configurations_are_generated_as_talos_does() -> anyhow::Result<()> {
    agrees("talos/talos-gen.json", &[], 399)
}

#[test]
fn machine_configurations_are_judged_as_talos_does() -> anyhow::Result<()> {
    agrees_but("talos/talos-validate.json", &[], 470, &[])
}

#[test]
fn patches_are_merged_as_talos_does() -> anyhow::Result<()> {
    // Deleting a document that is not there leaves the configuration as it is, as 1.14 does it:
    // 1.11 to 1.13 crash, or write one that does not load.
    let known = [
        "delete-doc-wrong-name@1.11",
        "delete-doc-name-on-unnamed@1.11",
        "delete-doc-absent-kind@1.11",
        "delete-doc-unknown-kind@1.11",
        "delete-doc-other-version@1.11",
        "delete-legacy-by-kind@1.11",
        "delete-doc-twice@1.11",
        "delete-doc-field-absent-doc@1.11",
    ];
    agrees_but("talos/talos-patch.json", &[], 380, &known)
}

#[test]
fn releases_bring_what_talos_says() -> anyhow::Result<()> {
    agrees("talos/talos-defaults.json", &[], 9)
}
