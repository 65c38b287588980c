//! Extensions that are not what they should be: refused, and nothing of them stays.

use std::path::{Path, PathBuf};

use imagefactory::build::{BuildRequest, Builder, ImageSource, Platform};
use imagefactory::sim::{Fault, Side, Sim, base};
use imagefactory::{Architecture, Cache, Digest, ErrorKind, Layer, talos_version};

use super::bases::{Fallible, manifest, push, tar};
use super::work::{check_cache, inputs};
use crate::support::{Outcome, cache, chain, image, registry};

/// Path, mode and content.
type Files<'a> = &'a [(&'a str, u32, &'a [u8])];

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
        ("crowd", packed(100_000, &[top])?, "more than 50000 entries"),
        ("bomb", bomb(&[top])?, "unpack to more than"),
        (
            "climber",
            raw(&[top], "rootfs/../../x", tar::EntryType::Regular, "")?,
            "leaves the image",
        ),
        ("absolute", raw(&[top], "/etc/passwd", tar::EntryType::Regular, "")?, "absolute path"),
        (
            "detour",
            tar_with_link(&[top], "rootfs/usr/local/a", "/etc", "rootfs/usr/local/a/passwd")?,
            "which is no folder",
        ),
        (
            "outside",
            raw(&[top], "rootfs/usr/local/a", tar::EntryType::Link, "../../etc/passwd")?,
            "leaves the image",
        ),
        (
            "nothing",
            raw(&[top], "rootfs/usr/local/a", tar::EntryType::Link, "rootfs/usr/local/b")?,
            "which is no file before it",
        ),
        ("pipe", raw(&[top], "rootfs/usr/local/a", tar::EntryType::Fifo, "")?, "is a device"),
    ];
    let builder = Builder::new(cache, client.clone());
    for (name, layer, reason) in cases {
        push(&sim, &client, &format!("bad/{name}:1"), layer).await?;
        let request = of_extensions(&sim, &[&format!("bad/{name}:1")])?;
        let error = builder.build(&request, &|_| {}).await.err().ok_or(name)?;
        assert!(
            matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported),
            "{name}: {error:?}"
        );
        let told = chain(&error);
        assert!(told.contains(reason), "{name}: {told}");
    }
    let left = fs_err::read_dir(dir.path().join("cache"))?;
    let left = left
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with('.'));
    assert_eq!(left.count(), 0);
    check_cache(&dir.path().join("cache"))?;
    // Nothing lies outside of the cache.
    assert_eq!(fs_err::read_dir(dir.path())?.count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_build_that_failed_has_ended_all_of_its_work() -> Outcome {
    let sim = Sim::builder().start().await?;
    let dir = tempfile::tempdir()?;
    let (client, cache) = (registry(&sim)?, cache(&dir)?);
    push(&sim, &client, "siderolabs/imager:v1.12.11", base::imager_layer()).await?;
    let good = manifest("x", ">= v1.0.0");
    let top = ("manifest.yaml", 0o644, good.as_bytes());
    // One is refused at once, while the other is being unpacked and packed.
    push(&sim, &client, "long/x:1", packed(40_000, &[top])?).await?;
    push(&sim, &client, "bad/x:1", raw(&[top], "/etc/passwd", tar::EntryType::Regular, "")?)
        .await?;
    push(&sim, &client, "late/x:1", tar(&[top, ("rootfs/", 0o755, b"")])?).await?;
    let names = [["bad/x:1", "long/x:1"].as_slice(), &["late/x:1"; 8]].concat();
    let request = of_extensions(&sim, &names)?;
    let told = std::sync::Mutex::new(Vec::new());
    let progress = |text: &str| told.lock().expect("no panic").push(text.to_owned());
    let builder = Builder::new(cache.clone(), client);
    let error = builder.build(&request, &progress).await.err().ok_or("it was built")?;
    drop(builder);
    assert!(chain(&error).contains("absolute path"), "{}", chain(&error));
    // Nothing of it works in the cache any more, and what had not begun never did.
    assert!(cache.prune(&|_| false)? > 0);
    let told = told.into_inner()?;
    let begun = |name: &str| told.iter().filter(|text| text.contains(name)).count();
    assert_eq!(begun("long/x"), 1, "{told:?}");
    assert!(begun("late/x") < 8, "{told:?}");
    Ok(())
}

/// What is asked of a builder: an ISO with extensions of the simulated registry.
fn of_extensions(sim: &Sim, names: &[&str]) -> Fallible<BuildRequest> {
    let image = |rest: &str| format!("{}/{rest}", sim.registry_addr()).parse();
    let extensions = names.iter().copied().map(image).collect::<Result<_, _>>()?;
    Ok(BuildRequest {
        version: talos_version("v1.12.11")?,
        architecture: Architecture::Amd64,
        platform: Platform::Nocloud,
        imager: image("siderolabs/imager:v1.12.11")?,
        installer_base: None,
        iso: true,
        extensions,
        kernel_args: Vec::new(),
        schematic: None,
    })
}

/// An archive with one entry more, whose name and target no writer would take.
fn raw(files: Files<'_>, path: &str, kind: tar::EntryType, target: &str) -> Fallible<Vec<u8>> {
    let mut archive = tar::Builder::new(tar(files)?);
    archive.get_mut().truncate(1024);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o644);
    let fields = header.as_gnu_mut().ok_or("no header")?;
    for (field, text) in [(&mut fields.name, path), (&mut fields.linkname, target)] {
        let part = field.get_mut(..text.len()).ok_or("too long")?;
        part.copy_from_slice(text.as_bytes());
    }
    header.set_cksum();
    archive.append(&header, std::io::empty())?;
    Ok(archive.into_inner()?)
}

