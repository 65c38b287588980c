//! `secrets`: the bundles of clusters, beside their `cluster.hcl`.
//!
//! A bundle is written once, encrypted, and never over another one: it is the one thing of a
//! cluster that nothing can make again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::Digest as _;
use talos_client::pki::Pem;
use talos_client::secrets::{Bundle, Contract};
use zeroize::Zeroizing;

use super::context::{identities, is_lack_of_keys};
use super::inventory::selected;
use super::{Context, Error};
use crate::spec::site::Cluster;
use crate::spec::sops::{self, EncryptOptions, Format, Plain, Step};
use crate::state::{Layout, Mode, read_text_if_present, write_new};

/// The form of the clear fields.
const FORM: u32 = 1;

/// The section of a bundle that stays readable.
const CLEAR: &str = "clusterctl_unencrypted";

/// Largest file that is imported, in bytes.
const LARGEST: u64 = 16 << 20;

/// What became of the bundles.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Bundles that were written.
    pub written: Vec<PathBuf>,
    /// Bundles that were there before; they are untouched.
    pub kept: Vec<PathBuf>,
    /// Written bundles that no identity at hand opens.
    pub sealed: Vec<PathBuf>,
}

/// Makes bundles for the clusters that have none; all clusters when none is named.
///
/// # Errors
/// The tree has errors, a cluster is not there, no rule of a `.sops.yaml` fits, or a file cannot
/// be written. Nothing that was there is changed.
pub fn generate(context: &Context, clusters: &[String]) -> Result<Report, Error> {
    let (root, site) = selected(context, clusters)?;
    let layout = Layout::new(&root.live, false);
    let mut report = Report::default();
    for cluster in &site.clusters {
        let path = layout.bundle(&cluster.folder);
        if read_text_if_present(&path).map_err(read_failed)?.is_some() {
            report.kept.push(path);
            continue;
        }
        let contract: Contract = cluster.versions.talos.to_string().parse().map_err(|error| {
            Error::failed(format!("make the secrets of cluster {}", cluster.name)).because(error)
        })?;
        let bundle = Bundle::generate(contract, now()).map_err(|error| {
            Error::failed(format!("make the secrets of cluster {}", cluster.name)).because(error)
        })?;
        keep(context, cluster, &bundle, path, &mut report)?;
    }
    Ok(report)
}

/// Takes over the bundle of a cluster that runs.
///
/// # Errors
/// The cluster is not there or has a bundle, the file is neither a bundle nor the configuration
/// of a control plane or is not complete, or another cluster has the same authority.
pub fn import(context: &Context, cluster: &str, file: &Path) -> Result<Report, Error> {
    let (root, site) = selected(context, &[])?;
    let (_, chosen) = selected(context, &[cluster.to_owned()])?;
    let [cluster] = chosen.clusters.as_slice() else {
        return Err(Error::usage(format!("{cluster:?} names more than one cluster")));
    };
    let layout = Layout::new(&root.live, false);
    let path = layout.bundle(&cluster.folder);
    if read_text_if_present(&path).map_err(read_failed)?.is_some() {
        return Err(Error::refused(format!("{} exists", path.display()))
            .hint("a bundle is never written over; move it away if it is not the right one"));
    }
    let source = context.cwd.join(file);
    let text = plain_text(context, &source)?;
    let failed = |error: talos_client::secrets::BundleError| {
        Error::failed(format!("read {}", source.display())).because(error)
    };
    let bundle = if is_machine_config(&text) {
        Bundle::from_machine_config(&text).map_err(failed)?
    } else {
        Bundle::parse(&text).map_err(failed)?
    };
    let problems = bundle.problems();
    if !problems.is_empty() {
        let mut error = Error::refused(format!("{} is no whole bundle", source.display()));
        for problem in problems {
            error = error.detail(problem);
        }
        return Err(error.hint("take the configuration of a control plane, not of a worker"));
    }
    let authority = authority_of(&bundle)?;
    for other in site.clusters.iter().filter(|other| other.folder != cluster.folder) {
        let theirs = layout.bundle(&other.folder);
        let Some(text) = read_text_if_present(&theirs).map_err(read_failed)? else { continue };
        if clear_fields(&text).is_some_and(|clear| clear.ca_sha256 == authority) {
            return Err(Error::refused(format!(
                "{} holds the authority of cluster {}",
                source.display(),
                other.name
            ))
            .detail(format!("its bundle is {}", theirs.display()))
            .hint("two clusters with one authority trust each other's administrators"));
        }
    }
    let mut report = Report::default();
    keep(context, cluster, &bundle, path, &mut report)?;
    Ok(report)
}

/// Writes a bundle in the clear, as talosctl reads it; gives the file.
///
/// # Errors
/// The cluster or its bundle is not there, no identity opens it, it belongs to another cluster,
/// or the file exists.
pub fn export(context: &Context, cluster: &str, file: &Path) -> Result<PathBuf, Error> {
    let (root, site) = selected(context, &[cluster.to_owned()])?;
    let [cluster] = site.clusters.as_slice() else {
        return Err(Error::usage(format!("{cluster:?} names more than one cluster")));
    };
    let path = Layout::new(&root.live, false).bundle(&cluster.folder);
    let sealed = read_text_if_present(&path).map_err(read_failed)?.ok_or_else(|| {
        Error::failed(format!("cluster {} has no bundle", cluster.name))
            .detail(format!("there is no {}", path.display()))
            .hint("`clusterctl secrets generate` makes one, `secrets import` takes one over")
    })?;
    if let Some(clear) = clear_fields(&sealed)
        && (clear.cluster_id, clear.cluster_name.as_str()) != (cluster.id, cluster.name.as_str())
    {
        return Err(Error::refused(format!(
            "{} is the bundle of cluster {} (id {}), not of {} (id {})",
            path.display(),
            clear.cluster_name,
            clear.cluster_id,
            cluster.name,
            cluster.id
        ))
        .hint("a folder was copied: move the bundle away"));
    }
    let text = plain_text(context, &path)?;
    let bundle = Bundle::parse(&text)
        .map_err(|error| Error::failed(format!("read {}", path.display())).because(error))?;
    let target = context.cwd.join(file);
    write_new(&target, bundle.to_yaml().as_bytes(), Mode::Private)
        .map_err(|error| Error::failed("write the bundle").because(error))?;
    Ok(target)
}

