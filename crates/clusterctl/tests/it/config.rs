//! `config`: configurations of the tree and of files, as users look at them.

use std::path::{Path, PathBuf};

use clusterctl::ops::config::diff::{self, After, diff};
use clusterctl::ops::config::render::{self, render};
use clusterctl::ops::{ErrorKind, secrets};
use talos_client::config::{MachineConfig, Mode};

use crate::run;
use crate::secrets::{Tree, one};

/// Exit code, standard output, standard error.
fn said(args: &[&str], cwd: &Path) -> (i32, String, String) {
    let output = run(args, cwd);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn wanted(show_secrets: bool) -> render::Options {
    render::Options {
        cluster: "sol".to_owned(),
        nodes: Vec::new(),
        show_secrets,
        to: None,
        lab: false,
    }
}

fn token(tree: &Tree) -> String {
    let path = secrets::export(&tree.context(), "sol", Path::new("sol.yaml"), false).unwrap();
    let bundle = talos_client::secrets::Bundle::parse(&fs_err::read_to_string(path).unwrap());
    bundle.unwrap().trustd_token.unwrap().text().unwrap().to_owned()
}

#[test]
fn a_cluster_is_rendered_without_its_secrets_unless_they_are_asked_for() {
    let tree = Tree::new("");
    // Before there are any, others stand for them.
    let report = render(&tree.context(), &wanted(false)).unwrap();
    assert!(report.is_trial && report.configs.contains_key("solcp01"));
    let error = render(&tree.context(), &wanted(true)).unwrap_err();
    assert!(error.hints().iter().any(|hint| hint.contains("secrets generate")));

    secrets::generate(&tree.context(), &one("sol"), false).unwrap();
    let token = token(&tree);
    let shown = render(&tree.context(), &wanted(false)).unwrap();
    let text = shown.configs["solcp01"].to_yaml();
    assert!(!shown.is_trial && !text.contains(&token) && text.contains("(secret sha256:"));

    let options = render::Options { to: Some(PathBuf::from("out")), ..wanted(true) };
    let report = render(&tree.context(), &options).unwrap();
    let path = tree.dir.path().join("out/solcp01.yaml");
    assert_eq!(report.written, std::slice::from_ref(&path));
    let text = fs_err::read_to_string(&path).unwrap();
    let config = MachineConfig::load(&text).unwrap();
    assert_eq!(config.value("/machine/token").unwrap(), &token);
    assert!(config.validate(Mode::Cloud, 13, true).is_ok());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    let options = render::Options { nodes: one("solcp1"), ..wanted(false) };
    let error = render(&tree.context(), &options).unwrap_err();
    assert_eq!(
        (error.kind(), error.hints()),
        (ErrorKind::Usage, &one("did you mean solcp01?")[..])
    );
}

#[test]
fn a_file_is_compared_with_the_node_of_the_tree() {
    let tree = Tree::new("");
    secrets::generate(&tree.context(), &one("sol"), false).unwrap();
    let options = render::Options { to: Some(PathBuf::from("out")), ..wanted(true) };
    render(&tree.context(), &options).unwrap();
    let options = diff::Options {
        before: PathBuf::from("out/solcp01.yaml"),
        after: After::Node("solcp01".to_owned()),
        talos: None,
        lab: false,
    };
    assert!(diff(&tree.context(), &options).unwrap().changes.is_empty());

    let path = tree.dir.path().join("out/solcp01.yaml");
    let token = token(&tree);
    let text = fs_err::read_to_string(&path).unwrap().replace(&token, "abcdef.0123456789abcdef");
    fs_err::write(&path, text).unwrap();
    let report = diff(&tree.context(), &options).unwrap();
    let [change] = report.changes.as_slice() else { panic!("{:?}", report.changes) };
    assert_eq!((change.path.as_str(), change.effect.as_str()), ("machine.token", "reboot"));
    assert_eq!(report.mode, "reboot");
    assert!(!change.line.contains(&token) && !change.line.contains("abcdef.0123456789"));
}

const WORKER: &str = "version: v1alpha1
machine:
    type: worker
    token: abcdef.0123456789abcdef
    ca:
        crt: Y2E=
    kubelet:
        image: k:v1.35.0
    sysctls:
        a: '1'
    install:
        disk: /dev/vda
        image: i:v1
cluster:
    controlPlane:
        endpoint: https://10.0.0.1:6443
";

#[test]
fn verdicts_have_lines_and_hints() {
    let room = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs_err::write(room.path().join(name), text).unwrap();
    write("good.yaml", WORKER);
    write("slip.yaml", &WORKER.replace("    kubelet:", "    kubelt:"));
    write("odd.yaml", &WORKER.replace("Y2E=", "Y2E=\n        key: Y2E="));
    let (code, out, err) = said(&["config", "validate", "-m", "metal", "good.yaml"], room.path());
    assert_eq!((code, out.as_str()), (0, "good.yaml is valid for metal mode\n"), "{err}");

    let (code, out, err) = said(&["config", "validate", "slip.yaml", "odd.yaml"], room.path());
    assert_eq!((code, out.as_str()), (1, ""));
    insta::assert_snapshot!(err, @r#"
    slip.yaml:7: error: v1alpha1.machine has no field "kubelt" [unknown-keys]
      hint: did you mean `kubelet`?
    slip.yaml is not valid for metal mode
    odd.yaml:7: error: `machine.ca.key` has no place on a worker [ca-key-on-worker]
      hint: a worker must not be able to sign: remove the key
    odd.yaml is not valid for metal mode
    "#);

    let (code, out, _) = said(&["config", "validate", "-o", "json", "odd.yaml"], room.path());
    let reports: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &reports[0]["verdicts"][0]["line"]), (1, &7.into()));
    assert_eq!(reports[0]["verdicts"][0]["path"], "machine.ca.key");

    // What is regretted is told, and is no reason to refuse it.
    write("sda.yaml", &WORKER.replace("/dev/vda", "/dev/sda"));
    let (code, _, err) = said(&["config", "validate", "--strict", "sda.yaml"], room.path());
    assert_eq!(code, 0);
    assert!(
        err.contains("sda.yaml:12: warning: ") && err.contains("[lint-install-disk-name]"),
        "{err}"
    );

    // What came later is not taken by an older version; of nocloud it is known what it is.
    write("new.yaml", "apiVersion: v1alpha1\nkind: LinkConfig\nname: a\n");
    for (talos, wanted) in [("v1.11.5", 1), ("1.13", 0)] {
        let args = ["config", "validate", "--mode=nocloud", "--talos", talos, "new.yaml"];
        assert_eq!(said(&args, room.path()).0, wanted, "{talos}");
    }
    assert_eq!(said(&["config", "validate", "--talos=1.4", "new.yaml"], room.path()).0, 64);
}

