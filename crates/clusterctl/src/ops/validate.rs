//! `validate`: the whole tree, offline, without any secret.

use super::{Context, Error};
use crate::compose::bundle::BundleStore;
use crate::compose::custody::{self, Keys};
use crate::spec::model::{Diagnostic, Level, Location, Sources};
use crate::spec::root::Root;
use crate::spec::site::Unmanaged;

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// The tree.
    pub root: Root,
    /// Errors and warnings, the worst first.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts of the files.
    pub sources: Sources,
    /// How many clusters and nodes the tree describes, when it has no error.
    pub size: Option<(usize, usize)>,
    /// Cluster folders that describe something else.
    pub unmanaged: Vec<Unmanaged>,
}

impl Report {
    /// How many diagnostics are of a level.
    pub fn count(&self, level: Level) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.level == level).count()
    }
}

/// Checks the tree.
///
/// # Errors
/// There is no tree.
pub fn validate(context: &Context) -> Result<Report, Error> {
    let (root, loaded) = context.load()?;
    let size = loaded.site.as_ref().map(|site| {
        (site.clusters.len(), site.clusters.iter().map(|cluster| cluster.nodes.len()).sum())
    });
    let unmanaged = loaded.site.as_ref().map(|site| site.unmanaged.clone()).unwrap_or_default();
    let mut diagnostics: Vec<Diagnostic> = loaded
        .diagnostics
        .into_iter()
        .filter(|diagnostic| diagnostic.level != Level::Info)
        .collect();
    if let Some(site) = &loaded.site {
        let store = BundleStore::of_site(site, false, &context.variables);
        for problem in custody::problems(&store, &site.clusters, Keys::Unused)? {
            let mut found = Diagnostic::new(problem.level, problem.code, problem.text);
            found.location = Some(Location { file: problem.path, line: 0, column: 0 });
            found.help = Some(problem.help);
            diagnostics.push(found);
        }
    }
    diagnostics.sort_by_key(|diagnostic| std::cmp::Reverse(diagnostic.level));
    Ok(Report { root, diagnostics, sources: loaded.sources, size, unmanaged })
}