/// Encrypts a bundle and writes it where none is.
fn keep(
    context: &Context,
    cluster: &Cluster,
    bundle: &Bundle,
    path: PathBuf,
    report: &mut Report,
) -> Result<(), Error> {
    let failed = |error: sops::SopsError| {
        let mut failure = Error::failed(format!("encrypt {}", path.display()));
        if let Some(help) = error.help() {
            failure = failure.hint(help);
        }
        failure.because(error)
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let options =
        EncryptOptions { recipients: context.variables.get("SOPS_AGE_RECIPIENTS").cloned() };
    let rule = sops::find_rule(folder, &path, &options).map_err(failed)?;
    let mut text = bundle.to_yaml();
    let clear = format!(
        "{CLEAR}:\n    format: {FORM}\n    cluster_id: {}\n    cluster_name: {}\n    ca_sha256: {}\n",
        cluster.id,
        serde_json::Value::from(cluster.name.as_str()),
        serde_json::Value::from(authority_of(bundle)?),
    );
    text.push_str(&clear);
    let time = sops::time_text(now());
    let sealed =
        sops::encrypt(Plain::Text(text.as_bytes()), Format::Yaml, &rule, &time).map_err(failed)?;
    let is_clear = |steps: &[Step]| steps.first() == Some(&Step::Key(CLEAR.to_owned()));
    let readable = sealed.plain_paths.iter().find(|steps| !is_clear(steps));
    if let Some(steps) = readable {
        return Err(Error::refused(format!("the rule for {} leaves secrets readable", path.display()))
            .detail(format!("such as {}", dotted(steps)))
            .hint("give this path a creation rule of its own in .sops.yaml, without encrypted_regex and the like"));
    }
    if sealed.encrypted_paths.iter().any(|steps| is_clear(steps)) {
        return Err(Error::refused(format!(
            "the rule for {} encrypts {CLEAR}, which tells whose bundle it is",
            path.display()
        ))
        .hint("give this path a creation rule of its own in .sops.yaml"));
    }
    let opened = sops::decrypt(&sealed.bytes, Format::Yaml, &mut identities(&context.variables));
    let own = match opened {
        Ok(_) => true,
        Err(error) if is_lack_of_keys(error.class()) => false,
        Err(error) => return Err(failed(error)),
    };
    write_new(&path, &sealed.bytes, Mode::Private)
        .map_err(|error| Error::failed("write the bundle").because(error))?;
    if !own {
        report.sealed.push(path.clone());
    }
    report.written.push(path);
    Ok(())
}

/// What tells whose bundle a file is.
#[derive(Debug, Deserialize)]
struct Clear {
    cluster_id: u16,
    cluster_name: String,
    ca_sha256: String,
}

fn clear_fields(text: &str) -> Option<Clear> {
    #[derive(Deserialize)]
    struct File {
        clusterctl_unencrypted: Option<Clear>,
    }
    serde_saphyr::from_str::<File>(text).ok()?.clusterctl_unencrypted
}

/// SHA-256 of the certificate of the Talos API's authority, in hex.
fn authority_of(bundle: &Bundle) -> Result<String, Error> {
    let os = bundle.certs.as_ref().and_then(|certs| certs.os.as_ref());
    let pem = os.and_then(|os| os.crt.text()).map(Pem::parse);
    let Some(Ok(pem)) = pem else {
        return Err(Error::refused("the bundle has no authority of the Talos API"));
    };
    Ok(sha2::Sha256::digest(pem.der()).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// The text of a file; decrypted when it is a SOPS file.
fn plain_text(context: &Context, path: &Path) -> Result<Zeroizing<String>, Error> {
    let failed = || Error::failed(format!("read {}", path.display()));
    let data = fs_err::metadata(path).map_err(|error| failed().because(error))?;
    if data.len() > LARGEST {
        return Err(failed().detail("it is too large for a bundle"));
    }
    let bytes = Zeroizing::new(fs_err::read(path).map_err(|error| failed().because(error))?);
    let is_sealed = std::str::from_utf8(&bytes)
        .is_ok_and(|text| text.lines().any(|line| line.trim_end() == "sops:"));
    if is_sealed {
        let opened = sops::decrypt(&bytes, Format::Yaml, &mut identities(&context.variables))
            .and_then(|opened| opened.to_text(Format::Yaml));
        return opened.map(Zeroizing::new).map_err(|error| {
            let failure = failed();
            match error.help() {
                Some(help) => failure.hint(help).because(error),
                None => failure.because(error),
            }
        });
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| failed().detail("it is no text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Whether a text is a machine configuration rather than a bundle.
fn is_machine_config(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("machine:"))
}

fn dotted(steps: &[Step]) -> String {
    let names: Vec<String> = steps
        .iter()
        .map(|step| match step {
            Step::Key(key) => key.clone(),
            Step::Index(index) => index.to_string(),
        })
        .collect();
    names.join(".")
}

fn read_failed(error: crate::state::FileError) -> Error {
    Error::failed("read a bundle").because(error)
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
