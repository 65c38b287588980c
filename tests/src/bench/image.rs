//! Building an ISO and an installer, against reading their inputs and writing their outputs.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use imagefactory::build::{BuildRequest, Builder, Built, ImageSource, OciImage, Platform};
use imagefactory::sim::base;
use imagefactory::{
    Architecture, Cache, Descriptor, RegistryClient, RegistryOptions, talos_version,
};
use sha2::Digest as _;

use super::measure::{forget_peak, median, memory, ms, ratio_of_times, runtime, timed};
use super::{Better, Line, Scale};

const EXTENSIONS: usize = 5;

/// Content that no packer makes smaller, the same at each run.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// What is built, and where.
struct Yard {
    dir: tempfile::TempDir,
    sources: Vec<ImageSource>,
    client: RegistryClient,
}

impl Yard {
    fn new(scale: &Scale) -> anyhow::Result<Self> {
        let (kernel, initramfs, extension) =
            scale.pick((16 << 20, 64 << 20, 20 << 20), (1 << 16, 1 << 18, 1 << 16));
        let dir = tempfile::tempdir()?;
        let cache = Cache::open(dir.path().join("cache"))?;
        let mut layers = vec![
            base::imager_layer_of(noise(kernel, 1), noise(initramfs, 2)),
            base::installer_base_layer(),
        ];
        for number in 0..EXTENSIONS {
            let (name, seed) = (format!("bench{number}"), number as u64 + 10);
            layers.push(base::extension_layer_of(&name, "1", noise(extension, seed)));
        }
        let mut sources = Vec::new();
        for (number, layer) in layers.into_iter().enumerate() {
            let digest = cache.put(&layer)?;
            let config = serde_json::json!({
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [digest]},
            });
            let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
            let layer = Descriptor { media_type, digest, size: layer.len() as u64 };
            let image = OciImage::assemble(&cache, Architecture::Amd64, &config, vec![layer])?;
            let layout = dir.path().join(format!("layout-{number}"));
            OciImage::write_layout(&[image], "1", &layout, &cache)?;
            sources.push(format!("oci:{}", layout.display()).parse()?);
        }
        let client = RegistryClient::new(RegistryOptions::default())?;
        Ok(Self { dir, sources, client })
    }

    /// Builds with an argument of its own, so that no round finds what another has made.
    fn build(&self, mark: &str) -> anyhow::Result<Built> {
        let [imager, installer_base, extensions @ ..] = self.sources.as_slice() else {
            anyhow::bail!("no sources");
        };
        let request = BuildRequest {
            version: talos_version("v1.12.11")?,
            architecture: Architecture::Amd64,
            platform: Platform::Nocloud,
            imager: imager.clone(),
            installer_base: Some(installer_base.clone()),
            iso: true,
            extensions: extensions.to_vec(),
            kernel_args: vec![format!("bench.mark={mark}")],
            schematic: None,
        };
        let cache = Cache::open(self.dir.path().join("cache"))?;
        let builder = Builder::new(cache, self.client.clone());
        Ok(runtime()?.block_on(builder.build(&request, &|_| {}))?)
    }

    /// Lets the builder forget what it unpacked and packed: the images alone stay.
    fn forget(&self) -> anyhow::Result<()> {
        let notes = self.dir.path().join("cache/notes");
        if notes.exists() {
            fs_err::remove_dir_all(notes)?;
        }
        Ok(())
    }

    fn inputs(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for number in 0..self.sources.len() {
            let blobs = self.dir.path().join(format!("layout-{number}/blobs/sha256"));
            for entry in fs_err::read_dir(blobs)? {
                found.push(entry?.path());
            }
        }
        Ok(found)
    }

    /// What no builder can do without: every input read and hashed, every output written.
    fn least(&self, outputs: &[u64]) -> anyhow::Result<()> {
        let mut buffer = vec![0; 1 << 20];
        let mut hash = sha2::Sha256::new();
        for path in self.inputs()? {
            let mut file = fs_err::File::open(path)?;
            loop {
                let count = file.read(&mut buffer)?;
                match buffer.get(..count).filter(|bytes| !bytes.is_empty()) {
                    Some(bytes) => hash.update(bytes),
                    None => break,
                }
            }
        }
        std::hint::black_box(hash.finalize());
        for (number, len) in outputs.iter().enumerate() {
            write(&self.dir.path().join(format!("out-{number}")), *len, &buffer)?;
        }
        Ok(())
    }
}

fn write(path: &Path, len: u64, buffer: &[u8]) -> anyhow::Result<()> {
    let mut file = File::create(path)?;
    let mut left = len;
    while left > 0 {
        let count = usize::try_from(left)?.min(buffer.len());
        file.write_all(buffer.get(..count).context("too long")?)?;
        left -= count as u64;
    }
    Ok(file.sync_all()?)
}

/// Wall time of a build against the least that it takes; its memory; a build of what is there.
pub(super) fn build(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let yard = Yard::new(scale)?;
    forget_peak().context("measure memory")?;
    let before = memory("self", "VmRSS")?;
    let first = yard.build("first")?;
    let peak = memory("self", "VmHWM")?;
    ensure!(!first.unchanged, "a first build found what it was to make");
    let iso = first.iso.as_ref().context("no ISO")?.size;
    let installer = first.installer.as_ref().context("no installer")?;
    let layer = installer.layers.last().context("no layer")?.size;
    let outputs = [iso, layer];

    let mut round = 0;
    let mut ours = |cold: bool| {
        round += 1;
        if cold {
            yard.forget()?;
        }
        Ok(timed(|| yard.build(&round.to_string()))?.1)
    };
    let theirs = || Ok(timed(|| yard.least(&outputs))?.1);
    let rounds = scale.pick(3, 1);
    let whole = ratio_of_times(rounds, || ours(true), theirs)?;
    let again = ratio_of_times(rounds, || ours(false), theirs)?;

    let mut times = Vec::new();
    for _ in 0..scale.pick(20, 1) {
        let (built, took) = timed(|| yard.build("first"))?;
        // The notes of before were forgotten: the first of these builds once more.
        if built.unchanged {
            times.push(took);
        }
    }
    if times.is_empty() {
        times.push(timed(|| yard.build("first"))?.1);
    }
    let noop = ms(std::time::Duration::from_secs_f64(median(&mut times)));
    let what = format!("ISO of {} MB and layer of {} MB", iso / 1_000_000, layer / 1_000_000);
    Ok(vec![
        Line::new("image-build", whole, "ratio", Better::Less).target(3.0).note(format!(
            "{what} from images in the cache; reading, hashing, writing and syncing as much = 1"
        )),
        Line::new("image-build-again", again, "ratio", Better::Less)
            .note("as above with another kernel argument: base and extensions were prepared"),
        Line::new("image-build-rss", peak, "MB", Better::Less)
            .target(128.0)
            .note(format!("peak of the building process, {before:.1} MB before the build")),
        Line::new("image-noop", noop, "ms", Better::Less)
            .target(50.0)
            .note(format!("a build of what is there, median of {} runs", times.len())),
    ])
}
