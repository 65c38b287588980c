//! What is pushed, read back by skopeo from Debian's registry.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use imagefactory::build::{Extension, OciImage};
use imagefactory::{Architecture, Cache, ImageReference, RegistryClient, RegistryOptions};
use serde_json::Value;

use super::bases::{Fallible, extension_folder};
use super::programs::{output, program};
use super::work::{build, inputs};
use crate::support::{Outcome, quick};

/// Debian's registry on a free port; it ends with this.
struct Registry {
    child: Child,
    port: u16,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Registry {
    async fn start(dir: &Path) -> Fallible<Option<Self>> {
        let Some(mut program) = program("docker-registry", "docker-registry") else {
            return Ok(None);
        };
        // Taken and left at once: the registry cannot tell which port it got.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let root = dir.join("registry");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            root.display()
        );
        let path = dir.join("registry.yml");
        fs_err::write(&path, config)?;
        let child = program
            .arg("serve")
            .arg(&path)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let found = Self { child, port };
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(Some(found));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("the registry does not answer".into())
    }

    fn image(&self, rest: &str) -> Fallible<ImageReference> {
        Ok(format!("127.0.0.1:{}/{rest}", self.port).parse()?)
    }

    fn skopeo(&self, verb: &str, rest: &str) -> Fallible<Option<std::process::Command>> {
        let Some(mut skopeo) = program("skopeo", "skopeo") else { return Ok(None) };
        skopeo.args(["--insecure-policy", verb]);
        let from = format!("docker://127.0.0.1:{}/{rest}", self.port);
        match verb {
            "copy" => skopeo.args(["--src-tls-verify=false", "--all", &from]),
            _ => skopeo.args(["--tls-verify=false", &from]),
        };
        Ok(Some(skopeo))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_read_back_by_skopeo() -> Outcome {
    let dir = tempfile::tempdir()?;
    let Some(registry) = Registry::start(dir.path()).await? else { return Ok(()) };
    let options = RegistryOptions { transport: quick(), ..RegistryOptions::default() };
    let client = RegistryClient::new(options.loopback_plain())?;
    inputs(&dir.path().join("inputs"))?;
    let built = build(&dir.path().join("inputs"), dir.path()).await?;
    let installer = built.installer.ok_or("no installer")?;
    let cache = Cache::open(dir.path().join("cache"))?;
    let to = registry.image("talos/installer:v1.12.11")?;
    client.check_push(&to).await?;
    let digest = OciImage::push(std::slice::from_ref(&installer), &to, &client, &cache).await?;
    assert_eq!(client.resolve(&to).await?.digest, digest);
    // A second push sends nothing, and changes nothing.
    let again = OciImage::push(std::slice::from_ref(&installer), &to, &client, &cache).await?;
    assert_eq!(again, digest);

    let Some(mut inspect) = registry.skopeo("inspect", "talos/installer:v1.12.11")? else {
        return Ok(());
    };
    let told: Value = serde_json::from_str(&output(&mut inspect)?)?;
    assert_eq!(told["Architecture"], "amd64");
    assert_eq!(told["Labels"]["made"], "here");
    assert_eq!(told["Digest"], digest.to_string());
    let layers: Vec<String> =
        installer.layers.iter().map(|layer| layer.digest.to_string()).collect();
    assert_eq!(told["Layers"], serde_json::json!(layers));
    assert_eq!(layers.len(), 2, "the base's layer, and one of the boot loader and the kernel");

    // An extension for two architectures is one index.
    let folder = dir.path().join("routing");
    if !folder.exists() {
        extension_folder(&folder)?;
    }
    let extension = Extension::from_folder(&folder)?;
    let both = [Architecture::Arm64, Architecture::Amd64];
    let images: Vec<OciImage> =
        both.iter().map(|one| extension.pack(*one, &cache)).collect::<Result<_, _>>()?;
    OciImage::push(&images, &registry.image("team/routing:1")?, &client, &cache).await?;
    let Some(mut copy) = registry.skopeo("copy", "team/routing:1")? else { return Ok(()) };
    let layout = dir.path().join("copied");
    output(copy.arg(format!("oci:{}:one", layout.display())))?;
    let mut sources = Vec::new();
    for one in both {
        let source: imagefactory::build::ImageSource =
            format!("oci:{}", layout.display()).parse()?;
        let cache = Cache::open(dir.path().join("other"))?;
        sources.push(source.fetch(&client, one, &cache).await?.manifest.digest);
    }
    let wanted: Vec<_> = images.iter().map(|image| image.manifest.digest).collect();
    assert_eq!(sources, wanted);
    Ok(())
}
