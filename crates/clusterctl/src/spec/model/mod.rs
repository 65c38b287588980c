//! From files to a [`Site`]: keys, their origins, and everything that is derived from them.

mod cluster;
mod common;
mod diagnostic;
mod extension;
mod file;
mod identity;
pub mod key;
mod network;
mod patches;
mod plan;
mod shadow;
mod stage;
mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use diagnostic::{Diagnostic, Level, Location, Sources};
pub use file::Origin;

use super::hcl::{Decrypt, Loader, Options, Strictness};
use super::site::{Credentials, Site};

/// What a tree is read with.
pub struct LoadOptions {
    /// The folder `live/`.
    pub live: PathBuf,
    /// The root of the repository: nothing outside of it is read.
    pub repo_root: PathBuf,
    /// Whether the tree is for the lab.
    pub lab: bool,
    /// The environment, as `get_env` sees it.
    pub variables: BTreeMap<String, String>,
    /// Reads SOPS files; without a key their values are unknown.
    pub decrypt: Decrypt,
}

impl std::fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadOptions")
            .field("live", &self.live)
            .field("repo_root", &self.repo_root)
            .field("lab", &self.lab)
            .finish_non_exhaustive()
    }
}

/// A tree that is about to be read.
struct Begun {
    live: PathBuf,
    repo_root: PathBuf,
    lab: bool,
    gathered: tree::Gathered,
}

impl LoadOptions {
    fn begin(self) -> Begun {
        let Self { live, repo_root, lab, variables, decrypt } = self;
        let loader = Loader::new(Options {
            strictness: Strictness::Lazy,
            variables,
            cwd: live.clone(),
            boundary: Some(repo_root.clone()),
            decrypt,
        });
        Begun { live, repo_root, lab, gathered: tree::Gathered::new(loader) }
    }
}

/// What a tree gave.
#[derive(Debug)]
pub struct Loaded {
    /// The site; none when there is an error.
    pub site: Option<Site>,
    /// Its plan of numbers and addresses, every value with its formula.
    pub plan: Option<netplan::SitePlan>,
    /// Everything to tell, the worst first.
    pub diagnostics: Vec<Diagnostic>,
    /// Keys that are known but not acted on: errors of `plan`.
    pub unsupported: Vec<Diagnostic>,
    /// Where the value of every key comes from.
    pub origins: Vec<Origin>,
    /// The texts of the files that were read.
    pub sources: Sources,
}

impl Loaded {
    /// Whether something keeps the tree from being planned.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error)
    }
}

/// Reads a tree. It opens nothing but files below the repository's root, and writes nothing.
pub fn load(options: LoadOptions) -> Loaded {
    let Begun { live, repo_root, lab, mut gathered } = options.begin();
    let tree = tree::Tree::read(&live, &mut gathered);
    let context = common::Context { tree: &tree, live: &live, repo_root: &repo_root, lab };
    let (site, plan) = cluster::site(&context, &mut gathered);
    shadow::mark(&context, &mut gathered);
    let sources = gathered.sources();
    let mut diagnostics = gathered.diagnostics;
    diagnostics.sort_by(|a, b| {
        b.level
            .cmp(&a.level)
            .then_with(|| a.location.cmp(&b.location))
            .then_with(|| a.code.cmp(&b.code))
    });
    diagnostics.dedup();
    let failed = diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error);
    Loaded {
        site: site.filter(|_| !failed),
        plan,
        diagnostics,
        unsupported: gathered.unsupported,
        origins: gathered.origins,
        sources,
    }
}

/// Reads `common/credentials.hcl` alone, and what it reads.
pub fn load_credentials(options: LoadOptions) -> (Credentials, Vec<Diagnostic>) {
    let Begun { live, repo_root, lab, mut gathered } = options.begin();
    let tree = tree::Tree::credentials(&live, &mut gathered);
    let context = common::Context { tree: &tree, live: &live, repo_root: &repo_root, lab };
    (common::credentials(&context, &mut gathered), gathered.diagnostics)
}

#[cfg(test)]
mod acted;
#[cfg(test)]
mod tests;
