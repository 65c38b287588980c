//! Trees with something wrong: each prints exactly what its `expected.txt` says.
//!
//! A tree is `_base` with the files of `NAME/tree` laid over it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clusterctl::spec::hcl::DecryptedText;
use clusterctl::spec::model::{LoadOptions, load};
use clusterctl::spec::sops;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-trees")
}

fn copy(from: &Path, to: &Path) {
    for entry in fs_err::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs_err::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs_err::copy(entry.path(), &target).unwrap();
        }
    }
}

fn listing(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs_err::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            listing(&entry.path(), found);
        } else {
            found.insert(entry.path(), fs_err::read(entry.path()).unwrap());
        }
    }
}

/// What a folder of a repository cannot hold.
fn prepare(name: &str, live: &Path) {
    let cluster = live.join("clusters/cluster-101/cluster.hcl");
    match name {
        "symlink-escape" => {
            std::os::unix::fs::symlink("/etc/hostname", live.join("common/outside")).unwrap();
        }
        "symlink-cluster" => {
            fs_err::remove_file(&cluster).unwrap();
            std::os::unix::fs::symlink("/etc/hostname", &cluster).unwrap();
        }
        "file-huge" => {
            let line = "  a = \"0123456789012345678901234567890123456789\"\n";
            fs_err::write(&cluster, format!("locals {{\n{}}}\n", line.repeat(220_000))).unwrap();
        }
        "file-not-utf8" => fs_err::write(&cluster, b"locals {\n  a = \"\xff\xfe\"\n}\n").unwrap(),
        "file-is-folder" => {
            fs_err::remove_file(&cluster).unwrap();
            fs_err::create_dir(&cluster).unwrap();
        }
        _ => {}
    }
}

/// Opens a SOPS file with the key beside it, `key.txt`.
fn opened(path: &Path) -> Result<DecryptedText, String> {
    let key_file = path.with_file_name("key.txt");
    if !key_file.exists() {
        return Ok(DecryptedText::NoKey("no key".to_owned()));
    }
    let sources = sops::IdentitySources { key_files: vec![key_file], ..Default::default() };
    let bytes = fs_err::read(path).map_err(|error| error.to_string())?;
    let format = sops::Format::of_path(path);
    let opened = sops::decrypt(&bytes, format, &mut sops::Identities::gather(&sources));
    let opened = opened.map_err(|error| error.to_string())?;
    opened.to_text(format).map(DecryptedText::Plain).map_err(|error| error.to_string())
}

fn cases() -> Vec<(String, PathBuf)> {
    let mut cases: Vec<(String, PathBuf)> = fs_err::read_dir(folder())
        .unwrap()
        .map(Result::unwrap)
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(name, path)| name != "_base" && path.is_dir())
        .collect();
    cases.sort();
    cases
}

fn answer(case: &Path) -> String {
    let room = tempfile::tempdir().unwrap();
    let root = room.path().canonicalize().unwrap();
    let live = root.join("live");
    fs_err::create_dir_all(root.join(".git")).unwrap();
    fs_err::create_dir_all(&live).unwrap();
    copy(&folder().join("_base"), &live);
    copy(&case.join("tree"), &live);
    prepare(&case.file_name().unwrap().to_string_lossy(), &live);
    let mut before = BTreeMap::new();
    listing(&root, &mut before);
    let start = Instant::now();
    let loaded = load(LoadOptions {
        live: live.clone(),
        repo_root: root.clone(),
        lab: false,
        variables: BTreeMap::new(),
        decrypt: Box::new(opened),
    });
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "{} took {took:?}", case.display());
    let mut after = BTreeMap::new();
    listing(&root, &mut after);
    assert!(before == after, "{} was written to", case.display());
    let told = loaded.diagnostics.iter().map(|diagnostic| diagnostic.render(&live));
    let plan = loaded.unsupported.iter().map(|one| format!("plan: {}", one.render(&live)));
    let mut text = told.chain(plan).collect::<Vec<_>>().join("\n");
    text.push('\n');
    text
}

#[test]
fn every_bad_tree_is_told_as_expected() {
    let mut wrong = Vec::new();
    for (name, case) in cases() {
        let expected = fs_err::read_to_string(case.join("expected.txt")).unwrap_or_default();
        let found = answer(&case);
        assert!(!found.trim().is_empty(), "{name}: nothing is told");
        if expected != found {
            wrong.push(format!("== {name}\n-- expected\n{expected}-- found\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_a_hundred_of_them() {
    assert!(cases().len() >= 100, "{}", cases().len());
}

#[test]
#[ignore = "writes the expected texts anew: read the difference before it is committed"]
fn write_expected_texts() {
    for (_, case) in cases() {
        fs_err::write(case.join("expected.txt"), answer(&case)).unwrap();
    }
}
