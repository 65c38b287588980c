//! The package of Cilium's chart, as far as it names an image that follows from no version.

use std::io::Read;

use semver::Version;
use serde::Deserialize;

/// Most bytes of a package; those of Cilium have a quarter of a MiB.
pub const MOST_PACKAGE: u64 = 4 << 20;

/// Most bytes that a package unpacks to, as far as it is read.
const MOST_UNPACKED: u64 = 64 << 20;

/// The file with the values that hold where nobody sets others.
const VALUES: &str = "cilium/values.yaml";

/// Where the package of a version is.
pub fn url(version: &Version) -> String {
    format!("https://helm.cilium.io/cilium-{version}.tgz")
}

#[derive(Deserialize)]
struct Values {
    envoy: Option<Envoy>,
}

#[derive(Deserialize)]
struct Envoy {
    enabled: Option<bool>,
    image: Image,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    repository: String,
    tag: String,
    digest: Option<String>,
    use_digest: Option<bool>,
}

/// The image of the Envoy that stands beside Cilium; `None` for a version that has it inside.
///
/// # Errors
/// It is no package of Cilium; the text says why.
pub fn envoy_image(package: impl Read) -> Result<Option<String>, String> {
    let unpacked = flate2::read::GzDecoder::new(package).take(MOST_UNPACKED);
    let mut archive = tar::Archive::new(unpacked);
    let broken = |error: std::io::Error| format!("the package cannot be unpacked: {error}");
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        if entry.path_bytes().as_ref() != VALUES.as_bytes() {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).map_err(broken)?;
        let values: Values = serde_saphyr::from_str(&text)
            .map_err(|_| format!("{VALUES} of the package cannot be read"))?;
        // Not said is yes: the chart asks for it at clusters that are new.
        let envoy = values.envoy.filter(|envoy| envoy.enabled != Some(false));
        return Ok(envoy.map(|Envoy { image, .. }| {
            let digest = image.digest.filter(|_| image.use_digest == Some(true));
            let digest = digest.filter(|digest| !digest.is_empty());
            let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
            format!("{}:{}{digest}", image.repository, image.tag)
        }));
    }
    Err(format!("the package has no {VALUES}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(path: &str, text: &str) -> Vec<u8> {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut archive = tar::Builder::new(gzip);
        for (path, text) in [("cilium/Chart.yaml", "name: cilium\n"), (path, text)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn the_envoy_is_the_one_that_the_values_name() {
        let values = |enabled: &str, pinned: bool| {
            format!(
                "# -- Values\nimage: {{repository: quay.io/cilium/cilium}}\nenvoy:\n  \
                 enabled: {enabled}\n  image:\n    # @schema\n    override: ~\n    \
                 repository: \"quay.io/cilium/cilium-envoy\"\n    tag: \"v1.34.4-17-ab\"\n    \
                 pullPolicy: IfNotPresent\n    digest: \"sha256:00\"\n    useDigest: {pinned}\n"
            )
        };
        let read = |text: &str| envoy_image(package(VALUES, text).as_slice()).unwrap();
        let image = "quay.io/cilium/cilium-envoy:v1.34.4-17-ab";
        assert_eq!(read(&values("~", true)), Some(format!("{image}@sha256:00")));
        assert_eq!(read(&values("true", false)).as_deref(), Some(image));
        assert_eq!(read(&values("false", true)), None);
        assert_eq!(read("cluster: {}\n"), None);
    }

    #[test]
    fn what_is_no_package_is_told() {
        let error = |bytes: &[u8]| envoy_image(bytes).unwrap_err();
        assert!(error(b"<html>").contains("cannot be unpacked"));
        assert!(error(&package("other/values.yaml", "")).contains("has no cilium/values.yaml"));
        assert!(error(&package(VALUES, "envoy: [")).contains("cannot be read"));
        let whole = package(VALUES, "envoy: {}\n");
        let cut = whole.get(..whole.len() / 2).unwrap();
        assert!(error(cut).contains("cannot be unpacked"));
    }
}