/// A link, and a file behind it.
fn tar_with_link(files: Files<'_>, link: &str, to: &str, file: &str) -> Fallible<Vec<u8>> {
    let mut bytes = raw(files, link, tar::EntryType::Symlink, to)?;
    bytes.truncate(bytes.len() - 1024);
    bytes.extend(tar(&[(file, 0o644, b"x")])?);
    Ok(bytes)
}

/// Some files, and many empty ones.
fn packed(count: usize, files: Files<'_>) -> Fallible<Vec<u8>> {
    let mut bytes = tar(files)?;
    bytes.truncate(bytes.len() - 1024);
    let mut archive = tar::Builder::new(bytes);
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    for number in 0..count {
        archive.append_data(&mut header, format!("rootfs/usr/local/{number}"), std::io::empty())?;
    }
    Ok(zstd::bulk::compress(&archive.into_inner()?, 1)?)
}

/// Little that unpacks to much.
fn bomb(files: Files<'_>) -> Fallible<Vec<u8>> {
    let zeros = vec![0; 80 << 20];
    let mut bytes = tar(files)?;
    bytes.truncate(bytes.len() - 1024);
    bytes.extend(tar(&[("rootfs/usr/local/zeros", 0o644, &zeros)])?);
    Ok(zstd::bulk::compress(&bytes, 1)?)
}

#[tokio::test]
async fn images_that_are_not_what_they_say_are_refused() -> Outcome {
    let sim = Sim::builder().start().await?;
    let dir = tempfile::tempdir()?;
    let (client, cache) = (registry(&sim)?, cache(&dir)?);
    let good = manifest("x", ">= v1.0.0");
    let layer = tar(&[("manifest.yaml", 0o644, good.as_bytes()), ("rootfs/", 0o755, b"")])?;
    push(&sim, &client, "good/x:1", layer.clone()).await?;
    let name = |rest: &str| -> Fallible<ImageSource> {
        Ok(format!("{}/{rest}", sim.registry_addr()).parse()?)
    };
    let fetch = async |rest: &str| -> Fallible<imagefactory::Error> {
        let found = name(rest)?.fetch(&client, Architecture::Amd64, &cache).await;
        Ok(found.err().ok_or_else(|| format!("{rest} was taken"))?)
    };
    sim.faults().inject(Side::Registry, "/v2/good/x/blobs", Fault::Corrupt, 20);
    assert_eq!(fetch("good/x:1").await?.kind(), ErrorKind::Mismatch);
    // The configuration tells another layer than the manifest.
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"other"), Digest::of(b"more")]},
    });
    let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
    let content = bytes::Bytes::from(layer);
    let layers = vec![Layer { media_type, content }];
    client.push(&image(&sim, "liar/x:1")?, &config, layers).await?;
    let error = fetch("liar/x:1").await?;
    assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    check_cache(&dir.path().join("cache"))?;
    Ok(())
}

