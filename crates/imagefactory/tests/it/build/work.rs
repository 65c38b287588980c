//! A build in a process of its own: under another clock, or until it is killed.

use std::path::{Path, PathBuf};
use std::process::Command;

use imagefactory::build::{BuildRequest, Builder, Built, Extension, OciImage, Platform};
use imagefactory::sim::base;
use imagefactory::{
    Architecture, Cache, Descriptor, Digest, RegistryClient, RegistryOptions, Schematic,
    talos_version,
};

use super::bases::{Fallible, extension_folder};

/// Where the child finds its inputs, and where it works.
const INPUTS: &str = "IMAGEFACTORY_TEST_INPUTS";
const PLACE: &str = "IMAGEFACTORY_TEST_PLACE";

/// Writes the images that a child builds from, as layouts.
pub(crate) fn inputs(dir: &Path) -> Fallible<()> {
    let cache = Cache::open(dir.join("cache"))?;
    let layers = [("imager", base::imager_layer()), ("base", base::installer_base_layer())];
    for (name, layer) in layers {
        let digest = cache.put(&layer)?;
        let config = serde_json::json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/usr/bin/installer"], "Labels": {"made": "here"}},
            "rootfs": {"type": "layers", "diff_ids": [digest]},
        });
        let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
        let layer = Descriptor { media_type, digest, size: layer.len() as u64 };
        let image = OciImage::assemble(&cache, Architecture::Amd64, &config, vec![layer])?;
        OciImage::write_layout(&[image], "v1.12.11", &dir.join(name), &cache)?;
    }
    Ok(())
}

/// Makes an extension of a folder, then an ISO and an installer with it; all in one cache.
pub(crate) async fn build(inputs: &Path, place: &Path) -> Fallible<Built> {
    let cache = Cache::open(place.join("cache"))?;
    let folder = place.join("routing");
    if !folder.exists() {
        extension_folder(&folder)?;
    }
    let mut own = Extension::from_folder(&folder)?;
    own.check(false)?;
    let packed = own.pack(Architecture::Amd64, &cache)?;
    let layout = place.join("extension");
    if !layout.exists() {
        OciImage::write_layout(&[packed], "1.2.3", &layout, &cache)?;
    }
    let layout = |dir: PathBuf| format!("oci:{}", dir.display()).parse();
    let client = RegistryClient::new(RegistryOptions::default())?;
    let request = BuildRequest {
        version: talos_version("v1.12.11")?,
        architecture: Architecture::Amd64,
        platform: Platform::Nocloud,
        imager: layout(inputs.join("imager"))?,
        installer_base: Some(layout(inputs.join("base"))?),
        iso: true,
        extensions: vec![layout(place.join("extension"))?],
        kernel_args: vec!["lab.mark=7".into()],
        schematic: Some(Schematic::default()),
    };
    Ok(Builder::new(cache, client).build(&request, &|_| {}).await?)
}

/// What a build gave, in words that are the same where the bytes are.
pub(crate) fn told(built: &Built) -> Fallible<String> {
    let iso = built.iso.as_ref().ok_or("no ISO")?.digest;
    let installer = built.installer.as_ref().ok_or("no installer")?.manifest.digest;
    let (sbom, provenance) = (built.sbom.digest, built.provenance.digest);
    Ok(format!("BUILT {iso} {installer} {sbom} {provenance}"))
}

/// The child's side: does nothing unless a parent asks for it.
#[tokio::test]
async fn child() -> crate::support::Outcome {
    let (Some(inputs), Some(place)) = (std::env::var_os(INPUTS), std::env::var_os(PLACE)) else {
        return Ok(());
    };
    let built = build(Path::new(&inputs), Path::new(&place)).await?;
    fs_err::write(Path::new(&place).join("told"), told(&built)?)?;
    Ok(())
}

/// The command that builds in a process of its own, behind `front`.
pub(crate) fn command(mut front: Command, inputs: &Path, place: &Path) -> Fallible<Command> {
    front.arg(std::env::current_exe()?).args(["--exact", "build::work::child", "--test-threads=1"]);
    front.env(INPUTS, inputs).env(PLACE, place).current_dir(place);
    Ok(front)
}

/// Whether all content of a cache is what its name says, and every note can be read.
pub(crate) fn check_cache(dir: &Path) -> Fallible<usize> {
    let mut count = 0;
    let content = fs_err::read_dir(dir.join("sha256")).into_iter().flatten();
    for entry in content {
        let entry = entry?;
        let found = Digest::of(&fs_err::read(entry.path())?).hex();
        if entry.file_name().to_string_lossy() != found {
            return Err(format!("{}: is {found}", entry.path().display()).into());
        }
        count += 1;
    }
    let notes = fs_err::read_dir(dir.join("notes")).into_iter().flatten();
    for entry in notes.filter_map(Result::ok) {
        if !entry.file_name().to_string_lossy().starts_with(".tmp") {
            serde_json::from_slice::<serde_json::Value>(&fs_err::read(entry.path())?)?;
        }
    }
    Ok(count)
}
