//! Images that a site needs: what a registry without a way out has to hold.

use std::collections::BTreeSet;

use semver::Version;
use talos_client::config::release::{
    APISERVER_IMAGE, CONTROLLER_MANAGER_IMAGE, COREDNS_IMAGE, KUBELET_IMAGE, PROXY_IMAGE,
    SCHEDULER_IMAGE, release,
};

use super::cilium::wanted_image;
use crate::error::Error;
use crate::spec::site::{Cluster, Cni, Site};
use crate::state::LockFile;

/// Images that a site needs.
#[derive(Debug, Default)]
pub struct Needed {
    /// By reference.
    pub images: BTreeSet<String>,
    /// Official extensions that are named without a tag, with the version of Talos that says which
    /// images they are.
    pub extensions: BTreeSet<(Version, String)>,
    /// Versions of Cilium whose chart names an image more.
    pub charts: BTreeSet<Version>,
    /// What else is needed and not known here.
    pub notes: BTreeSet<String>,
}

/// Everything that nodes and builds of a site fetch, as far as the tree tells it. What they fetch by
/// a digest of the lock file is named by it: its tag may mean another image since. Builds in a `lab`
/// fetch what that has in place of extensions.
///
/// # Errors
/// The tree names images that are none.
pub fn needed(site: &Site, lock: &LockFile, lab: bool) -> Result<Needed, Error> {
    let mut all = Needed::default();
    let images = super::image::desired(site)?;
    for (version, of_version) in &images.versions {
        let Some(recipe) = &images.build else {
            all.images.insert(of_version.factory.installer.clone());
            continue;
        };
        for repository in [&recipe.imager, &recipe.installer_base] {
            all.images.insert(lock.by_digest(&format!("{repository}:v{version}")));
        }
        let own = recipe.own.as_ref().map(|own| own.reference.as_str());
        let extensions = recipe.extensions.iter().filter(|text| Some(text.as_str()) != own);
        if lab {
            all.images.extend(extensions.map(|text| lock.by_digest(&lab_name(text))));
            continue;
        }
        all.images.insert(lock.by_digest(&extensions_list(version)));
        for text in extensions {
            match official_name(text) {
                Some(name) => drop(all.extensions.insert((version.clone(), name.to_owned()))),
                None => drop(all.images.insert(lock.by_digest(&whole(text)))),
            }
        }
    }
    for cluster in &site.clusters {
        all.cluster(cluster, lock);
    }
    Ok(all)
}

/// Tags of the image of sandboxes: it is the one that the containerd of a version names, which is
/// 2.1 or older up to Talos 1.11, 2.2 or newer from 1.13 on, and changed within 1.12.
fn pauses(talos: &Version) -> &'static [&'static str] {
    match talos.minor {
        ..=11 => &["3.10"],
        12 => &["3.10", "3.10.1"],
        _ => &["3.10.1"],
    }
}

/// The image that tells which images the official extensions of a version are.
pub fn extensions_list(version: &Version) -> String {
    format!("ghcr.io/siderolabs/extensions:v{version}")
}

/// The name of an official extension that stands without tag and digest.
pub fn official_name(text: &str) -> Option<&str> {
    let name = text.strip_prefix("ghcr.io/").unwrap_or(text);
    let bare = name.strip_prefix("siderolabs/")?;
    (!bare.contains(['/', ':', '@'])).then_some(name)
}

/// `siderolabs/NAME` is short for the one at ghcr.io.
pub fn whole(text: &str) -> String {
    match text.strip_prefix("siderolabs/") {
        Some(rest) => format!("ghcr.io/siderolabs/{rest}"),
        None => text.to_owned(),
    }
}

/// Whether an image is named by tag or digest.
pub fn is_definite(text: &str) -> bool {
    text.contains('@') || text.rsplit('/').next().is_some_and(|end| end.contains(':'))
}

/// The name of an extension in a lab, which holds synthetic images by tag: digests of true ones
/// cannot be made.
pub fn lab_name(text: &str) -> String {
    let text = whole(text.split('@').next().unwrap_or(text));
    if is_definite(&text) { text } else { format!("{text}:latest") }
}

