//! Tests of whole nodes: recordings played again, and clusters that come up.

mod health;
mod lab;
mod matcher;
mod recording;
mod timeline;
mod trust;

use std::path::PathBuf;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sim")
}

fn fixture(name: &str) -> String {
    fs_read(&fixtures().join(name))
}

fn fs_read(path: &std::path::Path) -> String {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    text
}
