//! The machine configuration of a node, out of the tree and the secrets of its cluster alone.

use secrecy::ExposeSecret as _;
use talos_client::config::{GenerateInput, MachineConfig, MachineType, Patch};
use talos_client::secrets::{Bundle, BundleError};

use super::cilium;
use super::config::{ConfigInput, DiskSelector, documents, refusals};
use super::image::Images;
use crate::error::Error;
use crate::spec::site::{Cluster, Cni, Node, PatchText, Role, Site};

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
        disk: &DiskSelector,
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
            disk: disk.clone(),
            manifests: manifests(cluster),
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
fn manifests(cluster: &Cluster) -> Vec<(String, String)> {
    if cluster.cni != Cni::Cilium {
        return Vec::new();
    }
    let image = cluster.versions.cilium_cli_image.as_deref();
    let image = image.unwrap_or(cilium::DEFAULT_CLI_IMAGE);
    cilium::manifest(cluster, image)
        .map(|text| ("cilium-install".to_owned(), text))
        .into_iter()
        .collect()
}
