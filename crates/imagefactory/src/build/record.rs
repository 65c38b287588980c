//! What is told beside each output: a bill of materials, and what was built from what.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::builder::{BuildRequest, Input};
use super::manifest::Manifest;
use crate::digest::Digest;
use crate::schematic::Schematic;

/// Everything that is told.
pub(super) struct Told<'a> {
    pub(super) address: Digest,
    pub(super) request: &'a BuildRequest,
    pub(super) inputs: &'a [Input],
    pub(super) manifests: Vec<&'a Manifest>,
    pub(super) boot_version: &'a str,
    pub(super) command_line: &'a str,
    pub(super) parts: &'a BTreeMap<&'static str, Digest>,
    pub(super) iso: Option<Digest>,
    pub(super) installer: Option<Digest>,
}

const TOOL: &str = concat!("imagefactory-", env!("CARGO_PKG_VERSION"));

/// What was built from what.
pub(super) fn provenance(told: &Told<'_>) -> Value {
    let request = told.request;
    json!({
        "builder": TOOL,
        "address": told.address,
        "talos": format!("v{}", request.version),
        "architecture": request.architecture,
        "platform": request.platform.name(),
        "inputs": told.inputs,
        "extensions": told.manifests.iter().map(|manifest| &manifest.metadata).collect::<Vec<_>>(),
        "kernelArguments": request.kernel_args,
        "commandLine": told.command_line,
        "schematic": request.schematic.as_ref().map(Schematic::canonical),
        "systemdBoot": told.boot_version,
        "outputs": {"iso": told.iso, "installer": told.installer},
        "parts": told.parts,
    })
}

/// SPDX 2.3.
pub(super) fn sbom(told: &Told<'_>) -> Value {
    let version = format!("v{}", told.request.version);
    let package = |id: &str, name: &str, version: &str, digest: Option<&Digest>| {
        let checksums: Vec<Value> = digest
            .iter()
            .map(|digest| json!({"algorithm": "SHA256", "checksumValue": digest.hex()}))
            .collect();
        json!({
            "SPDXID": id,
            "name": name,
            "versionInfo": version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "checksums": checksums,
        })
    };
    let image = "SPDXRef-Image";
    let mut packages = vec![package(image, "talos-image", &version, told.iso.as_ref())];
    let mut relations = vec![json!({
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": image,
    })];
    let inputs = told.inputs.iter().enumerate().map(|(number, input)| {
        package(&format!("SPDXRef-Input-{number}"), &input.name, &version, Some(&input.digest))
    });
    let extensions = told.manifests.iter().enumerate().map(|(number, manifest)| {
        let metadata = &manifest.metadata;
        package(&format!("SPDXRef-Extension-{number}"), &metadata.name, &metadata.version, None)
    });
    for part in inputs.chain(extensions) {
        relations.push(json!({
            "spdxElementId": image,
            "relationshipType": "CONTAINS",
            "relatedSpdxElement": part.get("SPDXID"),
        }));
        packages.push(part);
    }
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("talos-{version}-{}-{}", told.request.platform.name(), told.request.architecture),
        "documentNamespace": format!("urn:imagefactory:{}", told.address),
        "creationInfo": {"created": "1970-01-01T00:00:00Z", "creators": [format!("Tool: {TOOL}")]},
        "packages": packages,
        "relationships": relations,
    })
}
