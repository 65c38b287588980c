//! `image`: what needs no registry and no factory.

use std::path::Path;

use sha2::Digest as _;

use crate::run;

#[test]
fn a_schematic_is_that_of_the_tree_or_starts_empty() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/homelab/live");
    let said = run(&["image", "schematic"], &example);
    assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.contains("siderolabs/qemu-guest-agent"), "{text}");
    // The id is the digest of exactly what is printed.
    let digest = sha2::Sha256::digest(text.as_bytes());
    let id = digest.iter().fold(String::new(), |id, byte| format!("{id}{byte:02x}"));
    assert!(String::from_utf8(said.stderr).unwrap().contains(&id));

    let outside = tempfile::tempdir().unwrap();
    let said = run(&["image", "schematic", "--extension=siderolabs/x"], outside.path());
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.contains("siderolabs/x") && !text.contains("qemu"), "{text}");
}

#[test]
fn what_cannot_be_done_is_told_and_leaves_nothing() {
    let room = tempfile::tempdir().unwrap();
    for (args, code, text) in [
        (&["image", "build", "--talos=v1.11.5"][..], 64, "nothing is to be built"),
        (&["image", "extension", "nowhere"][..], 1, "nowhere"),
        (&["--live=nowhere", "image", "schematic"][..], 64, "nowhere"),
    ] {
        let said = run(args, room.path());
        let told = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(code), "{args:?}: {told}");
        assert!(told.contains(text), "{args:?}: {told}");
        assert!(said.stdout.is_empty());
    }
    assert_eq!(fs_err::read_dir(room.path()).unwrap().count(), 0);
}

#[test]
fn nothing_is_removed_from_a_cache_that_another_process_uses() {
    let room = tempfile::tempdir().unwrap();
    let dir = room.path().join(".cache/clusterctl/oci");
    let gc = || run(&["image", "gc", "--all"], room.path());
    // As a build has it open from its beginning to its end.
    let build = imagefactory::Cache::open(&dir).unwrap();
    let digest = build.put(b"read by a build").unwrap();
    let said = gc();
    let told = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(5), "{told}");
    assert!(told.contains("is in use") && told.contains("call again"), "{told}");
    assert!(build.get(&digest).unwrap().is_some());
    drop(build);
    let said = gc();
    let told = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(0), "{told}");
    assert!(told.contains("1 file(s) removed"), "{told}");
}
