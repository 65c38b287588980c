//! `graph`: which stage waits for which.

use super::{Context, Error};

/// Stages and what each waits for, by target path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stages {
    /// Every stage.
    pub nodes: Vec<String>,
    /// Pairs (stage, what it waits for).
    pub edges: Vec<(String, String)>,
}

/// The stages of the tree.
///
/// # Errors
/// There is no tree, or it has errors.
pub fn graph(context: &Context) -> Result<Stages, Error> {
    let (_, loaded) = context.load_valid()?;
    let Some(site) = loaded.site else { return Err(Error::failed("the tree gave no site")) };
    let sdn = "common/0-sdn-setup";
    let (images, registry) = ("artifacts/images", "artifacts/registry");
    let mut stages = Stages { nodes: Vec::new(), edges: Vec::new() };
    let mut edge = |from: &str, to: &str| stages.edges.push((from.to_owned(), to.to_owned()));
    edge(registry, images);
    let mut nodes = vec![images.to_owned(), registry.to_owned()];
    if site.sdn.is_some() {
        nodes.push(sdn.to_owned());
    }
    for cluster in &site.clusters {
        let stage = |name: &str| format!("clusters/{}/{name}", cluster.folder);
        edge(&stage("compute"), registry);
        if cluster.segment.use_sdn && site.sdn.is_some() {
            edge(&stage("compute"), sdn);
        }
        edge(&stage("config"), &stage("compute"));
        edge(&stage("config"), images);
        edge(&stage("bootstrap"), &stage("config"));
        nodes.extend(["compute", "config", "bootstrap"].map(stage));
    }
    nodes.sort();
    stages.nodes = nodes;
    Ok(stages)
}

impl Stages {
    /// As a Graphviz digraph.
    pub fn dot(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::from("digraph stages {\n  rankdir = LR;\n  node [shape = box];\n");
        for node in &self.nodes {
            let _ = writeln!(out, "  {node:?};");
        }
        for (from, to) in &self.edges {
            let _ = writeln!(out, "  {to:?} -> {from:?};");
        }
        out.push_str("}\n");
        out
    }

    /// As a Mermaid flowchart.
    pub fn mermaid(&self) -> String {
        use std::fmt::Write as _;
        let id = |node: &str| -> String {
            node.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
        };
        let mut out = String::from("flowchart LR\n");
        for node in &self.nodes {
            let _ = writeln!(out, "  {}[\"{node}\"]", id(node));
        }
        for (from, to) in &self.edges {
            let _ = writeln!(out, "  {} --> {}", id(to), id(from));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_drawn_in_both_forms() {
        let stages = Stages {
            nodes: vec!["a/b".into(), "c-d".into()],
            edges: vec![("c-d".into(), "a/b".into())],
        };
        assert!(stages.dot().contains("\"a/b\" -> \"c-d\";"));
        assert!(stages.mermaid().contains("a_b --> c_d"));
    }
}