#[test]
fn a_difference_says_what_it_takes() {
    let room = tempfile::tempdir().unwrap();
    fs_err::write(room.path().join("a.yaml"), WORKER).unwrap();
    let after =
        WORKER.replace("a: '1'", "a: '2'").replace("1.35.0", "1.35.1").replace("i:v1", "i:v2");
    fs_err::write(room.path().join("b.yaml"), after).unwrap();
    let args = ["config", "diff", "a.yaml", "b.yaml", "--detailed-exitcode"];
    let (code, out, err) = said(&args, room.path());
    assert_eq!(code, 2, "{err}");
    insta::assert_snapshot!(out, @r"
    machine.install.image: i:v1 -> i:v2  [reinstall]
    machine.kubelet.image: k:v1.35.0 -> k:v1.35.1  [restart of kubelet]
    machine.sysctls.a: 1 -> 2  [live]
    ");
    assert!(err.contains("3 change(s) on Talos 1.13: taken as it runs with --mode=no-reboot, holds from the next installation or upgrade on"));
    assert_eq!(said(&["config", "diff", "a.yaml", "a.yaml"], room.path()).0, 0);
    assert_eq!(said(&["config", "diff", "a.yaml"], room.path()).0, 64);
}

#[test]
fn patches_are_files_or_stand_on_the_command_line() {
    let room = tempfile::tempdir().unwrap();
    fs_err::write(room.path().join("a.yaml"), WORKER).unwrap();
    fs_err::write(room.path().join("p.yaml"), "machine: {sysctls: {b: '2'}}\n").unwrap();
    let json = "[{\"op\": \"add\", \"path\": \"/machine/sysctls/c\", \"value\": \"3\"}]";
    let args = ["config", "patch", "a.yaml", "-p", "@p.yaml", "--patch", json];
    let (code, out, err) = said(&args, room.path());
    assert_eq!(code, 0, "{err}");
    let config = MachineConfig::load(&out).unwrap();
    let sysctls = config.value("/machine/sysctls").unwrap();
    assert_eq!(sysctls, &serde_json::json!({"a": "1", "b": "2", "c": "3"}));

    let args = [
        "config",
        "patch",
        "a.yaml",
        "-p",
        "- op: remove\n  path: /machine/sysctls/a",
        "--out",
        "a.yaml",
    ];
    let (code, out, err) = said(&args, room.path());
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    let text = fs_err::read_to_string(room.path().join("a.yaml")).unwrap();
    assert!(MachineConfig::load(&text).unwrap().value("/machine/sysctls/a").is_none());

    let args = ["config", "patch", "a.yaml", "-p", "machine: {kubelt: {}}"];
    let (code, _, err) = said(&args, room.path());
    assert_eq!(code, 1);
    assert!(err.contains("did you mean `kubelet`?"), "{err}");
}

#[test]
fn nothing_that_is_encrypted_is_written_in_the_clear() {
    let room = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs_err::write(room.path().join(name), text).unwrap();
    let sealed = "token: ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]\nsops:\n    mac: x\n";
    write("a.yaml", WORKER);
    write("sealed.yaml", sealed);
    write("sealed.json", "{\"a\": \"ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]\", \"sops\": {}}");
    let patch = "machine: {sysctls: {b: '2'}}";
    for args in [
        ["sealed.yaml", "-p", patch, "--out", "sealed.yaml"],
        ["sealed.yaml", "-p", patch, "--out", "new.yaml"],
        ["a.yaml", "-p", "@sealed.yaml", "--out", "new.yaml"],
        ["a.yaml", "-p", patch, "--out", "sealed.json"],
    ] {
        let (code, _, err) = said(&[&["config", "patch"][..], &args[..]].concat(), room.path());
        assert_eq!(code, 1, "{args:?}");
        assert!(err.contains("is encrypted, and") && err.contains("without --out"), "{err}");
    }
    assert_eq!(fs_err::read_to_string(room.path().join("sealed.yaml")).unwrap(), sealed);
    assert!(!room.path().join("new.yaml").exists());
}

#[test]
fn a_pipe_is_read_like_the_file() {
    use std::io::Write as _;
    let room = tempfile::tempdir().unwrap();
    let text = "version: v1alpha1\nmachine: {type: worker}\ncluster: {}\n";
    fs_err::write(room.path().join("m.yaml"), text).unwrap();
    let (code, _, err) = said(&["config", "validate", "m.yaml"], room.path());
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_clusterctl"))
        .args(["config", "validate", "/dev/stdin"])
        .env_clear()
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told), (Some(code), err.replace("m.yaml", "/dev/stdin")));
}
