//! Extensions that are not what they should be: refused, and nothing of them stays.

use imagefactory::build::{BuildRequest, Builder, Platform};
use imagefactory::sim::{Sim, base};
use imagefactory::{Architecture, ErrorKind, talos_version};

use super::bases::{manifest, push, tar};
use crate::support::{Outcome, cache, registry};

#[tokio::test]
async fn broken_extensions_are_refused_with_the_reason() -> Outcome {
    let sim = Sim::builder().start().await?;
    let dir = tempfile::tempdir()?;
    let (client, cache) = (registry(&sim)?, cache(&dir)?);
    push(&sim, &client, "siderolabs/imager:v1.12.11", base::imager_layer()).await?;
    let good = manifest("x", ">= v1.0.0");
    let good = good.as_bytes();
    let top = ("manifest.yaml", 0o644, good);
    let mut device = tar::Builder::new(tar(&[top])?);
    device.get_mut().truncate(1024);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Char);
    header.set_size(0);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_device_major(1)?;
    header.set_device_minor(3)?;
    device.append_data(&mut header, "rootfs/usr/local/null", std::io::empty())?;
    let mut truncated = tar(&[top, ("rootfs/usr/local/a", 0o644, &[1; 4096])])?;
    truncated.truncate(3000);
    let later = manifest("x", ">= v1.13.0");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("truncated", truncated, "ends early"),
        ("device", device.into_inner()?, "is a device"),
        ("stranger", tar(&[top, ("rootfs/", 0o755, b""), ("etc/passwd", 0o644, b"")])?, "no place"),
        ("bare", tar(&[("rootfs/", 0o755, b"")])?, "no manifest.yaml"),
        (
            "schema",
            tar(&[("manifest.yaml", 0o644, b"version: v2\n"), ("rootfs/", 0o755, b"")])?,
            "manifest",
        ),
        (
            "later",
            tar(&[("manifest.yaml", 0o644, later.as_bytes()), ("rootfs/", 0o755, b"")])?,
            "is for Talos",
        ),
        (
            "modules",
            tar(&[top, ("rootfs/usr/lib/modules/6.1/x.ko", 0o644, b"x")])?,
            "kernel modules",
        ),
    ];
    let builder = Builder::new(cache, client.clone());
    for (name, layer, reason) in cases {
        push(&sim, &client, &format!("bad/{name}:1"), layer).await?;
        let image = |rest: &str| format!("{}/{rest}", sim.registry_addr()).parse();
        let request = BuildRequest {
            version: talos_version("v1.12.11")?,
            architecture: Architecture::Amd64,
            platform: Platform::Nocloud,
            imager: image("siderolabs/imager:v1.12.11")?,
            installer_base: None,
            iso: true,
            extensions: vec![image(&format!("bad/{name}:1"))?],
            kernel_args: Vec::new(),
            schematic: None,
        };
        let error = builder.build(&request, &|_| {}).await.err().ok_or(name)?;
        assert!(
            matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported),
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains(reason), "{name}: {error}");
    }
    let left = fs_err::read_dir(dir.path().join("cache"))?;
    let left = left
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with('.'));
    assert_eq!(left.count(), 0);
    Ok(())
}
