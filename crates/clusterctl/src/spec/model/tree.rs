//! The files of a tree, and what is found out while they are read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::diagnostic::{Diagnostic, Level, Sources};
use super::file::{File, Origin};
use super::key::Section;
use crate::spec::hcl::{Failure, Loader, Place};

/// What is found out while a tree is read.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) loader: Rc<Loader>,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) unsupported: Vec<Diagnostic>,
    pub(super) origins: Vec<Origin>,
    seen: BTreeSet<(Option<Place>, String)>,
}

impl Gathered {
    pub(super) fn new(loader: Rc<Loader>) -> Self {
        Self {
            loader,
            diagnostics: Vec::new(),
            unsupported: Vec::new(),
            origins: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    pub(super) fn sources(&self) -> Sources {
        Sources(self.loader.sources())
    }

    /// Takes a failure of evaluation, once, whoever asked for the value.
    pub(super) fn failure(&mut self, failure: &Failure) {
        let key = (failure.place().cloned(), failure.message().to_owned());
        if self.seen.insert(key) {
            self.diagnostics.push(Diagnostic::of_failure(failure, &self.sources()));
        }
    }

    pub(super) fn error(&mut self, code: &str, message: String, place: Option<&Place>) {
        let diagnostic = Diagnostic::new(Level::Error, code, message).at(place, &self.sources());
        self.diagnostics.push(diagnostic);
    }

    pub(super) fn warning(&mut self, code: &str, message: String, place: Option<&Place>) {
        let diagnostic = Diagnostic::new(Level::Warning, code, message).at(place, &self.sources());
        self.diagnostics.push(diagnostic);
    }

    pub(super) fn error_help(
        &mut self,
        code: &str,
        message: String,
        place: Option<&Place>,
        help: &str,
    ) {
        let diagnostic =
            Diagnostic::new(Level::Error, code, message).at(place, &self.sources()).help(help);
        self.diagnostics.push(diagnostic);
    }
}

/// All data files.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) files: BTreeMap<Section, File>,
    pub(super) clusters: Vec<File>,
}

impl Tree {
    /// Reads every data file below `live`.
    pub(super) fn read(live: &Path, gathered: &mut Gathered) -> Self {
        let loader = Rc::clone(&gathered.loader);
        let mut files = BTreeMap::new();
        for section in Section::ALL.iter().copied().filter(|one| *one != Section::Cluster) {
            let path = data_file(live, section);
            let file = if path.exists() {
                File::read(&loader, section, &path, None, gathered)
            } else {
                if section == Section::Versions {
                    let place = Place { file: path.clone(), start: 0, end: 0 };
                    let message = "the tree has no common/versions.hcl".to_owned();
                    gathered.error("tree-0010", message, Some(&place));
                }
                File::absent(section, &path)
            };
            files.insert(section, file);
        }
        let mut clusters = Vec::new();
        for (folder, path) in cluster_files(live) {
            clusters.push(File::read(&loader, Section::Cluster, &path, Some(folder), gathered));
        }
        Self { files, clusters }
    }

    /// Reads the file of credentials alone.
    pub(super) fn credentials(live: &Path, gathered: &mut Gathered) -> Self {
        let loader = Rc::clone(&gathered.loader);
        let section = Section::Credentials;
        let file = File::read(&loader, section, &data_file(live, section), None, gathered);
        Self { files: BTreeMap::from([(section, file)]), clusters: Vec::new() }
    }

    /// The file of a section; every section but that of clusters has one.
    pub(super) fn get(&self, section: Section) -> &File {
        static_file(&self.files, section)
    }
}

fn static_file(files: &BTreeMap<Section, File>, section: Section) -> &File {
    match files.get(&section).or_else(|| files.values().next()) {
        Some(file) => file,
        // `Tree::read` inserts a file for every section.
        None => unreachable!("a tree has a file for every section"),
    }
}

/// Our file of a section, or what stands for it in a stage folder.
fn data_file(live: &Path, section: Section) -> PathBuf {
    let ours = live.join(section.file());
    if ours.exists() || !section.is_stage() {
        return ours;
    }
    let theirs = ours.with_file_name("terragrunt.hcl");
    if theirs.exists() { theirs } else { ours }
}

/// Every `clusters/*/cluster.hcl`, by folder name.
fn cluster_files(live: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs_err::read_dir(live.join("clusters")) else { return Vec::new() };
    let mut found: Vec<(String, PathBuf)> = entries
        .filter_map(Result::ok)
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter_map(|(name, path)| {
            let ours = path.join("cluster.hcl");
            ours.exists().then_some((name, ours))
        })
        .collect();
    found.sort();
    found
}