/// The blobs of a layout, biggest last: configuration and manifest, then the layer.
fn blobs(layout: &Path) -> Fallible<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(layout.join("blobs/sha256"))? {
        let entry = entry?;
        found.push((entry.metadata()?.len(), entry.path()));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// What is done to a layout.
type Harm = fn(&Path) -> Fallible<()>;

#[tokio::test]
async fn layouts_that_are_not_what_they_say_are_refused() -> Outcome {
    let sim = Sim::builder().start().await?;
    let client = registry(&sim)?;
    let cases: [(&str, Harm, ErrorKind); 6] = [
        (
            "cut",
            |layout| {
                let layer = blobs(layout)?.pop().ok_or("no layer")?;
                let bytes = fs_err::read(&layer)?;
                Ok(fs_err::write(&layer, &bytes[..bytes.len() - 512])?)
            },
            ErrorKind::Mismatch,
        ),
        (
            "flipped",
            |layout| {
                let layer = blobs(layout)?.pop().ok_or("no layer")?;
                let mut bytes = fs_err::read(&layer)?;
                bytes[1000] ^= 1;
                Ok(fs_err::write(&layer, bytes)?)
            },
            ErrorKind::Mismatch,
        ),
        (
            "gone",
            |layout| Ok(fs_err::remove_file(blobs(layout)?.pop().ok_or("no layer")?)?),
            ErrorKind::Io,
        ),
        (
            "text",
            |layout| Ok(fs_err::write(layout.join("index.json"), "[")?),
            ErrorKind::InvalidInput,
        ),
        (
            "outside",
            |layout| {
                let path = layout.join("index.json");
                let text = fs_err::read_to_string(&path)?;
                Ok(fs_err::write(&path, text.replace("sha256:", "sha256:../../"))?)
            },
            ErrorKind::InvalidInput,
        ),
        (
            "none",
            |layout| Ok(fs_err::write(layout.join("index.json"), "{\"manifests\": []}")?),
            ErrorKind::NotFound,
        ),
    ];
    for (name, harm, kind) in cases {
        let dir = tempfile::tempdir()?;
        inputs(dir.path())?;
        let layout = dir.path().join("base");
        harm(&layout)?;
        let cache = Cache::open(dir.path().join("own"))?;
        let source: ImageSource = format!("oci:{}", layout.display()).parse()?;
        let found = source.fetch(&client, Architecture::Amd64, &cache).await;
        let error = found.err().ok_or_else(|| format!("{name} was taken"))?;
        assert_eq!(error.kind(), kind, "{name}: {}", chain(&error));
        check_cache(&dir.path().join("own"))?;
    }
    Ok(())
}

#[tokio::test]
async fn archives_that_are_not_what_they_say_are_refused() -> Outcome {
    let sim = Sim::builder().start().await?;
    let client = registry(&sim)?;
    let told = |config: &str, layer: &str| {
        serde_json::json!([{"Config": config, "Layers": [layer], "RepoTags": []}]).to_string()
    };
    let config = br#"{"architecture": "amd64", "rootfs": {"diff_ids": []}}"#;
    let archive = |told: &str| {
        let manifest = ("manifest.json", 0o644, told.as_bytes());
        tar(&[("config.json", 0o644, config), ("layer.tar", 0o644, b"layer"), manifest])
    };
    let mut cut = archive(&told("config.json", "layer.tar"))?;
    cut.truncate(700);
    for (name, bytes, reason) in [
        ("cut", cut, "broken"),
        ("text", b"no archive at all".repeat(40), "broken"),
        ("empty", tar(&[])?, "it has no manifest.json"),
        ("config", archive(&told("../../etc/passwd", "layer.tar"))?, "it has no ../../etc/passwd"),
        ("layer", archive(&told("config.json", "/etc/passwd"))?, "it has no /etc/passwd"),
        ("count", archive(&told("config.json", "layer.tar"))?, "tells 0 layers"),
        (
            "two",
            archive("[{\"Config\": \"a\", \"Layers\": []}, {\"Config\": \"b\", \"Layers\": []}]")?,
            "it holds 2 images",
        ),
    ] {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("saved.tar");
        fs_err::write(&path, bytes)?;
        let cache = cache(&dir)?;
        let source: ImageSource = format!("docker-archive:{}", path.display()).parse()?;
        let found = source.fetch(&client, Architecture::Amd64, &cache).await;
        let text = chain(&found.err().ok_or_else(|| format!("{name} was taken"))?);
        assert!(text.contains(reason), "{name}: {text}");
        check_cache(&dir.path().join("cache"))?;
        assert_eq!(fs_err::read_dir(dir.path())?.count(), 2, "{name}");
    }
    Ok(())
}
