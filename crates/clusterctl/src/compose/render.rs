//! The machine configuration of a node, out of the tree and the secrets of its cluster alone.

use secrecy::ExposeSecret as _;
use serde_json::Value;
use talos_client::config::{GenerateInput, MachineConfig, MachineType, Patch};
use talos_client::secrets::{Bundle, BundleError};

use super::cilium;
use super::config::{ConfigInput, DiskSelector, documents, refusals};
use super::image::Images;
use super::machine::selectors;
use crate::error::Error;
use crate::spec::site::{Cluster, Node, PatchText, Role, Site};
use crate::state::LockFile;

/// Secrets to try a configuration with, where a cluster has none yet: they are thrown away.
///
/// # Errors
/// The system gives no random bytes.
pub fn trial_bundle() -> Result<Bundle, Error> {
    let failed = || Error::failed("make secrets to try a configuration with");
    // The keys of old contracts are small: nothing is ever done with them.
    let contract = "1.6".parse().map_err(|error: BundleError| failed().because(error))?;
    Bundle::generate(contract, jiff::Timestamp::now().as_second())
        .map_err(|error| failed().because(error))
}

/// What a configuration has that is chosen once, and stays.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// How the system disk is told apart.
    pub disk: DiskSelector,
    /// The image that installs Cilium; that of the tree without one.
    pub cilium_cli: Option<String>,
}

impl Chosen {
    /// What a node has that was configured before.
    pub fn of(config: &MachineConfig, cluster: &Cluster, node: &Node, lock: &LockFile) -> Self {
        let kept = cilium::kept_image(cluster, config);
        let first = Self::first(disk_of(config, node), cluster, lock);
        Self { cilium_cli: kept.or(first.cilium_cli), ..first }
    }

    /// What a node is configured with first.
    pub fn first(disk: DiskSelector, cluster: &Cluster, lock: &LockFile) -> Self {
        let wanted = cilium::wanted_image(cluster);
        Self { disk, cilium_cli: wanted.map(|one| lock.cilium_cli_image(cluster.id, one)) }
    }
}

/// The way to tell the disk apart that a configuration has, if it is one of ours.
fn disk_of(config: &MachineConfig, node: &Node) -> DiskSelector {
    let [best, size] = selectors(node);
    let current = config.value("/machine/install/diskSelector");
    if let Some(path) = current.and_then(|value| value.get("busPath")).and_then(Value::as_str) {
        return DiskSelector::BusPath(path.to_owned());
    }
    match current {
        Some(value) if value.get("size").is_some() => size,
        _ => best,
    }
}

/// What configurations are rendered from, beside secrets.
#[derive(Debug, Clone, Copy)]
pub struct Renderer<'a> {
    /// The tree.
    pub site: &'a Site,
    /// The images that it asks for.
    pub images: &'a Images,
}

impl Renderer<'_> {
    /// The configuration of a node.
    ///
    /// # Errors
    /// A patch of the tree does not fit, the secrets are not whole, or Talos would refuse it.
    pub fn machine_config(
        &self,
        cluster: &Cluster,
        node: &Node,
        bundle: &Bundle,
        chosen: &Chosen,
    ) -> Result<MachineConfig, Error> {
        let failed = || Error::failed(format!("render the configuration of {}", node.name));
        let contract = cluster
            .versions
            .talos
            .to_string()
            .parse()
            .map_err(|error: BundleError| failed().because(error))?;
        let role = match node.role {
            Role::ControlPlane => MachineType::ControlPlane,
            Role::Worker => MachineType::Worker,
        };
        let input = GenerateInput::new(
            contract,
            role,
            &cluster.name,
            &cluster.endpoint,
            &cluster.versions.kubernetes.to_string(),
        );
        let base =
            MachineConfig::generate(bundle, &input).map_err(|error| failed().because(error))?;
        let image = self
            .images
            .installer_of(cluster)
            .ok_or_else(|| failed().detail("no installer image is known"))?;
        let config_input = ConfigInput {
            installer_image: image,
            disk: chosen.disk.clone(),
            manifests: manifests(cluster, chosen),
        };
        let own = documents(self.site, cluster, node, &config_input);
        let mut patches = vec![
            Patch::of_documents("the configuration that the tree gives", &own)
                .map_err(|error| failed().because(error))?,
        ];
        let mut is_secret = false;
        for patch in cluster.patches_of(node) {
            let text = match &patch.text {
                PatchText::Sealed(reason) => {
                    return Err(failed().detail(format!(
                        "the patch at {} is encrypted: {reason}; give an age identity with \
                         SOPS_AGE_KEY_FILE",
                        patch.origin
                    )));
                }
                PatchText::Clear(text) => text,
                PatchText::Secret { text, .. } => {
                    is_secret = true;
                    text.expose_secret()
                }
            };
            patches.push(Patch::parse(&patch.origin, text).map_err(|error| match is_secret {
                // The error may quote what does not fit.
                true => failed().detail(format!("{} cannot be used", patch.origin)),
                false => failed().because(error),
            })?);
        }
        let config = base.patched(&patches).map_err(|error| match is_secret {
            true => failed()
                .detail("the patches do not fit; why is not told, since one of them holds secrets"),
            false => failed().because(error),
        })?;
        match refusals(&config, cluster.versions.talos.minor, is_secret).as_slice() {
            [] => Ok(config),
            found => Err(failed().because(format!("Talos would refuse it: {}", found.join("; ")))),
        }
    }
}

/// What a cluster starts with.
fn manifests(cluster: &Cluster, chosen: &Chosen) -> Vec<(String, String)> {
    let image = chosen.cilium_cli.as_deref().or_else(|| cilium::wanted_image(cluster));
    let text = image.and_then(|image| cilium::manifest(cluster, image));
    text.map(|text| (cilium::JOB.to_owned(), text)).into_iter().collect()
}