impl Needed {
    fn cluster(&mut self, cluster: &Cluster, lock: &LockFile) {
        self.images.extend(cluster.artifact_overrides.installer_image.clone());
        let (talos, kubernetes) = (&cluster.versions.talos, &cluster.versions.kubernetes);
        for repository in
            [APISERVER_IMAGE, CONTROLLER_MANAGER_IMAGE, SCHEDULER_IMAGE, PROXY_IMAGE, KUBELET_IMAGE]
        {
            self.images.insert(format!("{repository}:v{kubernetes}"));
        }
        let pauses = pauses(talos).iter();
        self.images.extend(pauses.map(|tag| format!("registry.k8s.io/pause:{tag}")));
        let found = u32::try_from(talos.minor).ok().and_then(|minor| release(minor).ok());
        match found {
            None => drop(
                self.notes.insert(format!("not among them: etcd and CoreDNS of Talos {talos}")),
            ),
            Some(release) => {
                self.images.insert(format!("{}:{}", release.etcd_image, release.etcd));
                self.images.insert(format!("{COREDNS_IMAGE}:{}", release.coredns));
                if cluster.cni == Cni::Flannel {
                    let image = format!("ghcr.io/siderolabs/flannel:{}", release.flannel);
                    self.images.insert(image);
                }
                if release.version != format!("v{talos}") {
                    self.notes.insert(format!(
                        "etcd, CoreDNS, Flannel and `pause` are those of Talos {}: look whether \
                         {talos} has others",
                        release.version
                    ));
                }
            }
        }
        if cluster.cni == Cni::Cilium {
            let image = wanted_image(cluster);
            self.images.extend(image.map(|wanted| lock.cilium_cli_image(cluster.id, wanted)));
            if let Some(version) = &cluster.versions.cilium {
                for name in ["cilium", "operator-generic"] {
                    self.images.insert(format!("quay.io/cilium/{name}:v{version}"));
                }
                self.charts.insert(version.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{lab_name, needed, official_name, pauses};
    use crate::compose::cilium::DEFAULT_CLI_IMAGE;
    use crate::compose::config::tests::site_of;
    use crate::state::{ClusterPin, LockFile};

    #[test]
    fn what_is_fetched_by_digest_is_named_by_it() {
        let mut site = site_of(12, "", "controlplanes = 1\n");
        let mut lock = LockFile::default();
        let cli = |site: &_, lock: &_| -> Vec<String> {
            let images = needed(site, lock, false).unwrap().images.into_iter();
            images.filter(|image| image.starts_with(DEFAULT_CLI_IMAGE)).collect()
        };
        assert_eq!(cli(&site, &lock), [DEFAULT_CLI_IMAGE]);
        lock.references.insert(DEFAULT_CLI_IMAGE.to_owned(), "sha256:aa".to_owned());
        assert_eq!(cli(&site, &lock), [format!("{DEFAULT_CLI_IMAGE}@sha256:aa")]);
        // A cluster that began by tag goes on by it.
        let pin = ClusterPin {
            cluster_id: 101,
            talos_version: "v1.12.1".into(),
            kubernetes_version: "v1.33.4".into(),
            etcd_started: true,
            cilium_cli_image: Some(DEFAULT_CLI_IMAGE.to_owned()),
        };
        lock.clusters.insert("sol".into(), pin);
        assert_eq!(cli(&site, &lock), [DEFAULT_CLI_IMAGE]);

        // So are the parts of builds; what nodes fetch by tag is not.
        site.images.source = crate::spec::site::ImageSource::Build;
        let imager = "ghcr.io/siderolabs/imager:v1.12.1";
        let api = "registry.k8s.io/kube-apiserver:v1.33.4";
        for name in [imager, api] {
            lock.references.insert(name.to_owned(), "sha256:bb".to_owned());
        }
        let images = needed(&site, &lock, false).unwrap().images;
        assert!(images.contains(&format!("{imager}@sha256:bb")), "{images:?}");
        assert!(images.contains(api) && !images.contains(imager), "{images:?}");
    }

    #[test]
    fn builds_in_a_lab_need_what_it_has_in_place_of_extensions() {
        let mut site = site_of(12, "", "controlplanes = 1\n");
        site.images.source = crate::spec::site::ImageSource::Build;
        let digest = format!("ghcr.io/a/frr:1@sha256:{}", "0".repeat(64));
        site.schematic.system_extensions = vec!["siderolabs/gvisor".to_owned()];
        site.schematic.custom_extensions = vec![digest.clone()];
        let mut lock = LockFile::default();
        let gvisor = "ghcr.io/siderolabs/gvisor:latest";
        lock.references.insert(gvisor.to_owned(), "sha256:aa".to_owned());
        let list = "ghcr.io/siderolabs/extensions:v1.12.1";
        let found = |lab| {
            let all = needed(&site, &lock, lab).unwrap();
            let is_one = |image: &&String| {
                ["gvisor", "frr", "/extensions:"].iter().any(|part| image.contains(part))
            };
            let images: Vec<String> = all.images.iter().filter(is_one).cloned().collect();
            (images, all.extensions.len())
        };
        assert_eq!(found(false), (vec![digest, list.to_owned()], 1));
        let named = vec!["ghcr.io/a/frr:1".to_owned(), format!("{gvisor}@sha256:aa")];
        assert_eq!(found(true), (named, 0));
    }

    #[test]
    fn names_of_the_lab_have_a_tag_and_no_digest() {
        assert_eq!(lab_name("siderolabs/gvisor"), "ghcr.io/siderolabs/gvisor:latest");
        assert_eq!(lab_name("ghcr.io/a/frr:1@sha256:00"), "ghcr.io/a/frr:1");
        assert_eq!(lab_name("localhost:5000/frr"), "localhost:5000/frr:latest");
    }

    #[test]
    fn the_image_of_sandboxes_follows_containerd() {
        let of = |text: &str| pauses(&text.parse().unwrap());
        assert_eq!(of("1.11.6"), ["3.10"]);
        assert_eq!(of("1.12.0"), ["3.10", "3.10.1"]);
        assert_eq!(of("1.14.0"), ["3.10.1"]);
    }

    #[test]
    fn official_names_have_neither_tag_nor_digest() {
        assert_eq!(official_name("siderolabs/gvisor"), Some("siderolabs/gvisor"));
        assert_eq!(official_name("ghcr.io/siderolabs/gvisor"), Some("siderolabs/gvisor"));
        for other in ["siderolabs/gvisor:1", "siderolabs/a@sha256:00", "team/frr", "oci:x"] {
            assert_eq!(official_name(other), None, "{other}");
        }
    }
}
